//! What a generated program knows about its model, apart from the plan.

use forgellm_frontend::ir::ModelConfig;
use forgellm_plan::Plan;

use crate::RustWriter;

/// File names beside the program.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// See [`WEIGHTS_FILE`].
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A model for the program around it: what the model file says that is not in the graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// The model's name, as the file gives it.
    pub model: String,
    /// Name of the Cargo package and of the program: lower-case letters, digits and dashes.
    pub name: String,
    /// The architecture with its size, for people.
    pub architecture: String,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends a text.
    pub eos: Option<u32>,
    /// All tokens that end an answer.
    pub end_ids: Vec<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: bool,
    /// The Jinja source of the chat template.
    pub chat_template: Option<String>,
}

impl Program {
    /// The program of a model of which there is only the config: it has no tokenizer facts.
    pub fn of_config(model: &str, config: &ModelConfig) -> Program {
        Program {
            model: model.to_owned(),
            name: Program::package_name(model),
            architecture: format!("{}, {} layers", config.architecture, config.num_layers),
            ..Program::default()
        }
    }

    /// A name or a description on one line, as it may stand in a comment of generated code: control characters and line ends of any kind
    /// become spaces, so that no text of a model file can end the comment.
    pub fn one_line(text: &str) -> String {
        let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || c.is_whitespace();
        let words: Vec<&str> = text.split(is_break).filter(|word| !word.is_empty()).collect();
        words.join(" ").chars().take(100).collect()
    }

    /// A package name from a model's name: `SmolLM2 135M` → `smollm2-135m`.
    pub fn package_name(model: &str) -> String {
        let mut name = String::new();
        for c in model.chars() {
            if c.is_ascii_alphanumeric() {
                name.push(c.to_ascii_lowercase());
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        let name = name.trim_end_matches('-');
        match name.chars().next() {
            None => "model".into(),
            // Cargo takes no name that starts with a digit, and none that is a keyword or one of its folders.
            Some(first) if first.is_ascii_digit() => format!("model-{name}"),
            Some(_)
                if matches!(
                    name,
                    "test" | "deps" | "build" | "core" | "std" | "src" | "target" | "runtime" | "device"
                ) =>
            {
                format!("model-{name}")
            }
            Some(_) => name.to_owned(),
        }
    }

    /// Writes the constant that describes the program: `pub const PROGRAM: ProgramSpec = …`.
    pub fn write_spec(&self, w: &mut RustWriter, plan: &Plan) {
        let (target, positions) = (plan.target, plan.positions);
        let option = |value: Option<u32>| value.map_or("None".to_owned(), |value| format!("Some({value})"));
        let ids: Vec<String> = self.end_ids.iter().map(u32::to_string).collect();
        let template = match self.chat_template {
            Some(_) => "Some(include_str!(\"chat_template.jinja\"))",
            None => "None",
        };
        w.line("/// What the program around the model must know of it.");
        w.enclosed("pub const PROGRAM: ProgramSpec = ProgramSpec", " {", "};", |w| {
            w.line(format!("name: {:?},", self.name));
            w.line(format!("architecture: {:?},", self.architecture));
            w.line(format!("target: {target:?},"));
            w.line(format!("default_context: {positions},"));
            w.line(format!("max_context: {positions},"));
            w.line("vocab: VOCAB,");
            w.line(format!("bos: {},", option(self.bos)));
            w.line(format!("eos: {},", option(self.eos)));
            w.list("end_ids: &", ("[", "]"), &ids, ",");
            w.line(format!("add_bos: {},", self.add_bos));
            w.line(format!("chat_template: {template},"));
            w.line("layout_version: LAYOUT_VERSION,");
            w.line("plan_hash: PLAN_HASH,");
            w.line(format!("weight_bytes_a_step: {},", plan.weight_bytes_a_step()));
            w.line(format!("weights_file: {WEIGHTS_FILE:?},"));
            w.line(format!("tokenizer_file: {TOKENIZER_FILE:?},"));
            w.line("sampling: SamplingParams::GREEDY,");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_line() {
        assert_eq!(Program::one_line("a\n//! b\r\u{2028}\u{85}c  d"), "a //! b c d");
        assert_eq!(Program::one_line(&"x".repeat(1000)).len(), 100);
    }

    #[test]
    fn package_names_are_valid() {
        for (model, name) in [
            ("SmolLM2 135M Instruct", "smollm2-135m-instruct"),
            ("  .. ", "model"),
            ("7B", "model-7b"),
            ("Größe_ 1.5", "gr-e-1-5"),
            ("test", "model-test"),
        ] {
            assert_eq!(Program::package_name(model), name);
        }
    }
}
