//! What an answer can be asked to follow.

use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

use crate::runtime::guide::GuideError;

/// White space between the parts of a JSON text. A model that may write as much as it likes sometimes never stops.
const JSON_SPACE: &str = r" |\n {0,32}";

/// A rule for a whole answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Grammar {
    /// A JSON text that is valid by a schema.
    JsonSchema(Value),
    /// What a regular expression matches as a whole.
    Regex(String),
    /// What can be derived from the rule `start` of a grammar in Lark's notation.
    Lark(String),
    /// One of several texts.
    Choice(Vec<String>),
}

impl Grammar {
    /// Any JSON object.
    pub fn json_object() -> Grammar {
        Grammar::JsonSchema(json!({"type": "object"}))
    }

    /// What it is, in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Grammar::JsonSchema(_) => "the JSON schema",
            Grammar::Regex(_) => "the regular expression",
            Grammar::Lark(_) => "the grammar",
            Grammar::Choice(_) => "the choice",
        }
    }

    /// Bytes of its text.
    pub(super) fn size(&self) -> usize {
        match self {
            Grammar::JsonSchema(schema) => schema.to_string().len(),
            Grammar::Regex(text) | Grammar::Lark(text) => text.len(),
            Grammar::Choice(texts) => texts.iter().map(|text| text.len() + 1).sum(),
        }
    }

    pub(super) fn for_parser(&self) -> Result<TopLevelGrammar, GuideError> {
        Ok(match self {
            Grammar::JsonSchema(schema) => TopLevelGrammar::from_json_schema(with_space(schema)),
            Grammar::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Grammar::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
            Grammar::Choice(texts) => {
                if texts.is_empty() || texts.iter().any(String::is_empty) {
                    let reason = "it must hold at least one text, and no empty one".to_owned();
                    return Err(GuideError::Invalid { kind: self.kind(), reason });
                }
                let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
                TopLevelGrammar::from_lark(format!("start: {}", texts.join(" | ")))
            }
        })
    }
}

/// A schema with our rule for white space, unless it has its own.
pub(in crate::runtime) fn with_space(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(schema) = schema.as_object_mut() {
        schema.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": JSON_SPACE}));
    }
    schema
}

/// A text as it stands in a Lark grammar: its notation for strings is that of JSON.
pub(in crate::runtime) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
