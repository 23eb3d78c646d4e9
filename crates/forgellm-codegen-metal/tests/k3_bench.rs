#![allow(dead_code, reason = "temporary")]
#[path = "operations/gpu.rs"]
mod gpu;
use forgellm_codegen_metal::device::gemm::*;
use forgellm_codegen_metal::device::head::*;
use forgellm_codegen_metal::device::norm::*;
use forgellm_codegen_metal::pack::*;
use forgellm_codegen_metal::gpu::*;
use forgellm_codegen_metal::kernel_source;
use forgellm_frontend::ir::DType;
use std::time::Instant;
#[test]
fn bench() {
    for dtype in [DType::Q8_0, DType::Q4_K, DType::F32] {
    let needs = gemm_needs(&[format_of(dtype)]).and(top_needs()).and(rms_norm_needs());
    let device = Device::with(Options { threads: 1, ..Options::default() }).unwrap();
    let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
    let library = device.library(&source, "kernels.metal").unwrap();
    let queue = device.queue().unwrap();
    let (inputs, outputs) = (768, 1536);
    let planes = device.buffer(packed_bytes(dtype, outputs, inputs).unwrap(), "w").unwrap();
    for (rows, tile) in [(16, 16), (64, 16), (64, 32), (64, 64), (128, 64)] {
        let x = device.buffer(rows * inputs * 4, "x").unwrap();
        let y = device.buffer(rows * outputs * 4, "y").unwrap();
        let shape = Gemm { inputs, parts: vec![GemmPart { format: format_of(dtype), outputs, bias: false }], gate: None, residual: false };
        let launch = shape.launch(rows, tile);
        let pipeline = device.pipeline(&library, &launch.function, &launch.constants).unwrap();
        let mut best = f64::MAX;
        for _ in 0..3 {
            let mut commands = queue.commands("b").unwrap();
            let mut e = commands.encoder(true, "b");
            e.pipeline(&pipeline);
            for i in 0..10 { if i != 3 { e.buffer(i, if i == 2 { &y } else if (4..7).contains(&i) { &planes } else { &x }, 0); } }
            e.bytes(3, &(rows as u32).to_le_bytes());
            e.dispatch(launch.threadgroups, launch.threads);
            drop(e);
            let start = Instant::now();
            commands.commit().wait().unwrap();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let steps = launch.threadgroups.iter().product::<usize>() * inputs / 32;
        let macs = (rows * inputs * outputs) as f64;
        println!("{dtype}: {rows} rows, tile {tile}: {:.1} ms, {:.1} us per step, {:.2} GMAC/s", best * 1e3, best * 1e6 / steps as f64, macs / best / 1e9);
    }
    for (vocab, k) in [(49152, 1), (49152, 64), (262144, 1)] {
        let top = Top::new(vocab, k);
        let logits = device.buffer(vocab * 4, "l").unwrap();
        let mut r = gpu::Random(3);
        let values = r.normals(vocab);
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), logits.contents(), vocab * 4) };
        let [results, lists, nans, end] = top.places(1);
        let scratch = device.buffer(end, "s").unwrap();
        let mut commands = queue.commands("b").unwrap();
        let mut e = commands.encoder(true, "b");
        for (launch, buffers) in [(top.lists(1), [(&logits, 0), (&scratch, lists), (&scratch, nans)]), (top.merge(1), [(&scratch, lists), (&scratch, nans), (&scratch, results)])] {
            e.pipeline(&device.pipeline(&library, &launch.function, &launch.constants).unwrap());
            for (i, (b, o)) in buffers.into_iter().enumerate() { e.buffer(i, b, o); }
            e.dispatch(launch.threadgroups, launch.threads);
            e.barrier();
        }
        drop(e);
        let start = Instant::now();
        commands.commit().wait().unwrap();
        println!("top {k} of {vocab}: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    }
}
