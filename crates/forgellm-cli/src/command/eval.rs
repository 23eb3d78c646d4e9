//! `forge eval`: what a model thinks of given tokens.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use forgellm_frontend::interp::Interpreter;
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_runtime::runtime::cli::kv_format;
use forgellm_runtime::runtime::open::KvFormat;
use forgellm_runtime::runtime::score::{self, PositionLogits};
use forgellm_runtime::runtime::tokenizer::Special;
use serde_json::json;

use super::run::hand_over;
use super::{ModelArgument, UsageError, print_json, print_text};
use crate::cache::Cache;
use crate::interp_engine::InterpEngine;
use crate::model::Model;
use crate::pipeline::Target;
use crate::programs;
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  forge eval perplexity model.gguf --text book.txt
  forge eval perplexity model.gguf --text book.txt --target interp --json
  forge eval logits model.gguf --ids 1,2,3 --top 5 --json";

/// Score a text, or print logits.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Eval {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Score a text file as one sequence: how well the model predicts every token after the first
    Perplexity {
        #[command(flatten)]
        model: ModelArgument,
        /// The text
        #[arg(long, value_name = "FILE")]
        text: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Print the best logits after each of the given tokens
    Logits {
        #[command(flatten)]
        model: ModelArgument,
        /// Token ids, separated by commas
        #[arg(long, value_delimiter = ',', required = true, value_name = "IDS")]
        ids: Vec<u32>,
        /// How many logits of each position
        #[arg(long, default_value_t = 32, value_name = "K")]
        top: usize,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct How {
    /// What runs the model: a target, or `interp`, the slow reference interpreter
    #[arg(long, value_name = "TARGET", default_value = "auto", value_parser = runner)]
    target: Runner,
    /// Threads of a compiled program (default: all cores)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How a compiled program's cache stores keys and values (default: f16)
    #[arg(long, value_name = "FORMAT", value_parser = kv_format())]
    kv_cache: Option<KvFormat>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Runner {
    Interp,
    Program(Target),
}

fn runner(name: &str) -> Result<Runner, String> {
    match name {
        "interp" => Ok(Runner::Interp),
        _ => Target::from_str(name, false).map(Runner::Program).map_err(|_| {
            let targets = Target::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<_> = targets.map(|value| value.get_name().to_owned()).collect();
            format!("targets are {} and interp", names.join(", "))
        }),
    }
}

impl Eval {
    pub(super) fn json(&self) -> bool {
        match &self.what {
            What::Perplexity { how, .. } | What::Logits { how, .. } => how.json,
        }
    }

    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        match &self.what {
            What::Perplexity { model, text, how } => {
                // Before anything is compiled for it.
                let content = std::fs::read_to_string(text)
                    .with_context(|| format!("cannot read {}", text.display()))?;
                match how.target {
                    Runner::Interp => interp_perplexity(&model.open(ui)?, &content, how.json, ui),
                    Runner::Program(target) => {
                        program(model, target, how, vec!["perplexity".into(), "--".into(), text.into()], ui)
                    }
                }
            }
            What::Logits { model, ids, top, how } => match how.target {
                Runner::Interp => interp_logits(&model.open(ui)?, ids, *top, how.json, ui),
                Runner::Program(target) => {
                    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                    let arguments = ["logits", "--ids", &ids, "--top", &top.to_string()].map(OsString::from);
                    program(model, target, how, arguments.to_vec(), ui)
                }
            },
        }
    }
}

/// Hands over to the compiled program's command of the same name.
fn program(
    model: &ModelArgument,
    target: Target,
    how: &How,
    command: Vec<OsString>,
    ui: &Ui,
) -> anyhow::Result<()> {
    let cache = Cache::of_user()?;
    let file = model.model.fetch(&cache, ui)?;
    let program = programs::cached(&file, target, &cache, ui)?;
    let mut arguments = Vec::new();
    if how.json {
        arguments.push("--json".into());
    }
    if let Some(threads) = how.threads {
        arguments.extend(["--threads".into(), threads.to_string().into()]);
    }
    if let Some(format) = how.kv_cache {
        arguments.extend(["--kv-cache".into(), format.name().into()]);
    }
    arguments.extend(command);
    hand_over(&program, &arguments)
}

fn interp_perplexity(model: &Model, text: &str, json: bool, ui: &Ui) -> anyhow::Result<()> {
    let spec = model.tokenizer_spec()?;
    let mut ids = model.tokenizer()?.encode(text, Special::Plain, false)?;
    if let Some(bos) = spec.bos.filter(|bos| spec.add_bos && ids.first() != Some(bos)) {
        ids.insert(0, bos);
    }
    if ids.len() < 2 {
        let message = "the text has fewer than two tokens, so there is nothing to score";
        return Err(UsageError(message.to_owned()).into());
    }
    let graph = model.graph()?;
    let mut engine = engine(model, &graph)?;
    let bar = ui.spinner(format!("interpreting {} tokens", ids.len()));
    let result = score::perplexity(&mut engine, &ids, &AtomicBool::new(false))?;
    bar.finish_and_clear();
    if json {
        return print_json(&result);
    }
    let (tokens, nll, perplexity) = (result.tokens, result.mean_nll, result.perplexity);
    print_text(&format!("perplexity {perplexity:.4} over {tokens} tokens (mean nll {nll:.6})\n"))
}

fn interp_logits(model: &Model, ids: &[u32], top: usize, json: bool, ui: &Ui) -> anyhow::Result<()> {
    let graph = model.graph()?;
    let mut engine = engine(model, &graph)?;
    let bar = ui.spinner(format!("interpreting {} tokens", ids.len()));
    let positions = score::logits(&mut engine, ids, top, &AtomicBool::new(false))?;
    bar.finish_and_clear();
    if json { print_json(&json!({ "positions": positions })) } else { print_text(&table(&positions)) }
}

fn engine<'a>(model: &'a Model, graph: &'a Verified<Graph>) -> anyhow::Result<InterpEngine<'a>> {
    let config = graph.config.as_ref().context("the graph has no config")?;
    let (vocab, positions) = (config.vocab_size, config.max_seq_len);
    Ok(InterpEngine::new(Interpreter::new(graph, &model.file)?, vocab, positions))
}

fn table(positions: &[PositionLogits]) -> String {
    let mut text = String::new();
    for position in positions {
        text += &format!("position {} (logsumexp {:.4})\n", position.position, position.logsumexp);
        for (id, logit) in position.ids.iter().zip(&position.logits) {
            text += &format!("{id:>8} {logit:>10.4}\n");
        }
    }
    text
}
