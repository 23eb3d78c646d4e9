//! The attributes of an operation, from text.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::ParseError;
use super::lexer::Kind;
use super::parse::Line;
use super::print::{activation_name, style_name};
use crate::ir::{
    Attention, CacheId, HiddenActivation, Linear, Norm, Op, Part, QkvRope, Rope, RopeScaling, RopeStyle,
    WeightId,
};

/// `key=value` and `flag` of a node, until an operation takes them.
pub struct Attributes<'a> {
    given: Vec<Attribute<'a>>,
    /// The line, for the places of errors.
    line: Line<'a>,
    /// The token that names the operation.
    op: usize,
}

struct Attribute<'a> {
    key: &'a str,
    value: Option<&'a Kind>,
    token: usize,
}

impl<'a> Attributes<'a> {
    /// Reads as many attributes as there are; `op` is the token that names the operation.
    pub fn read(line: &mut Line<'a>, op: usize) -> Result<Attributes<'a>, ParseError> {
        let mut given: Vec<Attribute<'a>> = Vec::new();
        loop {
            let token = line.position();
            let Some(key) = line.accept_word() else { break };
            let value = if line.accept('=') { Some(line.any("a value behind `=`")?) } else { None };
            let repeats = matches!(key, "weight" | "bias");
            if !repeats && given.iter().any(|other| other.key == key) {
                return Err(line.error_at(token, format!("`{key}` is given twice")));
            }
            given.push(Attribute { key, value, token });
        }
        Ok(Attributes { given, line: line.clone(), op })
    }

    /// The operation `name` with these attributes; an error where it has no such attribute.
    pub fn op(mut self, name: &str, weights: &BTreeMap<String, WeightId>) -> Result<Op, ParseError> {
        let op = match name {
            "embed" => Op::Embed { table: self.weight("table", weights)?, scale: self.number("scale")? },
            "rms_norm" => Op::RmsNorm {
                norm: Norm { weight: self.weight("weight", weights)?, eps: self.number("eps")? },
                residual: self.flag("residual")?,
            },
            "linear" => {
                let parts = self.parts(weights)?;
                Op::Linear(self.linear(parts, weights)?)
            }
            "slice" => Op::Slice { start: self.number("start")?, len: self.number("len")? },
            "rope" => Op::Rope(self.rope(weights)?),
            "kv_write" => Op::KvWrite { cache: CacheId(self.number("cache")?) },
            "attention" => Op::Attention(Attention {
                cache: CacheId(self.number("cache")?),
                heads: self.number("heads")?,
                kv_heads: self.number("kv_heads")?,
                head_dim: self.number("head_dim")?,
                scale: self.number("scale")?,
                softcap: self.optional("softcap", NUMBER)?,
                window: self.optional("window", NUMBER)?,
                sinks: self.optional_weight("sinks", weights)?,
            }),
            "activation" => {
                let kind = self.activation("kind")?;
                Op::Activation(kind.ok_or_else(|| self.missing("kind"))?)
            }
            "add" => Op::Add,
            "mul" => Op::Mul,
            "scale" => Op::Scale { factor: self.number("factor")? },
            "softcap" => Op::Softcap { cap: self.number("cap")? },
            "select_wanted" => Op::SelectWanted,
            "qkv_rope" => Op::QkvRope(QkvRope {
                projection: match self.parts(weights)? {
                    parts if parts.is_empty() => None,
                    parts => Some(self.linear(parts, weights)?),
                },
                cache: CacheId(self.number("cache")?),
                heads: self.number("heads")?,
                kv_heads: self.number("kv_heads")?,
                q_norm: self.norm("q_norm", "q_eps", weights)?,
                k_norm: self.norm("k_norm", "k_eps", weights)?,
                rope: self.rope(weights)?,
            }),
            _ => return Err(self.line.error_at(self.op, format!("there is no operation `{name}`"))),
        };
        match self.given.first() {
            None => Ok(op),
            Some(rest) => {
                Err(self.line.error_at(rest.token, format!("{name} has no attribute `{}` here", rest.key)))
            }
        }
    }

    /// A number that may be left out.
    pub fn optional<T: FromStr>(&mut self, key: &str, what: &str) -> Result<Option<T>, ParseError> {
        let Some(attribute) = self.take(key) else { return Ok(None) };
        let parsed = match attribute.value {
            Some(Kind::Word(word)) => word.parse().ok(),
            _ => None,
        };
        parsed.map(Some).ok_or_else(|| self.line.error_at(attribute.token, format!("`{key}` must be {what}")))
    }

    fn number<T: FromStr>(&mut self, key: &str) -> Result<T, ParseError> {
        self.optional(key, NUMBER)?.ok_or_else(|| self.missing(key))
    }

    fn flag(&mut self, key: &str) -> Result<bool, ParseError> {
        match self.take(key) {
            None => Ok(false),
            Some(Attribute { value: None, .. }) => Ok(true),
            Some(attribute) => Err(self.line.error_at(attribute.token, format!("`{key}` takes no value"))),
        }
    }

    fn weight(&mut self, key: &str, weights: &BTreeMap<String, WeightId>) -> Result<WeightId, ParseError> {
        self.optional_weight(key, weights)?.ok_or_else(|| self.missing(key))
    }

    fn optional_weight(
        &mut self,
        key: &str,
        weights: &BTreeMap<String, WeightId>,
    ) -> Result<Option<WeightId>, ParseError> {
        let Some(attribute) = self.take(key) else { return Ok(None) };
        match attribute.value {
            Some(Kind::Weight(name)) => match weights.get(name) {
                Some(id) => Ok(Some(*id)),
                None => Err(self
                    .line
                    .error_at(attribute.token, format!("there is no weight `{name}` in the list"))),
            },
            _ => Err(self.line.error_at(attribute.token, format!("`{key}` must be a weight (`@name`)"))),
        }
    }

    fn parts(&mut self, weights: &BTreeMap<String, WeightId>) -> Result<Vec<Part>, ParseError> {
        let mut parts: Vec<Part> = Vec::new();
        while let Some(index) = self.given.iter().position(|given| matches!(given.key, "weight" | "bias")) {
            let (key, token) = (self.given[index].key, self.given[index].token);
            let id = self.weight(key, weights)?;
            match (key, parts.last_mut()) {
                ("bias", Some(Part { bias: bias @ None, .. })) => *bias = Some(id),
                ("bias", _) => {
                    return Err(self.line.error_at(token, "`bias` has no `weight` of its own".to_owned()));
                }
                _ => parts.push(Part { weight: id, bias: None }),
            }
        }
        Ok(parts)
    }

    /// A projection of `parts` with what else is given of it.
    fn linear(
        &mut self,
        parts: Vec<Part>,
        weights: &BTreeMap<String, WeightId>,
    ) -> Result<Linear, ParseError> {
        Ok(Linear {
            add: self.norm("add", "add_eps", weights)?,
            norm: self.norm("norm", "eps", weights)?,
            parts,
            gate: self.activation("gate")?,
            residual: self.flag("residual")?,
        })
    }

    fn norm(
        &mut self,
        key: &str,
        eps_key: &str,
        weights: &BTreeMap<String, WeightId>,
    ) -> Result<Option<Norm>, ParseError> {
        match self.optional_weight(key, weights)? {
            Some(weight) => Ok(Some(Norm { weight, eps: self.number(eps_key)? })),
            None => Ok(None),
        }
    }

    fn rope(&mut self, weights: &BTreeMap<String, WeightId>) -> Result<Rope, ParseError> {
        let styles = [RopeStyle::Interleaved, RopeStyle::HalfSplit].map(|style| (style_name(style), style));
        Ok(Rope {
            style: self.choice("style", &styles)?.ok_or_else(|| self.missing("style"))?,
            head_dim: self.number("head_dim")?,
            rotary_dim: self.number("rotary_dim")?,
            theta: self.number("theta")?,
            scaling: match self.choice("scaling", &[("linear", false), ("yarn", true)])? {
                None => RopeScaling::None,
                Some(false) => RopeScaling::Linear { factor: self.number("factor")? },
                Some(true) => RopeScaling::Yarn {
                    factor: self.number("factor")?,
                    original_context: self.number("original_context")?,
                    beta_fast: self.number("beta_fast")?,
                    beta_slow: self.number("beta_slow")?,
                },
            },
            freq_factors: self.optional_weight("freq_factors", weights)?,
        })
    }

    fn activation(&mut self, key: &str) -> Result<Option<HiddenActivation>, ParseError> {
        let kinds = [HiddenActivation::Silu, HiddenActivation::GeluTanh, HiddenActivation::GeluErf];
        self.choice(key, &kinds.map(|kind| (activation_name(kind), kind)))
    }

    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, ParseError> {
        let Some(attribute) = self.take(key) else { return Ok(None) };
        let chosen = choices
            .iter()
            .find(|(name, _)| matches!(attribute.value, Some(Kind::Word(word)) if word == name));
        match chosen {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                let message = format!("`{key}` must be one of {}", names.join(", "));
                Err(self.line.error_at(attribute.token, message))
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Attribute<'a>> {
        let index = self.given.iter().position(|attribute| attribute.key == key)?;
        Some(self.given.remove(index))
    }

    fn missing(&self, key: &str) -> ParseError {
        self.line.error_at(self.op, format!("`{key}=` is missing"))
    }
}

const NUMBER: &str = "a number";
