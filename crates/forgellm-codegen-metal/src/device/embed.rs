//! Rows of the embedding table: see `embed.metal`.

use super::format::{Format, FormatInfo, format_files};
use super::kernels::KernelNeeds;
use super::launch::{Launch, float, unsigned};
use super::run::{Earlier, Run};
use super::weights::Matrix;
use crate::runtime::buffer::{Buffer, Rows};

/// Set in a token that stands for the most likely token of a wanted row of the step before: the rest is that row's number.
pub const EARLIER_RESULT: u32 = 1 << 31;

/// output = the rows of `table` for the step's tokens, times `scale`.
pub fn embed<F: Format, const VOCAB: usize, const N: usize>(
    run: &Run<'_>,
    table: &Matrix<F, VOCAB, N>,
    scale: f32,
    output: Buffer<N>,
) {
    let table = table.any();
    let embed = Embed { format: table.format, vocab: VOCAB, width: N, scale };
    let Earlier { results, rows, kept } = run.earlier;
    let result_words = [rows, 2 * kept].map(|count| count as u32);
    let buffers = [(0, run.matrix(&table)), (1, run.at(output)), (2, run.tokens()), (3, results)];
    embed.launch(run.rows::<Rows>()).encode(run, &buffers, &[(4, bytemuck::bytes_of(&result_words))]);
}

/// What the operation needs for a table of this format.
pub fn embed_needs(format: &FormatInfo) -> KernelNeeds {
    let mut files = format_files(&[format]);
    files.push("embed.metal");
    let kernel = format!("embed<{}>", format.name);
    let name = name(format);
    KernelNeeds {
        files,
        instantiations: vec![format!(
            "template [[host_name(\"{name}\")]] kernel decltype({kernel}) {kernel};"
        )],
    }
}

/// The shape of the operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Embed {
    /// How the table is stored.
    pub format: &'static FormatInfo,
    /// Its rows.
    pub vocab: usize,
    /// Its columns.
    pub width: usize,
    /// Factor on the result.
    pub scale: f32,
}

/// Elements that a thread unpacks.
const ELEMENTS: usize = 16;

/// Threads of a threadgroup.
const THREADS: usize = 64;

impl Embed {
    /// The dispatch for so many rows. Buffers: table, output, tokens, results of an earlier step (bound in any case); how many of those there
    /// are and how many words apart they lie, as two u32.
    pub fn launch(&self, rows: usize) -> Launch {
        Launch {
            function: name(self.format),
            constants: vec![unsigned(20, self.vocab), unsigned(21, self.width), float(22, self.scale)],
            threadgroups: [self.width.div_ceil(ELEMENTS * THREADS), rows, 1],
            threads: [THREADS, 1, 1],
        }
    }
}

fn name(format: &FormatInfo) -> String {
    format!("embed_{}", format.name.to_lowercase())
}
