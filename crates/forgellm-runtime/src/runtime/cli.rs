//! The arguments of a program. Help text, parsing and checks all come from these declarations.

mod batch;
mod bench;
mod chat;
mod examples;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::runtime::open::KvFormat;
use crate::runtime::program::ProgramSpec;
use crate::runtime::sampling::SamplingParams;
use crate::runtime::tokenizer::{NotAnId, parse_ids};
pub use batch::BatchArguments;
pub use bench::BenchArguments;
pub use chat::ChatArguments;
use examples::{
    DETOKENIZE_EXAMPLES, GENERATE_IDS_EXAMPLES, LOGITS_EXAMPLES, PERPLEXITY_EXAMPLES, SELFCHECK_EXAMPLES,
    SERVE_EXAMPLES, TOKENIZE_EXAMPLES,
};

const EXAMPLES: &str = "\
Examples:
  {name} \"The capital of France is\"
  {name} --chat \"Name three primes.\" --temperature 0.7 --seed 1
  cat question.txt | {name} --chat --quiet
  {name} --json --max-tokens 64 --stop Yours \"Dear Sir,\"
  {name} model.weights tokenizer.json \"Once upon a time\" --max-tokens 100
  {name} bench
  {name} perplexity book.txt --json
  {name} selfcheck
  {name} serve --port 8080 --parallel 8
  {name} batch requests.jsonl answers.jsonl

A prompt that is also the name of a command goes after `--`: {name} -- bench";

/// All arguments.
#[derive(Debug, Clone, Parser)]
#[command(disable_help_subcommand = true, version, propagate_version = false)]
pub struct Arguments {
    /// A command; without one, a prompt is continued.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What is to be continued.
    #[command(flatten)]
    pub generate: GenerateArguments,
    /// Whether to serve instead of continuing a prompt.
    #[command(flatten)]
    pub server: ServeFlag,
    /// Files and device.
    #[command(flatten)]
    pub model: ModelArguments,
}

/// Arguments that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// Weights file (default: beside the program)
    #[arg(long, global = true, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Tokenizer file (default: beside the program)
    #[arg(long, global = true, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Threads to compute with (default: all cores)
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Positions that the context can hold
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub context: Option<usize>,
    /// How keys and values are stored: q8_0 takes about half the memory of f16 [default: f16]
    #[arg(long, global = true, value_name = "FORMAT", value_parser = kv_format())]
    pub kv_cache: Option<KvFormat>,
    /// Print where the time went, to standard error
    #[arg(long, global = true)]
    pub profile: bool,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// Arguments of a continuation.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct GenerateArguments {
    /// The prompt; `-` or nothing reads standard input. Three values are a weights file, a tokenizer file and a prompt
    #[arg(value_name = "PROMPT", num_args = 0..=3)]
    pub prompt: Vec<String>,
    /// Read the prompt from a file
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_file: Option<PathBuf>,
    /// Treat the prompt as a message to the model, using its chat template
    #[arg(long)]
    pub chat: bool,
    /// System message that stands before the prompt; implies --chat
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Parse control tokens in a prompt without --chat (default: they are text)
    #[arg(long, conflicts_with = "chat")]
    pub special: bool,
    /// End after this many tokens [default: 256]
    #[arg(long, short = 'n', value_name = "N")]
    pub max_tokens: Option<usize>,
    /// End where this text appears; can be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on through the model's end tokens, up to --max-tokens
    #[arg(long)]
    pub ignore_eos: bool,
    /// Add the log-probability of each token to --json, and of the N most likely ones in its place
    #[arg(long, value_name = "N", requires = "json")]
    pub logprobs: Option<usize>,
    /// Print only the text, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingArguments,
}

