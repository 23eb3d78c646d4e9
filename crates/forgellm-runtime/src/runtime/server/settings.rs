//! What chat and completion requests have in common: how answers are made and sent.

use serde_json::Value;

use crate::runtime::chat_template::ChatTemplate;
use crate::runtime::sampling::{LogitBias, SamplingParams};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::structured::{Rule, guided};
use crate::runtime::server::tools::Tools;

/// Answers to one prompt that may be asked for at a time.
const MOST_CHOICES: u64 = 128;
/// Of so many tokens beside the chosen one log-probabilities can be asked for.
const MOST_LOGPROBS: u64 = 20;
/// Stop strings of a request.
const MOST_STOPS: usize = 16;
/// Fields of the API that ask for nothing that could change an answer of this server.
const HARMLESS: [&str; 9] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    // A guess at the answer, which may make it faster and never different.
    "prediction",
];

/// How answers are made and sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Answers to each prompt.
    pub choices: usize,
    /// Tokens of an answer at most; none: as many as fit the context.
    pub max_tokens: Option<usize>,
    pub sampling: SamplingParams,
    pub logit_bias: LogitBias,
    /// Whether log-probabilities are wanted, and of how many tokens beside each chosen one.
    pub logprobs: Option<usize>,
    /// What the text of answers must follow.
    pub rule: Option<Rule>,
    /// Whether answers may call tools.
    pub calls: bool,
    pub stop: Vec<String>,
    /// Whether answers go on through end tokens.
    pub ignore_eos: bool,
    /// Whether text is sent as it comes.
    pub stream: bool,
    /// Whether a stream ends with the token counts.
    pub include_usage: bool,
}

impl Settings {
    /// Reads the settings, but for those that differ between the two; those not given are the model's, which has so many
    /// tokens.
    pub fn read(fields: &mut Fields, model: &SamplingParams, vocab: usize) -> Result<Settings, ApiError> {
        let stream = fields.boolean("stream")?;
        let mut settings = Settings {
            choices: fields.integer("n", 1..=MOST_CHOICES)?.unwrap_or(1) as usize,
            max_tokens: max_tokens(fields)?,
            sampling: sampling(fields, model)?,
            logit_bias: logit_bias(fields, vocab)?,
            logprobs: None,
            rule: None,
            calls: false,
            stop: stop(fields)?,
            ignore_eos: fields.boolean("ignore_eos")?,
            stream,
            include_usage: include_usage(fields, stream)?,
        };
        guided(fields, &mut settings.rule)?;
        fields.ignore(&HARMLESS);
        Ok(settings)
    }

    /// Lets answers call tools, where there are any, which the template must be able to tell the model of.
    pub fn use_tools(&mut self, tools: Option<&Tools>, template: &ChatTemplate) -> Result<(), ApiError> {
        let Some(tools) = tools else { return Ok(()) };
        if !template.knows("tools") {
            let message = "this model's chat template has no place for tools; leave them out";
            return Err(ApiError::param("tools", message).with_code("unsupported_parameter"));
        }
        if let Some(rule) = &self.rule {
            let message = format!("`{}` cannot be used together with tools; leave one out", rule.param);
            return Err(ApiError::param(rule.param.as_str(), message).with_code("invalid_value"));
        }
        self.rule = Some(tools.rule());
        self.calls = true;
        Ok(())
    }
}

/// The log-probabilities that a chat asks for: whether any by `logprobs`, how many beside the chosen one by `top_logprobs`.
pub(super) fn logprobs_of_chat(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let is_wanted = fields.boolean("logprobs")?;
    let top = fields.integer("top_logprobs", 0..=MOST_LOGPROBS)?.unwrap_or(0) as usize;
    if top > 0 && !is_wanted {
        return Err(ApiError::param(
            "top_logprobs",
            "`top_logprobs` can only be used with `\"logprobs\": true`",
        ));
    }
    Ok(is_wanted.then_some(top))
}

/// The log-probabilities that a completion asks for: their number.
pub(super) fn logprobs_of_completion(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    Ok(fields.integer("logprobs", 0..=MOST_LOGPROBS)?.map(|top| top as usize))
}

/// A value that holds nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The newer name counts where both are given.
fn max_tokens(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let old = fields.integer("max_tokens", 1..=u64::MAX)?;
    let new = fields.integer("max_completion_tokens", 1..=u64::MAX)?;
    Ok(new.or(old).map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX)))
}

fn sampling(fields: &mut Fields, model: &SamplingParams) -> Result<SamplingParams, ApiError> {
    let mut number = |field: &str, model: f32| -> Result<f32, ApiError> {
        Ok(fields.number(field)?.map_or(model, |value| value as f32))
    };
    let temperature = number("temperature", model.temperature)?;
    // The API allows 0 and means the most likely token by it, which the smallest share keeps.
    let top_p = number("top_p", model.top_p)?;
    let top_p = if top_p == 0.0 { f32::MIN_POSITIVE } else { top_p };
    let min_p = number("min_p", model.min_p)?;
    let typical_p = number("typical_p", model.typical_p)?;
    let repetition_penalty = number("repetition_penalty", model.repetition_penalty)?;
    let presence_penalty = number("presence_penalty", model.presence_penalty)?;
    let frequency_penalty = number("frequency_penalty", model.frequency_penalty)?;
    let top_k = fields.integer("top_k", 0..=u64::from(u32::MAX))?;
    let seed = fields.convert("seed", "an integer of 64 bits", |value| {
        value.as_u64().or(value.as_i64().map(i64::cast_unsigned))
    })?;
    let sampling = SamplingParams {
        temperature,
        top_p,
        min_p,
        typical_p,
        repetition_penalty,
        presence_penalty,
        frequency_penalty,
        top_k: top_k.map_or(model.top_k, |top_k| top_k as usize),
        seed: seed.or(model.seed),
        ..*model
    };
    sampling.validate()?;
    Ok(sampling)
}

/// An object from token ids, which JSON writes as strings, to what is added to their logits.
fn logit_bias(fields: &mut Fields, vocab: usize) -> Result<LogitBias, ApiError> {
    let entries = fields.convert("logit_bias", "an object from token ids to numbers", |value| {
        let entry = |(id, bias): (&String, &Value)| Some((id.parse().ok()?, bias.as_f64()? as f32));
        value.as_object()?.iter().map(entry).collect::<Option<Vec<(u32, f32)>>>()
    })?;
    Ok(LogitBias::new(entries.unwrap_or_default(), vocab)?)
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let what = format!("a string or a list of up to {MOST_STOPS} strings");
    let stop = fields.convert("stop", &what, |value| match value {
        Value::String(stop) => Some(vec![stop.clone()]),
        Value::Array(stops) if stops.len() <= MOST_STOPS => {
            stops.iter().map(|stop| stop.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    })?;
    Ok(stop.unwrap_or_default())
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.take("stream_options") else { return Ok(false) };
    if !stream {
        let message = "`stream_options` can only be used with `stream`";
        return Err(ApiError::param("stream_options", message));
    }
    if !options.is_object() {
        return Err(wrong_type("stream_options", "an object", &options));
    }
    let mut options = Fields::of_value(options, "stream_options")?;
    let include_usage = options.boolean("include_usage")?;
    // It would only make the lengths of chunks harder to guess.
    options.ignore(&["include_obfuscation"]);
    options.finish()?;
    Ok(include_usage)
}
