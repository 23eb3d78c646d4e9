//! From what a user wrote to the token ids of a prompt.

use crate::runtime::chat_template::{ChatTemplate, ChatTemplateError, Message, Origin, TokenTexts};
use crate::runtime::program::ProgramSpec;
use crate::runtime::tokenizer::{Special, Tokenizer, TokenizerError};

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The chat template.
    #[error(transparent)]
    ChatTemplate(#[from] ChatTemplateError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// The model's chat template; `None` if it has none.
pub fn chat_template(
    spec: &ProgramSpec,
    tokenizer: &Tokenizer,
) -> Result<Option<ChatTemplate>, ChatTemplateError> {
    let Some(source) = spec.chat_template else { return Ok(None) };
    let text_of = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id));
    let (bos, eos) = (text_of(spec.bos), text_of(spec.eos));
    let tokens = TokenTexts { bos: bos.as_deref(), eos: eos.as_deref() };
    ChatTemplate::new(source, tokens, tokenizer.control_texts()).map(Some)
}

/// The prompt that the assistant's answer to `messages` continues. Control tokens count where the template wrote them, never where a
/// message holds their text.
pub fn chat(
    spec: &ProgramSpec,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
) -> Result<Vec<u32>, PromptError> {
    chat_with_tools(spec, tokenizer, template, messages, &[])
}

/// [`chat`] with tools that the model may call, as [`ChatTemplate::render_with_tools`] takes them.
pub fn chat_with_tools(
    spec: &ProgramSpec,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    tools: &[serde_json::Value],
) -> Result<Vec<u32>, PromptError> {
    let segments = template.render_with_tools(messages, tools, true)?;
    let segments: Vec<(Special, &str)> = segments
        .iter()
        .map(|segment| match segment.origin {
            Origin::Template => (Special::Parse, segment.text.as_str()),
            Origin::User => (Special::Plain, segment.text.as_str()),
        })
        .collect();
    Ok(with_bos(spec, tokenizer.encode_segments(&segments, false)?))
}

/// The prompt that continues `text`.
pub fn text(
    spec: &ProgramSpec,
    tokenizer: &Tokenizer,
    text: &str,
    special: Special,
) -> Result<Vec<u32>, TokenizerError> {
    Ok(with_bos(spec, tokenizer.encode(text, special, false)?))
}

/// The ids with the token that begins a text, if the model wants it and a template has not written it already.
///
/// No end token: what is behind it would be the next text, not the continuation of this one. See [`ProgramSpec::add_bos`].
fn with_bos(spec: &ProgramSpec, mut ids: Vec<u32>) -> Vec<u32> {
    if let Some(bos) = spec.bos.filter(|bos| spec.add_bos && ids.first() != Some(bos)) {
        ids.insert(0, bos);
    }
    ids
}
