//! What must hold for the reading of any bytes as a request; the fuzz target `request` shares it.

use forgellm_runtime::runtime::program::ProgramSpec;
use forgellm_runtime::runtime::prompt;
use forgellm_runtime::runtime::sampling::SamplingParams;
use forgellm_runtime::runtime::server::Model;
use forgellm_runtime::runtime::server::reader::{Reader, Refused};
use forgellm_runtime::runtime::tokenizer::Tokenizer;

/// Tokens of [`reader`]'s model.
pub const VOCAB: usize = 130;
/// Positions of its sequences.
pub const CONTEXT: usize = 300;
const TOKENIZER: &[u8] = include_bytes!("../fixtures/ascii-tokenizer.json");
const TEMPLATE: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
     {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A reader for a model that need not exist.
pub fn reader() -> Reader {
    let spec = ProgramSpec {
        name: "tiny",
        architecture: "none",
        target: "test",
        default_context: CONTEXT,
        max_context: CONTEXT,
        vocab: VOCAB,
        bos: Some(128),
        eos: Some(129),
        end_ids: &[129],
        add_bos: false,
        chat_template: Some(TEMPLATE),
        layout_version: 1,
        plan_hash: "none",
        weight_bytes_a_step: 0,
        weights_file: "none",
        tokenizer_file: "none",
        sampling: SamplingParams::GREEDY,
    };
    let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
    let template = prompt::chat_template(&spec, &tokenizer).unwrap();
    Reader::new(Model { spec, tokenizer, template }, CONTEXT, VOCAB)
}

/// Reads a body as a request of each path: what is taken can be run, and what is refused says why, without repeating all of it.
pub fn check(reader: &Reader, body: &[u8]) {
    for read in [reader.chat(body), reader.completion(body), reader.responses(body), reader.messages(body)] {
        match read {
            Ok(prompts) => {
                assert!(!prompts.is_empty());
                for prompt in prompts {
                    assert!(!prompt.is_empty() && prompt.len() <= CONTEXT);
                    assert!(prompt.iter().all(|&token| (token as usize) < VOCAB));
                }
            }
            Err(refused) => check_refusal(&refused),
        }
    }
    for read in [reader.tokenize(body), reader.detokenize(body)] {
        match read {
            Ok(answer) => assert!(answer["tokens"].is_array() || answer["content"].is_string()),
            Err(refused) => check_refusal(&refused),
        }
    }
}

fn check_refusal(Refused { status, body }: &Refused) {
    // The client is to blame: a status from 500 on would be our own failure.
    assert!([400, 404, 413, 422].contains(status), "{status}: {body}");
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| (1..600).contains(&message.len())), "{body}");
    assert_eq!(error["type"], "invalid_request_error", "{body}");
    assert!(
        error["param"].is_null() || error["param"].as_str().is_some_and(|name| name.len() < 600),
        "{body}"
    );
}