/// How tokens are chosen; what is not given is as the model's authors recommend.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArguments {
    /// Randomness: 0 always takes the most likely token
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// Keep the K most likely tokens (0: all)
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keep the fewest tokens that are likely to P together (1: all)
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Drop tokens less likely than P times the best (0: none)
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Keep the fewest tokens of about average surprise that are likely to P together (1: all)
    #[arg(long, value_name = "P")]
    pub typical_p: Option<f32>,
    /// Make tokens that occurred lately in prompt or answer less likely (1: not)
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f32>,
    /// How many of the last tokens count as lately
    #[arg(long, value_name = "N")]
    pub repetition_window: Option<usize>,
    /// Taken from the logits of tokens that occur in the answer (-2 to 2; 0: none)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Taken from the logits of tokens as often as they occur in the answer (-2 to 2; 0: none)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Added to the logit of a token (-100: never, 100: always); can be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = bias)]
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes random choices repeatable
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// The way to serve without a command, for scripts that give the files by their place: `WEIGHTS TOKENIZER --serve`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct ServeFlag {
    /// Serve the model over HTTP, like the command `serve`; prompts are then the weights and the tokenizer file
    #[arg(long, help_heading = "Server")]
    pub serve: bool,
    /// The limits.
    #[command(flatten)]
    pub options: ServeArguments,
}

/// Where to serve, and the limits.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Server")]
pub struct ServeArguments {
    /// Address to listen on; 0.0.0.0 is every network that this machine is in [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen on; 0 lets the system choose one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Answers that are worked on at a time [default: 4]
    #[arg(long, value_name = "N", value_parser = a_few)]
    pub parallel: Option<usize>,
    /// Idle sequences that are kept, so that a prompt that begins like one need not be run again [default: as --parallel]
    #[arg(long, value_name = "N", value_parser = up_to_a_few)]
    pub keep: Option<usize>,
    /// Answers that may wait; more get the status 429 [default: 64]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub queue: Option<usize>,
    /// Serve only clients that send this key (default: $FORGELLM_API_KEY, which other users of the machine cannot see)
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub api_key: Option<String>,
    /// Size of a request at most [default: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = at_least_one)]
    pub max_body: Option<usize>,
    /// Time for a request to arrive, its head and its body each; connections on which nothing goes on are closed after it [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = at_least_one)]
    pub request_timeout: Option<usize>,
    /// Time for an answer, waiting included [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = at_least_one)]
    pub timeout: Option<usize>,
    /// Time that running answers have to finish after Ctrl-C or SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = at_least_one)]
    pub shutdown_timeout: Option<usize>,
    /// Write a line of JSON for each token, with the time at which it was chosen (ns, CLOCK_MONOTONIC)
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

impl SamplingArguments {
    /// The values given, over the model's own; without the bias, which no model brings along.
    pub fn over(&self, model: &SamplingParams) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.unwrap_or(model.temperature),
            top_k: self.top_k.unwrap_or(model.top_k),
            top_p: self.top_p.unwrap_or(model.top_p),
            min_p: self.min_p.unwrap_or(model.min_p),
            typical_p: self.typical_p.unwrap_or(model.typical_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(model.repetition_penalty),
            repetition_window: self.repetition_window.unwrap_or(model.repetition_window),
            presence_penalty: self.presence_penalty.unwrap_or(model.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(model.frequency_penalty),
            seed: self.seed.or(model.seed),
        }
    }
}

/// What a program can do besides continuing a prompt.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Talk with the model
    Chat(ChatArguments),
    /// Score a text file: how well the model predicts it
    #[command(after_help = PERPLEXITY_EXAMPLES)]
    Perplexity {
        /// The text; `-` is standard input
        file: PathBuf,
    },
    /// Print the best logits after each of the given tokens
    #[command(after_help = LOGITS_EXAMPLES)]
    Logits {
        /// Token ids, separated by commas
        #[arg(long, value_delimiter = ',', required = true, value_name = "IDS")]
        ids: Vec<u32>,
        /// How many logits of each position
        #[arg(long, default_value_t = 32, value_name = "K")]
        top: usize,
    },
    /// Continue token ids by token ids, always the most likely, through end tokens
    #[command(after_help = GENERATE_IDS_EXAMPLES)]
    GenerateIds {
        /// Token ids, separated by commas; each further --ids is a sequence of its own, and all run together
        #[arg(long, required = true, value_name = "IDS", value_parser = id_list)]
        ids: Vec<IdList>,
        /// How many tokens
        #[arg(long, short = 'n', default_value_t = 32, value_name = "N", value_parser = at_least_one)]
        max_tokens: usize,
        /// How many sequences to start from each --ids
        #[arg(long, default_value_t = 1, value_name = "N", value_parser = a_few)]
        copies: usize,
    },
    /// Measure the speed of prompts and generation, and what of the memory's speed is reached
    Bench(BenchArguments),
    /// Answer the requests of a file
    Batch(BatchArguments),
    /// Check each kernel on this machine's device against a reference; exit code 1 if one is wrong
    #[command(after_help = SELFCHECK_EXAMPLES)]
    Selfcheck,
    /// Serve the model over HTTP, for clients of the OpenAI API
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArguments),
    /// Print the token ids of the text on standard input
    #[command(after_help = TOKENIZE_EXAMPLES)]
    Tokenize {
        /// Parse control tokens in the text
        #[arg(long)]
        special: bool,
        /// Add the tokens that the model wants before and behind a text
        #[arg(long)]
        bos_eos: bool,
    },
    /// Print the text of token ids, given or read from standard input
    #[command(after_help = DETOKENIZE_EXAMPLES)]
    Detokenize {
        /// Token ids, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "IDS")]
        ids: Vec<u32>,
    },
}

