//! Projections of many rows, by matrix units: see `gemm.metal`.

use super::elementwise::Activation;
use super::format::{FormatInfo, format_files};
use super::kernels::KernelNeeds;
use super::launch::{Launch, flag, unsigned};
use super::linear::shape;
use super::run::{Binding, Run};
use super::weights::{AnyMatrix, Vector};

/// The most weights of one projection.
pub const MAX_PARTS: usize = 3;

/// Rows of a tile: the kernel is instantiated for each.
pub const TILE_ROWS: [usize; 3] = [16, 32, 64];

/// Columns of a tile.
const TILE_COLUMNS: usize = 64;

/// Threads of a threadgroup.
const THREADS: usize = 128;

/// The shapes and the fused operations of a projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemm {
    /// Columns of the matrices.
    pub inputs: usize,
    /// Up to [`MAX_PARTS`] matrices whose results stand side by side.
    pub parts: Vec<GemmPart>,
    /// Activation of the first part, which then multiplies the second; there are two parts of the same size.
    pub gate: Option<Activation>,
    /// Whether something is added to the result.
    pub residual: bool,
}

/// One matrix of a projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GemmPart {
    /// How it is stored.
    pub format: &'static FormatInfo,
    /// Its rows.
    pub outputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Gemm {
    /// The dispatch for so many rows, with tiles of `tile` rows. Buffers: input, residual, output; the number of rows as u32; the parts'
    /// matrices from 4 on, their biases from 7 on. All are bound: what is not there, by anything.
    ///
    /// # Panics
    ///
    /// If there are no parts or too many, or if the parts of a gate are not two of the same size.
    pub fn launch(&self, rows: usize, tile: usize) -> Launch {
        let parts = &self.parts;
        assert!((1..=MAX_PARTS).contains(&parts.len()), "a projection of {} parts", parts.len());
        let gated = self.gate.is_some();
        assert!(
            !gated || parts.len() == 2 && parts[0].outputs == parts[1].outputs,
            "a gate multiplies another part of its size"
        );
        let outputs = |part: usize| parts.get(part).map_or(0, |part| part.outputs);
        let biases = parts.iter().enumerate().map(|(number, part)| usize::from(part.bias) << number).sum();
        let tiles = if gated {
            outputs(0).div_ceil(TILE_COLUMNS / 2)
        } else {
            parts.iter().map(|part| part.outputs.div_ceil(TILE_COLUMNS)).sum()
        };
        let formats: Vec<&FormatInfo> = parts.iter().map(|part| part.format).collect();
        Launch {
            function: name(&arguments(&formats), tile),
            constants: vec![
                unsigned(74, self.inputs),
                unsigned(75, outputs(0)),
                unsigned(76, outputs(1)),
                unsigned(77, outputs(2)),
                unsigned(78, biases),
                flag(79, self.residual),
                flag(80, gated),
                unsigned(81, self.gate.map_or(0, Activation::number)),
            ],
            threadgroups: [rows.div_ceil(tile), tiles, 1],
            threads: [THREADS, 1, 1],
        }
    }
}

/// What projections whose parts have these formats need.
pub fn gemm_needs(formats: &[&FormatInfo]) -> KernelNeeds {
    let arguments = arguments(formats);
    let instantiations = TILE_ROWS.iter().map(|tile| {
        let [a, b, c] = arguments.map(|format| format.name);
        let name = name(&arguments, *tile);
        format!("template [[host_name(\"{name}\")]] kernel decltype(gemm<{a}, {b}, {c}, {tile}>) gemm<{a}, {b}, {c}, {tile}>;")
    });
    let files = [format_files(formats), vec!["activation.metal", "gemm.metal"]].concat();
    KernelNeeds { files, instantiations: instantiations.collect() }
}

/// Encodes `output` = the projection of `input`, [rows, inputs] to [rows, outputs of all parts], or [rows, outputs of a part] with a gate.
/// `residual` may be `output`; the input may not overlap it. Tiles have `tile` rows.
#[expect(clippy::too_many_arguments, reason = "what a fused projection is made of")]
pub(crate) fn gemm(
    run: &Run<'_>,
    rows: usize,
    tile: usize,
    input: Binding<'_>,
    parts: &[(AnyMatrix, Option<Vector>)],
    gate: Option<Activation>,
    residual: Option<Binding<'_>>,
    output: Binding<'_>,
) {
    let Some((first, _)) = parts.first() else { return };
    let shape = shape(first.inputs, parts, gate, residual.is_some());
    let launch = shape.launch(rows, tile);
    let mut buffers = vec![(0, input), (1, residual.unwrap_or(input)), (2, output)];
    for number in 0..MAX_PARTS {
        let (matrix, bias) = parts.get(number).unwrap_or(&parts[0]);
        buffers.push((4 + number, run.matrix(matrix)));
        buffers.push((4 + MAX_PARTS + number, bias.map_or(input, |bias| run.vector(bias))));
    }
    launch.encode(run, &buffers, &[(3, &(rows as u32).to_le_bytes())]);
}

/// The formats that the kernel is instantiated with: what is missing repeats the first, so that one kernel serves parts of one format,
/// however many there are.
fn arguments<'f>(formats: &[&'f FormatInfo]) -> [&'f FormatInfo; MAX_PARTS] {
    std::array::from_fn(|number| formats.get(number).copied().unwrap_or(formats[0]))
}

fn name(arguments: &[&FormatInfo; MAX_PARTS], tile: usize) -> String {
    let [a, b, c] = arguments.map(|format| format.name.to_lowercase());
    format!("gemm_{a}_{b}_{c}_{tile}")
}
