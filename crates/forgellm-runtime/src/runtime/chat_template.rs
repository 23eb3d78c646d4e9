//! Renders a model's chat template as Hugging Face transformers does, and keeps text typed by a user apart from control tokens.
//!
//! A template writes control tokens (`<|im_start|>`) as text, so in the rendered prompt they must be parsed. The same characters
//! typed by a user must not be. [`ChatTemplate::render`] therefore puts a mark, a private-use character that occurs nowhere else,
//! into every control token that it finds *inside a message*, renders, and takes the marks out again: where one was found, the text
//! becomes a segment of its own that is to be encoded as plain text ([`Origin::User`]). Messages without such text, which is nearly
//! all, go through the template unchanged, so that `trim`, `split`, comparisons and so on work as their author meant, and the prompt
//! is one segment that is encoded exactly as the reference does it.
//!
//! A template that treats the marked text differently from the text itself (it may look for `</think>`, say) is noticed, since the
//! segments together must be equal to the plain rendering. Such a message is refused, never let through.

mod control;
mod dates;
mod json;
mod python;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use control::{Marker, NoMarkLeft};

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
    /// Calls of tools, in a message of the assistant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a message of the role `tool` gives the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its id.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with, by name.
    pub arguments: serde_json::Value,
}

impl Message {
    /// A message.
    pub fn new(role: &str, content: &str) -> Message {
        let (role, content) = (role.to_owned(), content.to_owned());
        Message { role, content, tool_calls: Vec::new(), tool_call_id: None }
    }
}

/// A piece of a rendered prompt; the pieces joined are the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its text.
    pub text: String,
    /// Whether control tokens in it count.
    pub origin: Origin,
}

/// Where a piece of a prompt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the template, or text of a message in which no control token occurs: control tokens are to be parsed.
    Template,
    /// Text of a message that looks like a control token: to be encoded as plain text.
    User,
}

/// What a template may refer to besides the messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenTexts<'a> {
    /// Text of the token that begins a text.
    pub bos: Option<&'a str>,
    /// Text of the token that ends one.
    pub eos: Option<&'a str>,
}

/// Why a chat cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatTemplateError {
    /// The template itself is wrong, or uses what is not supported.
    #[error("the model's chat template cannot be compiled: {0}; use the program without --chat")]
    Syntax(String),
    /// The template failed or refused these messages.
    #[error("the model's chat template cannot render these messages: {0}")]
    Render(String),
    /// The template changes text that looks like a control token, so it cannot be told apart.
    #[error(
        "a message holds the text of a control token ({0}), which this model's chat template treats specially; remove it"
    )]
    ControlText(String),
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: Option<String>,
    eos: Option<String>,
    marker: Marker,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Compiles a template. `control_tokens` are the texts that parsing turns into control tokens.
    pub fn new(
        source: &str,
        tokens: TokenTexts<'_>,
        control_tokens: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<ChatTemplate, ChatTemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| ChatTemplateError::Syntax(describe(&error)))?);
        python::add_to(&mut environment);
        environment
            .add_template_owned(NAME, python::without_generation_tags(source))
            .map_err(|error| ChatTemplateError::Syntax(describe(&error)))?;
        Ok(ChatTemplate {
            environment,
            bos: tokens.bos.map(str::to_owned),
            eos: tokens.eos.map(str::to_owned),
            marker: Marker::new(source, control_tokens),
        })
    }

    /// Whether the template looks at this variable: `tools`, `tool_calls`.
    pub fn knows(&self, variable: &str) -> bool {
        self.environment.get_template(NAME).is_ok_and(|template| template.source().contains(variable))
    }

    /// Renders the messages; with `add_generation_prompt` the prompt ends where the assistant's answer begins.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<Segment>, ChatTemplateError> {
        self.render_with_tools(messages, &[], add_generation_prompt)
    }

    /// [`ChatTemplate::render`] with tools that the model may call: JSON as the OpenAI API has them.
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<Vec<Segment>, ChatTemplateError> {
        let plain = self.text(messages, tools, add_generation_prompt)?;
        let Some(token) = self.marker.first_token(messages, tools) else {
            return Ok(vec![Segment { text: plain, origin: Origin::Template }]);
        };
        let refused = || ChatTemplateError::ControlText(token.to_owned());
        let marked = self.marker.mark(messages, tools).map_err(|NoMarkLeft| refused())?;
        let text =
            self.text(&marked.messages, &marked.tools, add_generation_prompt).map_err(|_| refused())?;
        let segments = self.marker.split(&text, &marked);
        let joined: String = segments.iter().map(|segment| segment.text.as_str()).collect();
        if joined == plain { Ok(segments) } else { Err(refused()) }
    }

    /// The prompt as text alone.
    pub fn render_text(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatTemplateError> {
        self.text(messages, &[], add_generation_prompt)
    }

    fn text(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<String, ChatTemplateError> {
        let render_error = |error: minijinja::Error| ChatTemplateError::Render(describe(&error));
        let template = self.environment.get_template(NAME).map_err(render_error)?;
        let none = Value::from(());
        template
            .render(context! {
                messages => messages.iter().map(for_template).collect::<Vec<Value>>(),
                add_generation_prompt => add_generation_prompt,
                tools => if tools.is_empty() { none.clone() } else { tools.iter().map(of_json).collect() },
                documents => none,
                bos_token => self.bos.as_deref().unwrap_or(""),
                eos_token => self.eos.as_deref().unwrap_or(""),
            })
            .map_err(render_error)
    }
}

/// A message as transformers hands it to a template: what it has not is not defined.
fn for_template(message: &Message) -> Value {
    let mut fields = vec![
        ("role", Value::from(message.role.as_str())),
        ("content", Value::from(message.content.as_str())),
    ];
    if !message.tool_calls.is_empty() {
        let call = |call: &ToolCall| {
            let arguments = of_json(&call.arguments);
            let function = context! { name => call.name.as_str(), arguments => arguments };
            context! { id => call.id.as_str(), type => "function", function => function }
        };
        fields.push(("tool_calls", message.tool_calls.iter().map(call).collect()));
    }
    if let Some(id) = &message.tool_call_id {
        fields.push(("tool_call_id", Value::from(id.as_str())));
    }
    Value::from_pairs(fields)
}

/// JSON for a template, the fields of objects in their order.
fn of_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(values) => values.iter().map(of_json).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), of_json(value))))
        }
    }
}

/// The message of a template's own `raise_exception`, or what went wrong and in which line.
fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().unwrap_or_default();
    match (python::raised(detail), error.line()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(line)) => format!("{}: {detail} (line {line})", error.kind()),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
