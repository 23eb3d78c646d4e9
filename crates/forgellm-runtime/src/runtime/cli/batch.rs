//! The arguments of `batch`.

use std::path::PathBuf;

use clap::Args;

use crate::runtime::cli::a_few;

const EXAMPLES: &str = "\
Examples:
  {name} batch requests.jsonl answers.jsonl
  {name} batch requests.jsonl answers.jsonl --parallel 16 --context 2048

Each line of the input is a request in the format of the OpenAI batch API:
  {\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\",
   \"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"max_tokens\": 32}}

Answers stand in the order of the requests. Until all are there they are in answers.jsonl.partial; run the same command again
to go on after it was stopped, however that was. The output is the same as if it had not been: ids and seeds that are not
given follow from the request, `created` is 0.";

/// Which requests to answer.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = EXAMPLES)]
pub struct BatchArguments {
    /// The requests, a JSON object a line
    #[arg(value_name = "IN.jsonl")]
    pub input: PathBuf,
    /// The file to write, which must not exist
    #[arg(value_name = "OUT.jsonl")]
    pub output: PathBuf,
    /// Answers that are worked on at a time
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = a_few)]
    pub parallel: usize,
    /// Show no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
}