/// Reads a [`KvFormat`], and names all of them in help and errors.
pub fn kv_format() -> impl TypedValueParser<Value = KvFormat> {
    PossibleValuesParser::new(KvFormat::ALL.map(KvFormat::name))
        .map(|name| KvFormat::of_name(&name).unwrap_or_default())
}

/// The token ids of one sequence, as one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList(pub Vec<u32>);

/// Parses the arguments, of which the first is the command's name.
pub fn parse(
    spec: &ProgramSpec,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Arguments, clap::Error> {
    let mut command = command(spec);
    let matches = command.try_get_matches_from_mut(arguments)?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if arguments.command.is_some() && arguments.generate != GenerateArguments::default() {
        let message = "options of a continuation cannot stand before a command\n";
        return Err(command.error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    let ServeFlag { serve, options } = &arguments.server;
    if arguments.command.is_some() && arguments.server != ServeFlag::default() {
        let message = "options of a server stand behind the command `serve`\n";
        return Err(command.error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    if !serve && *options != ServeArguments::default() {
        let message = "options of a server need --serve or the command `serve`\n";
        return Err(command.error(clap::error::ErrorKind::MissingRequiredArgument, message));
    }
    if *serve {
        let GenerateArguments { prompt, .. } = &arguments.generate;
        let rest = GenerateArguments { prompt: Vec::new(), quiet: false, ..arguments.generate.clone() };
        if !matches!(prompt.len(), 0 | 2) || rest != GenerateArguments::default() {
            let message =
                "--serve takes no prompt and no options of a continuation, which each request brings along\n";
            return Err(command.error(clap::error::ErrorKind::ArgumentConflict, message));
        }
    } else if arguments.generate.prompt.len() == 2 {
        let message = "two prompts given; put one into quotes, or give WEIGHTS TOKENIZER PROMPT\n";
        return Err(command.error(clap::error::ErrorKind::WrongNumberOfValues, message));
    }
    Ok(arguments)
}

/// The declaration of all arguments, for this model.
pub fn command(spec: &ProgramSpec) -> clap::Command {
    let about = format!("{} ({}), compiled for {} by ForgeLLM", spec.name, spec.architecture, spec.target);
    let with_name = |text: &str| text.replace("{name}", spec.name);
    let command = Arguments::command().name(spec.name).about(about).after_help(with_name(EXAMPLES));
    command.mut_subcommands(|command| {
        match command.get_after_help().map(|help| with_name(&help.to_string())) {
            Some(help) => command.after_help(help),
            None => command,
        }
    })
}

fn id_list(text: &str) -> Result<IdList, NotAnId> {
    parse_ids(text).map(IdList)
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) =
        text.split_once('=').ok_or("it must be a token id, `=` and a number, such as 42=-100")?;
    let id = id.trim().parse().map_err(|_| format!("`{id}` is not a token id"))?;
    let bias = bias.trim().parse().map_err(|_| format!("`{bias}` is not a number"))?;
    Ok((id, bias))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    from_one_to(text, 1 << 24)
}

/// Sequences at a time.
fn a_few(text: &str) -> Result<usize, String> {
    from_one_to(text, 1024)
}

/// Sequences at a time, or none.
fn up_to_a_few(text: &str) -> Result<usize, String> {
    from_zero_to(text, 1024)
}

fn from_zero_to(text: &str, most: usize) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { from_one_to(text, most) }
}

fn from_one_to(text: &str, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) if number > most => Err(format!("it must be at most {most}")),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
