//! The arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

use crate::runtime::bench::BenchOptions;
use crate::runtime::cli::{a_few, at_least_one, from_zero_to};

const EXAMPLES: &str = "\
Examples:
  {name} bench
  {name} bench --prompt-tokens 128,512 --depth 0,1024 --batch 1,4 --generate 64
  {name} bench --json --repeats 10 --threads 2
  {name} bench --depth 0,1024,4096 --plot speed.svg

Generation reads all weights for each step and the keys and values of each sequence. What the machine's memory allows is
measured by reading a large buffer with the same number of threads, and stands beside the speed that was reached.";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArguments {
    /// Tokens of a prompt; several are measured one after the other
    #[arg(long, short, default_value = "512", value_name = "N,…", value_delimiter = ',', value_parser = at_least_one)]
    pub prompt_tokens: Vec<usize>,
    /// Tokens to generate in each sequence
    #[arg(long, short = 'n', alias = "max-tokens", default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    pub generate: usize,
    /// Positions that a sequence holds before prompt or generation
    #[arg(long, short, default_value = "0", value_name = "N,…", value_delimiter = ',', value_parser = depth)]
    pub depth: Vec<usize>,
    /// Sequences that are continued together
    #[arg(long, short, default_value = "1", value_name = "N,…", value_delimiter = ',', value_parser = a_few)]
    pub batch: Vec<usize>,
    /// Runs that count
    #[arg(long, short, alias = "repetitions", default_value_t = 5, value_name = "N", value_parser = at_least_one)]
    pub repeats: usize,
    /// Runs before those, which do not count
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = depth)]
    pub warmup: usize,
    /// Draw the speeds into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Do not measure the speed of the memory, which takes a second and a gibibyte
    #[arg(long)]
    pub no_bandwidth: bool,
}

fn depth(text: &str) -> Result<usize, String> {
    from_zero_to(text, 1 << 24)
}

impl BenchArguments {
    /// The same without what is about the output.
    pub fn options(&self) -> BenchOptions {
        BenchOptions {
            prompt_tokens: self.prompt_tokens.clone(),
            generate: self.generate,
            depths: self.depth.clone(),
            batches: self.batch.clone(),
            repeats: self.repeats,
            warmup: self.warmup,
        }
    }
}
