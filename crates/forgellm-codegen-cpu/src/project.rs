//! A whole project for the CPU.

use std::path::Path;

use forgellm_codegen::emit::model;
use forgellm_codegen::{
    Dependencies, ManifestError, Program, Project, RUSTFMT, WriteError, runtime_dependencies,
    runtime_sources, sources_without_tests,
};
use forgellm_frontend::arch::{self, ImportError};
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_plan::{Plan, PlanError, plan};

use crate::emit;
use crate::target::Cpu;

static DEVICE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/device_files.rs"));

/// What the device layer needs beyond the runtime; this crate's own manifest holds the same.
const DEVICE_DEPENDENCIES: &str = "[dependencies]\n\
    bytemuck = \"1.25.2\"\n\
    half = \"2.7.1\"\n\
    thiserror = \"2.0.21\"\n";

/// Why no project could be made.
#[derive(Debug, thiserror::Error)]
pub enum CpuCodegenError {
    /// The graph holds nothing but a name.
    #[error("the graph has no config, so there is no model to generate a project for")]
    MissingConfig,
    /// The config gives no graph.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The CPU cannot run the graph.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The dependencies of runtime and device layer contradict each other.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the project of a graph that may hold only a config; the program has no tokenizer facts. See [`cpu_project`].
pub fn generate_cpu_project(
    graph: &Graph,
    output_dir: &Path,
    model_name: &str,
) -> Result<(), CpuCodegenError> {
    let config = graph.config.as_ref().ok_or(CpuCodegenError::MissingConfig)?;
    let program = Program::of_config(model_name, config);
    let graph = arch::complete(graph)?;
    Ok(cpu_project(&plan(&graph, &Cpu)?, &program)?.write(output_dir)?)
}

/// The project of a plan: runtime and device layer as they are, `src/model.rs` and what surrounds it.
pub fn cpu_project(plan: &Verified<Plan>, program: &Program) -> Result<Project, CpuCodegenError> {
    let program = &Program {
        model: Program::one_line(&program.model),
        architecture: Program::one_line(&program.architecture),
        ..program.clone()
    };
    let mut project = Project::default();
    let dependencies = runtime_dependencies()?.and(Dependencies::of_manifest(DEVICE_DEPENDENCIES)?)?;
    let description = format!("{}, compiled for the CPU", program.model);
    project.add("Cargo.toml", dependencies.manifest(&program.name, &description));
    project.add("rustfmt.toml", RUSTFMT);
    project.add(".gitignore", "/target\n");
    project.add("README.md", emit::readme(plan, program));
    project.add("src/main.rs", emit::main(program));
    project.add("src/model.rs", model(plan, program, &emit::CpuDialect));
    if let Some(template) = &program.chat_template {
        project.add("src/chat_template.jinja", template.as_str());
    }
    for (name, text) in runtime_sources() {
        project.add(format!("src/runtime/{name}"), text);
    }
    for (name, text) in sources_without_tests(DEVICE) {
        project.add(format!("src/device/{name}"), text);
    }
    Ok(project)
}
