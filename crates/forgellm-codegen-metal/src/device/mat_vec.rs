//! Projections of few rows: see `mat_vec.metal`.

use super::elementwise::Activation;
use super::format::{FormatInfo, format_files};
use super::gemm::{Gemm, MAX_PARTS};
use super::kernels::KernelNeeds;
use super::launch::{Launch, flag, unsigned};
use super::prologue::{InputAt, Prologue};
use super::run::{Binding, Run};
use super::weights::{AnyMatrix, Vector};

/// Most rows of inputs of the kernel's instances.
pub const BATCHES: [usize; 4] = [1, 2, 4, 8];

/// The most rows of inputs.
pub const MAX_ROWS: usize = BATCHES[3];

/// Rows of the matrix that a team of lanes computes at a time. Inputs are read from threadgroup memory once for all of them, which with many rows
/// of inputs would take longer than the multiplications; with few, more teams are better.
const fn team_rows(batch: usize) -> usize {
    if batch > 2 { 4 } else { 2 }
}

/// Teams of a simdgroup.
const TEAMS: usize = 4;

/// A projection of up to [`MAX_ROWS`] rows.
#[derive(Debug, Clone, PartialEq)]
pub struct MatVec {
    /// Shapes and fused operations.
    pub shape: Gemm,
    /// What happens to the inputs before.
    pub prologue: Prologue,
}

impl MatVec {
    /// The dispatch for so many rows by the instance for `batch` of them. Buffers: input, residual, output; the number of rows as u32; the parts' matrices from 4 on, their biases
    /// from 7 on, the norm's weight at 10, then the stream, the weight of the norm of what is added to it, and the sum. All are bound: what is not
    /// there, by anything.
    ///
    /// # Panics
    ///
    /// If there are no parts or too many, if the parts of a gate are not two of the same size, or if there are more rows than `batch`.
    pub fn launch(&self, rows: usize, batch: usize) -> Launch {
        let Gemm { inputs, parts, gate, residual } = &self.shape;
        assert!((1..=MAX_PARTS).contains(&parts.len()), "a projection of {} parts", parts.len());
        assert!(
            gate.is_none() || parts.len() == 2 && parts[0].outputs == parts[1].outputs,
            "a gate multiplies another part of its size"
        );
        let outputs = |part: usize| parts.get(part).map_or(0, |part| part.outputs);
        let biases = parts.iter().enumerate().map(|(number, part)| usize::from(part.bias) << number).sum();
        assert!(rows <= batch, "{rows} rows of inputs for an instance for {batch}");
        let simdgroups = simdgroups(parts.iter().map(|part| part.outputs).sum(), batch);
        let tile = simdgroups * TEAMS * team_rows(batch);
        let tiles = match gate {
            Some(_) => outputs(0).div_ceil(tile),
            None => parts.iter().map(|part| part.outputs.div_ceil(tile)).sum(),
        };
        let formats: Vec<&FormatInfo> = parts.iter().map(|part| part.format).collect();
        Launch {
            function: name(&arguments(&formats), batch),
            constants: [
                self.prologue.constants(*inputs).to_vec(),
                vec![
                    unsigned(3, outputs(0)),
                    unsigned(4, outputs(1)),
                    unsigned(5, outputs(2)),
                    unsigned(6, biases),
                    flag(7, *residual),
                    flag(8, gate.is_some()),
                    unsigned(9, gate.map_or(0, Activation::number)),
                ],
            ]
            .concat(),
            threadgroups: [tiles, rows.min(1), 1],
            threads: [simdgroups * 32, 1, 1],
        }
    }
}

/// What projections whose parts have these formats need.
pub fn mat_vec_needs(formats: &[&FormatInfo]) -> KernelNeeds {
    let arguments = arguments(formats);
    let instantiations = BATCHES.iter().map(|batch| {
        let [a, b, c] = arguments.map(|format| format.name);
        let kernel = format!("mat_vec<{a}, {b}, {c}, {}, {batch}>", team_rows(*batch));
        let name = name(&arguments, *batch);
        format!("template [[host_name(\"{name}\")]] kernel decltype({kernel}) {kernel};")
    });
    let mut files = format_files(formats);
    files.extend(["activation.metal", "projection.metal", "mat_vec.metal"]);
    KernelNeeds { files, instantiations: instantiations.collect() }
}

/// Encodes `output` = the projection of `input`: [rows, inputs] to [rows, outputs of all parts], or [rows, outputs of a part] with a gate.
/// `residual` may be `output`; the input may not overlap it. The kernel is the instance for `batch` rows.
#[expect(clippy::too_many_arguments, reason = "what a fused projection is made of")]
pub(crate) fn mat_vec(
    run: &Run<'_>,
    rows: usize,
    batch: usize,
    input: InputAt<'_>,
    shape: Gemm,
    parts: &[(AnyMatrix, Option<Vector>)],
    residual: Option<Binding<'_>>,
    output: Binding<'_>,
) {
    let launch = MatVec { shape, prologue: input.prologue() }.launch(rows, batch);
    let x = input.x;
    let mut buffers = vec![(0, x), (1, residual.unwrap_or(x)), (2, output)];
    for number in 0..MAX_PARTS {
        let (matrix, bias) = parts.get(number).unwrap_or(&parts[0]);
        buffers.push((4 + number, run.matrix(matrix)));
        buffers.push((4 + MAX_PARTS + number, bias.map_or(x, |bias| run.vector(bias))));
    }
    buffers.extend(input.buffers(run, 11, x));
    launch.encode(run, &buffers, &[(3, &(rows as u32).to_le_bytes())]);
}

/// Simdgroups of a threadgroup. More share one copy of the inputs: the traffic beside the weights falls, from 0.4 of them (4-bit weights, inputs
/// with a norm) for 4 simdgroups to 0.1 for 16. But there must be threadgroups for all cores, and many rows of inputs take many registers.
fn simdgroups(outputs: usize, batch: usize) -> usize {
    match outputs {
        ..8192 => 4,
        8192..16384 => 8,
        _ if batch > 2 => 8,
        _ => 16,
    }
}

/// The formats that the kernel is instantiated with: what is missing repeats the first, so that one kernel serves parts of one format,
/// however many there are.
fn arguments<'f>(formats: &[&'f FormatInfo]) -> [&'f FormatInfo; MAX_PARTS] {
    std::array::from_fn(|number| formats.get(number).copied().unwrap_or(formats[0]))
}

fn name(arguments: &[&FormatInfo; MAX_PARTS], batch: usize) -> String {
    let [a, b, c] = arguments.map(|format| format.name.to_lowercase());
    format!("mat_vec_{a}_{b}_{c}_{batch}")
}
