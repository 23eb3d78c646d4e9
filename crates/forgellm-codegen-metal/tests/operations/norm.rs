//! Root-mean-square norms of rows and of heads.

use forgellm_codegen_metal::device::norm::{RmsNorm, rms_norm_needs};

use crate::gpu::{Bound, Gpu, Random, download, nmse};

/// What the output is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    Apart,
    Input,
    Residual,
}

fn check(gpu: &Gpu, width: usize, chunks: usize, residual: bool, output: Output) {
    let mut random = Random(width as u64 * 64 + chunks as u64);
    // Far from 1, so that a wrong factor shows.
    let x: Vec<f32> = random.normals(width * chunks).iter().map(|x| 3.0 * x + 0.5).collect();
    let weight = random.normals(width);
    let added = random.normals(width * chunks);
    let eps = 1e-2;
    let norm = RmsNorm { width, eps, residual };

    let (x_buffer, weight_buffer) = (gpu.upload(&x), gpu.upload(&weight));
    let (added_buffer, apart) = (gpu.upload(&added), gpu.output(width * chunks));
    let y = match output {
        Output::Apart => &apart,
        Output::Input => &x_buffer,
        Output::Residual => &added_buffer,
    };
    let arguments = vec![
        (0, Bound::Buffer(&x_buffer)),
        (1, Bound::Buffer(&weight_buffer)),
        (2, Bound::Buffer(if residual { &added_buffer } else { &x_buffer })),
        (3, Bound::Buffer(y)),
        (4, Bound::U32(chunks)),
    ];
    gpu.run(&[(norm.launch(chunks), arguments)]);

    let mut want = Vec::with_capacity(x.len());
    for (x, added) in x.chunks(width).zip(added.chunks(width)) {
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        let factor = 1.0 / (squares / width as f64 + f64::from(eps)).sqrt();
        for ((x, w), r) in x.iter().zip(&weight).zip(added) {
            let normed = f64::from(*x) * factor * f64::from(*w);
            want.push(if residual { f64::from(*r) + normed } else { normed });
        }
    }
    let error = nmse(&download(y), &want);
    assert!(
        error <= 1e-12,
        "{chunks} chunks of {width}, residual {residual}, output {output:?}: NMSE {error:e}"
    );
}

#[test]
fn norms_of_any_width() {
    let gpu = Gpu::new(&rms_norm_needs());
    // Heads, odd widths, and both sides of the limit from which a threadgroup works on a chunk.
    for width in [1, 3, 32, 64, 127, 128, 576, 896, 1023, 1024, 1025, 1026, 1536, 4096, 14_336] {
        for chunks in [1, 7, 8, 9] {
            check(&gpu, width, chunks, false, Output::Apart);
        }
    }
}

#[test]
fn norms_with_a_residual_and_in_place() {
    let gpu = Gpu::new(&rms_norm_needs());
    for width in [5, 64, 640, 1152, 2051] {
        for chunks in [1, 10] {
            check(&gpu, width, chunks, true, Output::Apart);
            check(&gpu, width, chunks, true, Output::Input);
            check(&gpu, width, chunks, true, Output::Residual);
            check(&gpu, width, chunks, false, Output::Input);
        }
    }
}
