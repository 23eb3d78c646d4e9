//! The rules that a request sets for the text of its answers.

use serde_json::{Value, json};

use crate::runtime::guide::{Grammar, Guide, GuideError};
use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};

/// A rule, and the parameter that sets it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub grammar: Grammar,
    pub param: String,
}

impl Rule {
    /// A guide by this rule. The tokens' bytes are gathered when the first is asked for.
    pub fn guide(&self, service: &Service) -> Result<Guide, ApiError> {
        let named = |error: GuideError| match error {
            GuideError::Invalid { .. } => {
                let message = format!("`{}`: {error}", self.param);
                ApiError::param(self.param.as_str(), message).with_code("invalid_value")
            }
            error => error.into(),
        };
        let vocabulary = service
            .guides
            .get_or_init(|| crate::runtime::guide::Vocabulary::new(&service.tokenizer, service.vocab));
        vocabulary
            .as_ref()
            .map_err(|error| error.clone().into())
            .and_then(|vocabulary| vocabulary.guide(&self.grammar).map_err(named))
    }
}

/// Adds a rule to that of the fields before; there can be only one.
pub(super) fn add(rule: &mut Option<Rule>, grammar: Grammar, param: String) -> Result<(), ApiError> {
    if let Some(Rule { param: first, .. }) = rule {
        let message = format!("`{param}` and `{first}` both set a rule for the answer; give one of them");
        return Err(ApiError::param(param, message).with_code("invalid_value"));
    }
    *rule = Some(Rule { grammar, param });
    Ok(())
}

/// Reads `response_format` of a chat.
pub(super) fn response_format(fields: &mut Fields, rule: &mut Option<Rule>) -> Result<(), ApiError> {
    let Some(format) = fields.take("response_format") else { return Ok(()) };
    let mut format = Fields::of_value(format, "response_format")?;
    let kind = format.needed("type")?;
    match kind.as_str() {
        Some("text") => {}
        Some("json_object") => add(rule, Grammar::json_object(), "response_format".to_owned())?,
        Some("json_schema") => {
            let mut schema = Fields::of_value(format.needed("json_schema")?, "response_format.json_schema")?;
            named_schema(&mut schema, rule)?;
            schema.finish()?;
        }
        _ => {
            let what = "must be `text`, `json_object` or `json_schema`";
            let message = format!("`response_format.type` {what}, and is {kind}");
            return Err(ApiError::param("response_format.type", message).with_code("invalid_value"));
        }
    }
    format.finish()
}

/// Reads `{name, description?, schema?, strict?}`. Answers always follow the schema, strict or not.
pub(super) fn named_schema(fields: &mut Fields, rule: &mut Option<Rule>) -> Result<(), ApiError> {
    fields.ignore(&["name", "description"]);
    fields.boolean("strict")?;
    let param = fields.name("schema");
    let schema = fields.take("schema").unwrap_or_else(|| json!({"type": "object"}));
    add(rule, Grammar::JsonSchema(checked_schema(schema, &param)?), param)
}

/// Reads the fields beyond the API, by which vLLM's clients set rules: `guided_json` and so on, or the same in `structured_outputs`.
pub(super) fn guided(fields: &mut Fields, rule: &mut Option<Rule>) -> Result<(), ApiError> {
    kinds(fields, "guided_", rule)?;
    let Some(outputs) = fields.take("structured_outputs") else { return Ok(()) };
    let mut outputs = Fields::of_value(outputs, "structured_outputs")?;
    if outputs.boolean("json_object")? {
        add(rule, Grammar::json_object(), outputs.name("json_object"))?;
    }
    kinds(&mut outputs, "", rule)?;
    outputs.finish()
}

fn kinds(fields: &mut Fields, prefix: &str, rule: &mut Option<Rule>) -> Result<(), ApiError> {
    let name = |kind: &str| format!("{prefix}{kind}");
    if let Some(schema) = fields.take(&name("json")) {
        let param = fields.name(&name("json"));
        // Some clients send the schema as text.
        let schema = match &schema {
            Value::String(text) => serde_json::from_str(text).map_err(|error| {
                ApiError::param(param.as_str(), format!("`{param}` is not valid JSON: {error}"))
            })?,
            _ => schema,
        };
        add(rule, Grammar::JsonSchema(checked_schema(schema, &param)?), param)?;
    }
    if let Some(regex) = fields.string(&name("regex"))? {
        add(rule, Grammar::Regex(regex), fields.name(&name("regex")))?;
    }
    if let Some(grammar) = fields.string(&name("grammar"))? {
        add(rule, Grammar::Lark(grammar), fields.name(&name("grammar")))?;
    }
    let choice = fields.convert(&name("choice"), "a list of strings", |value| {
        let texts = value.as_array()?.iter();
        texts.map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    })?;
    match choice {
        Some(texts) => add(rule, Grammar::Choice(texts), fields.name(&name("choice"))),
        None => Ok(()),
    }
}

/// What a schema must be at least; whether it can be followed, the guide finds out.
pub(super) fn checked_schema(schema: Value, param: &str) -> Result<Value, ApiError> {
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(schema),
        other => Err(wrong_type(param, "a JSON schema", &other)),
    }
}
