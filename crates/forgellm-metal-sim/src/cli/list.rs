//! `metal-sim list`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use forgellm_metal_sim::sim::api::{Device, Options};
use forgellm_metal_sim::sim::translate::{AddressSpace, Builtin, Parameter, ParameterKind};
use serde_json::{Value, json};

use super::Outcome;

/// Lists the kernels of a file. They are compiled, so mistakes are found, mixed up address spaces among them.
#[derive(Args)]
pub struct List {
    /// A file in the Metal Shading Language
    file: PathBuf,
    /// A folder in which #includes are looked for
    #[arg(long, value_name = "DIR")]
    include: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints the list.
    pub fn run(&self) -> Result<Outcome> {
        let source = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let device = Device::with(Options { include: self.include.clone(), ..Options::default() })?;
        let library = device.library(&source, &self.file.display().to_string())?;
        if self.json {
            let kernels: Vec<Value> = library
                .kernels()
                .iter()
                .map(|kernel| {
                    json!({
                        "name": kernel.name,
                        "line": kernel.at.line,
                        "max_total_threads": kernel.max_total_threads,
                        "parameters": kernel.parameters.iter().map(parameter_json).collect::<Vec<_>>(),
                    })
                })
                .collect();
            let constants: Vec<Value> = library
                .constants()
                .iter()
                .map(|constant| json!({"index": constant.index, "name": constant.name, "type": constant.ty}))
                .collect();
            let all = json!({"kernels": kernels, "function_constants": constants});
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(Outcome::Fine);
        }
        for kernel in library.kernels() {
            println!("{} ({})", kernel.name, kernel.at);
            for parameter in &kernel.parameters {
                println!("    {}", parameter_text(parameter));
            }
        }
        for constant in library.constants() {
            println!("function constant {}: {} {}", constant.index, constant.ty, constant.name);
        }
        Ok(Outcome::Fine)
    }
}

fn parameter_text(parameter: &Parameter) -> String {
    let name = &parameter.name;
    match &parameter.kind {
        ParameterKind::Buffer { index, writable, space, element, reference, optional } => {
            let space = match space {
                AddressSpace::Device if *writable => "device",
                AddressSpace::Device => "device const",
                AddressSpace::Constant => "constant",
            };
            let mark = if *reference { '&' } else { '*' };
            let optional = if *optional { ", optional" } else { "" };
            format!("buffer {index}: {space} {element} {mark}{name}{optional}")
        }
        ParameterKind::Threadgroup { index } => format!("threadgroup {index}: {name}"),
        ParameterKind::Builtin(builtin) => format!("{}: {name}", attribute(builtin)),
    }
}

fn parameter_json(parameter: &Parameter) -> Value {
    let name = &parameter.name;
    match &parameter.kind {
        ParameterKind::Buffer { index, writable, space, element, reference, optional } => {
            let space = match space {
                AddressSpace::Device => "device",
                AddressSpace::Constant => "constant",
            };
            json!({
                "kind": "buffer", "name": name, "index": index, "space": space, "writable": writable,
                "type": element, "reference": reference, "optional": optional,
            })
        }
        ParameterKind::Threadgroup { index } => json!({"kind": "threadgroup", "name": name, "index": index}),
        ParameterKind::Builtin(builtin) => {
            json!({"kind": "builtin", "name": name, "builtin": attribute(builtin)})
        }
    }
}

/// The attribute of a built-in value, as the language spells it.
fn attribute(builtin: &Builtin) -> String {
    let mut spelled = String::new();
    for letter in format!("{builtin:?}").chars() {
        if letter.is_uppercase() && !spelled.is_empty() {
            spelled.push('_');
        }
        spelled.extend(letter.to_lowercase());
    }
    spelled
}
