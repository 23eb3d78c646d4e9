//! What the mat-vec loads, counted by the simulator: `cargo test traffic -- --nocapture` prints the table.

use forgellm_codegen_metal::device::gemm::{Gemm, GemmPart};
use forgellm_codegen_metal::device::mat_vec::{MatVec, mat_vec_needs};
use forgellm_codegen_metal::device::prologue::Prologue;
use forgellm_codegen_metal::pack::{format_of, packed_bytes};
use forgellm_frontend::ir::DType;

use crate::buckets::tile;
use crate::paged::{Gpu, Random};
use crate::weights::Weights;

const INPUTS: usize = 1024;
const OUTPUTS: usize = 128;

/// Bytes that the threads of one dispatch load.
struct Traffic {
    threadgroups: usize,
    /// Of the matrix, counted as often as they are loaded, and once each.
    weights: [usize; 2],
    /// Of the inputs and of the norm's weight.
    inputs: usize,
    /// From threadgroup memory.
    shared: usize,
}

fn traffic(dtype: DType, rows: usize) -> Traffic {
    let needs = mat_vec_needs(&[format_of(dtype)]);
    let gpu = Gpu::new(&needs);
    let mut random = Random(5);
    let planes = gpu.upload(&Weights::random(dtype, OUTPUTS, INPUTS, &mut random).packed);
    let (x, y) = (gpu.upload(&random.normals(rows * INPUTS)), gpu.output(rows * OUTPUTS));
    let part = GemmPart { format: format_of(dtype), outputs: OUTPUTS, bias: false };
    let shape = Gemm { inputs: INPUTS, parts: vec![part], gate: None, residual: false };
    let launch =
        MatVec { shape, prologue: Prologue { norm: Some(1e-5), add: None } }.launch(rows, tile(rows));
    let threadgroups = launch.threadgroups[0];
    let mut buffers =
        vec![(0, &x, 0), (1, &x, 0), (2, &y, 0), (10, &x, 0), (11, &x, 0), (12, &x, 0), (13, &y, 0)];
    buffers.extend((0..3).flat_map(|part| [(4 + part, &planes, 0), (7 + part, &x, 0)]));
    gpu.run(&[(launch, buffers, vec![(3, (rows as u32).to_le_bytes().to_vec())])]);
    let counts = gpu.device.counters().remove(0);
    let of = |index: usize| counts.buffers.iter().find(|buffer| buffer.index == index);
    let loaded = |index: usize| of(index).map_or(0, |buffer| buffer.bytes_loaded as usize);
    Traffic {
        threadgroups,
        weights: [loaded(4), of(4).map_or(0, |buffer| buffer.distinct_bytes_loaded as usize)],
        inputs: loaded(0) + loaded(10),
        shared: counts.threadgroup_bytes_loaded as usize,
    }
}

#[test]
fn weights_are_loaded_once_whatever_the_rows() {
    println!("{OUTPUTS} x {INPUTS}, norm; in bytes of the matrix:");
    println!(
        "type    matrix | loaded distinct inputs threadgroup | inputs and threadgroup memory for 8 rows"
    );
    for &dtype in DType::ALL {
        let bytes = packed_bytes(dtype, OUTPUTS, INPUTS).unwrap();
        let (one, eight) = (traffic(dtype, 1), traffic(dtype, 8));
        let share = |part: usize| part as f64 / bytes as f64;
        println!(
            "{:6} {bytes:7} | {:.3}  {:.3}    {:.3}  {:.2}        | {:.3} {:.2}",
            dtype.name(),
            share(one.weights[0]),
            share(one.weights[1]),
            share(one.inputs),
            share(one.shared),
            share(eight.inputs),
            share(eight.shared),
        );
        // All planes end on their alignment here, so there is no byte that nobody needs.
        assert_eq!(one.weights[1], bytes, "{dtype}");
        assert_eq!(one.weights, eight.weights, "{dtype}");
        // What several lanes of a team share, such as the scale of 256 elements, they all load: in one transaction.
        assert!(share(one.weights[0]) <= 4.0 / 3.0, "{dtype}: {}", share(one.weights[0]));
        assert_eq!(one.inputs, one.threadgroups * 2 * INPUTS * 4, "{dtype}");
        assert_eq!(eight.inputs, eight.threadgroups * 9 * INPUTS * 4, "{dtype}");
    }
}
