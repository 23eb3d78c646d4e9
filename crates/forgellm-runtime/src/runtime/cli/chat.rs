//! The arguments of `chat`.

use std::path::PathBuf;

use clap::Args;

use crate::runtime::cli::SamplingArguments;

const EXAMPLES: &str = "\
Examples:
  {name} chat
  {name} chat --system \"You answer in one sentence.\" --temperature 0.7
  {name} chat --load talk.json
  printf 'Name a color.\\nAnother one.\\n' | {name} chat --max-tokens 40
  {name} chat --json < questions.txt > answers.jsonl

At the prompt:
  \\ at the end of a line goes on in the next one; so do lines between \"\"\" and \"\"\"
  Ctrl-C stops an answer; twice at the prompt it ends the chat, as do Ctrl-D and /exit
  /help lists what else there is: /system, /reset, /regenerate, /save, /load

Where standard input or output is no terminal, each line of standard input is a message, and answers are printed without
prompts and colors.";

/// How to talk.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(after_help = EXAMPLES)]
pub struct ChatArguments {
    /// System message that stands before the conversation
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Go on with a conversation that /save has written
    #[arg(long, value_name = "FILE", conflicts_with = "system")]
    pub load: Option<PathBuf>,
    /// End each answer after this many tokens [default: as many as fit the context]
    #[arg(long, short = 'n', value_name = "N")]
    pub max_tokens: Option<usize>,
    /// End an answer where this text appears; can be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on through the model's end tokens, up to --max-tokens
    #[arg(long, requires = "max_tokens")]
    pub ignore_eos: bool,
    /// Do not remember what was typed for the next time
    #[arg(long)]
    pub no_history: bool,
    /// Print only answers, no summaries
    #[arg(long, short)]
    pub quiet: bool,
    /// How tokens are chosen; with a seed, each answer of the conversation has one of its own.
    #[command(flatten)]
    pub sampling: SamplingArguments,
}
