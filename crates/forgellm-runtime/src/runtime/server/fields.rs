//! Reads the fields of a JSON object; whatever is wrong with one is said with its name.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::runtime::server::error::ApiError;

/// The fields of an object that were not read yet. `null` is the same as nothing.
pub(super) struct Fields {
    map: Map<String, Value>,
    /// What stands before a name in messages: `messages[0].`.
    path: String,
}

impl Fields {
    /// The fields of a request's body.
    pub fn of_body(body: &[u8]) -> Result<Fields, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("the body is not valid JSON: {error}")))?;
        match value {
            Value::Object(map) => Ok(Fields { map, path: String::new() }),
            _ => Err(ApiError::invalid("the body must be a JSON object")),
        }
    }

    /// The fields of an object within a request, which is called `name`.
    pub fn of_value(value: Value, name: &str) -> Result<Fields, ApiError> {
        match value {
            Value::Object(map) => Ok(Fields { map, path: format!("{name}.") }),
            other => Err(wrong_type(name, "an object", &other)),
        }
    }

    /// The name of a field, from the outside.
    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// A field, whatever it is.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn needed(&mut self, field: &str) -> Result<Value, ApiError> {
        self.take(field).ok_or_else(|| self.missing(field))
    }

    /// The error for a field that must be there and is not.
    pub fn missing(&self, field: &str) -> ApiError {
        let name = self.name(field);
        let message = format!("`{name}` is missing");
        ApiError::param(name, message).with_code("missing_required_parameter")
    }

    pub fn number(&mut self, field: &str) -> Result<Option<f64>, ApiError> {
        self.convert(field, "a number", |value| value.as_f64())
    }

    pub fn integer(&mut self, field: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let what = match *range.end() {
            u64::MAX => format!("an integer of at least {}", range.start()),
            end => format!("an integer from {} to {end}", range.start()),
        };
        self.convert(field, &what, |value| value.as_u64().filter(|number| range.contains(number)))
    }

    pub fn boolean(&mut self, field: &str) -> Result<bool, ApiError> {
        Ok(self.convert(field, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub fn string(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        self.convert(field, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A field, turned into what is wanted; `what` says what that is.
    pub fn convert<T>(
        &mut self,
        field: &str,
        what: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        convert(&value).map(Some).ok_or_else(|| wrong_type(&self.name(field), what, &value))
    }

    /// A field that would change the answer and is not supported, unless it asks for nothing.
    pub fn refuse(
        &mut self,
        field: &str,
        asks_for_nothing: impl FnOnce(&Value) -> bool,
    ) -> Result<(), ApiError> {
        match self.take(field) {
            Some(value) if !asks_for_nothing(&value) => {
                let name = self.name(field);
                let message = format!("`{name}` is not supported by this server; leave it out");
                Err(ApiError::param(name, message).with_code("unsupported_parameter"))
            }
            _ => Ok(()),
        }
    }

    /// Fields that do not change the answer.
    pub fn ignore(&mut self, fields: &[&str]) {
        for field in fields {
            self.map.remove(*field);
        }
    }

    /// Refuses what was not read.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((field, _)) => {
                let name = self.name(field);
                let message = format!("there is no parameter `{name}`");
                Err(ApiError::param(name, message).with_code("unknown_parameter"))
            }
        }
    }
}

/// Something else than `what` where that must stand.
pub(super) fn wrong_type(name: &str, what: &str, value: &Value) -> ApiError {
    let is = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ApiError::param(name, format!("`{name}` must be {what}, and is {is}")).with_code("invalid_type")
}
