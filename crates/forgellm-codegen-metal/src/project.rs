//! A whole project for Metal.

use std::path::Path;

use forgellm_codegen::emit::model;
use forgellm_codegen::{
    Dependencies, ManifestError, Program, Project, RUSTFMT, WriteError, runtime_dependencies,
    runtime_sources, sources_without_tests,
};
use forgellm_frontend::arch::{self, ImportError};
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_plan::{Plan, PlanError, plan};

use crate::emit::{self, MetalDialect};
use crate::kernels::kernel_source;
use crate::target::Metal;

static DEVICE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/device_files.rs"));
static APPLE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/apple_files.rs"));
static SIMULATOR: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/simulator_files.rs"));
static SIMULATOR_HEADERS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/simulator_headers.rs"));
static SIMULATOR_MANIFEST: &str = include_str!(concat!(env!("OUT_DIR"), "/simulator_manifest.toml"));
static APPLE_MANIFEST: &str = include_str!("../apple/Cargo.toml");

/// What the device layer needs beyond the runtime; this crate's own manifest holds the same.
const DEVICE_DEPENDENCIES: &str = "[dependencies]\n\
    bytemuck = { version = \"1.25.2\", features = [\"derive\"] }\n\
    half = \"2.7.1\"\n";

/// Crates of the simulator's manifest that only its command needs.
const SIMULATOR_COMMAND: [&str; 2] = ["anyhow", "clap"];

/// The GPU that a project runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    /// Apple's, through Metal.
    Apple,
    /// The simulator, which the project then holds.
    Simulator,
}

/// Why no project could be made.
#[derive(Debug, thiserror::Error)]
pub enum MetalCodegenError {
    /// The graph holds nothing but a name.
    #[error("the graph has no config, so there is no model to generate a project for")]
    MissingConfig,
    /// The config gives no graph.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Metal cannot run the graph.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The dependencies of the project's parts contradict each other.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the project of a graph that may hold only a config; the program has no tokenizer facts. See [`metal_project`].
pub fn generate_metal_project(
    graph: &Graph,
    output_dir: &Path,
    model_name: &str,
) -> Result<(), MetalCodegenError> {
    let config = graph.config.as_ref().ok_or(MetalCodegenError::MissingConfig)?;
    let program = Program::of_config(model_name, config);
    let graph = arch::complete(graph)?;
    Ok(metal_project(&plan(&graph, &Metal)?, &program, Gpu::Apple)?.write(output_dir)?)
}

/// The project of a plan: runtime and device layer as they are, `src/model.rs`, the kernels that it uses, and the GPU's layer.
pub fn metal_project(
    plan: &Verified<Plan>,
    program: &Program,
    gpu: Gpu,
) -> Result<Project, MetalCodegenError> {
    let program = &Program {
        model: Program::one_line(&program.model),
        architecture: Program::one_line(&program.architecture),
        ..program.clone()
    };
    let mut project = Project::default();
    let gpu_dependencies = match gpu {
        Gpu::Apple => Dependencies::of_manifest(APPLE_MANIFEST)?,
        Gpu::Simulator => Dependencies::of_manifest(SIMULATOR_MANIFEST)?.without(&SIMULATOR_COMMAND),
    };
    let dependencies = runtime_dependencies()?
        .and(Dependencies::of_manifest(DEVICE_DEPENDENCIES)?)?
        .and(gpu_dependencies)?;
    let description = format!("{}, compiled for Metal", program.model);
    project.add("Cargo.toml", dependencies.manifest(&program.name, &description));
    project.add("rustfmt.toml", RUSTFMT);
    project.add(".gitignore", "/target\n");
    project.add("README.md", emit::readme(plan, program, gpu));
    project.add("build.rs", include_str!("project/build.rs"));
    project.add("src/main.rs", emit::main(program, gpu));
    project.add("src/model.rs", model(plan, program, &MetalDialect));
    project.add("src/kernels.rs", include_str!("project/kernels.rs"));
    let needs = emit::kernel_needs(plan);
    let instantiations = needs.instantiations.iter().map(String::as_str);
    project.add("shaders/kernels.metal", kernel_source(&needs.files, instantiations));
    if let Some(template) = &program.chat_template {
        project.add("src/chat_template.jinja", template.as_str());
    }
    for (name, text) in runtime_sources() {
        project.add(format!("src/runtime/{name}"), text);
    }
    for (name, text) in sources_without_tests(DEVICE) {
        project.add(format!("src/device/{name}"), text);
    }
    match gpu {
        Gpu::Apple => {
            for (name, text) in sources_without_tests(APPLE) {
                project.add(format!("src/gpu/{name}"), text);
            }
        }
        Gpu::Simulator => {
            project.add("src/gpu.rs", emit::SIMULATED_GPU);
            for (name, text) in sources_without_tests(SIMULATOR) {
                project.add(format!("src/sim/{name}"), text);
            }
            for (name, text) in SIMULATOR_HEADERS {
                project.add(format!("include/{name}"), *text);
            }
        }
    }
    Ok(project)
}
