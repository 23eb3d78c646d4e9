//! Examples of the commands that have few arguments.

pub(super) const PERPLEXITY_EXAMPLES: &str = "\
Examples:
  {name} perplexity book.txt
  {name} perplexity book.txt --json
  head -c 4000 book.txt | {name} perplexity -

The text is one sequence, and every token after the first is scored, given all before it.";

pub(super) const LOGITS_EXAMPLES: &str = "\
Examples:
  {name} logits --ids 1,2,3 --top 5
  {name} logits --ids 1,2,3 --json";

pub(super) const GENERATE_IDS_EXAMPLES: &str = "\
Examples:
  {name} generate-ids --ids 1,2,3 --max-tokens 20
  {name} generate-ids --ids 1,2,3 --ids 7,8 --copies 4 --json";

pub(super) const SELFCHECK_EXAMPLES: &str = "\
Examples:
  {name} selfcheck
  {name} selfcheck --json --context 1024";

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  {name} serve
  {name} serve --port 9000 --parallel 8 --context 4096
  FORGELLM_API_KEY=secret {name} serve --host 0.0.0.0
  {name} model.weights tokenizer.json --serve --port 9000

What it will take of memory at most is told at the start: it follows from --parallel, --keep and --context.";

pub(super) const TOKENIZE_EXAMPLES: &str = "\
Examples:
  printf 'Hello, world!' | {name} tokenize
  {name} tokenize --special --json < prompt.txt";

pub(super) const DETOKENIZE_EXAMPLES: &str = "\
Examples:
  {name} detokenize --ids 72,105
  {name} tokenize < text | {name} detokenize";
