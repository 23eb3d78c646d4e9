//! The compiler, from an open model file to what goes into a project.

use std::path::Path;

use clap::ValueEnum;
use forgellm_codegen::{Program, Project, WeightsWriteError, plan_hash};
use forgellm_codegen_cpu::{Cpu, CpuCodegenError, cpu_project, write_cpu_weights};
use forgellm_codegen_metal::{Gpu, Metal, MetalCodegenError, metal_project, write_metal_weights};
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_optimizer::{OptimizeError, Optimized, Options, optimize};
use forgellm_plan::{self as plan, Plan, PlanError};

use crate::model::{Model, ModelError};
use crate::ui::Ui;

/// What a program is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Target {
    /// The best that this machine has
    #[default]
    Auto,
    /// The processor
    Cpu,
    /// The GPU of a Mac with Apple silicon
    Metal,
    /// A Metal GPU that is simulated on the processor: slow, for tests
    MetalSim,
}

impl Target {
    /// The target's own name, in keys and messages.
    pub fn name(self) -> &'static str {
        match self.resolved() {
            Target::Auto | Target::Cpu => "cpu",
            Target::Metal => "metal",
            Target::MetalSim => "metal-sim",
        }
    }

    /// What `auto` stands for on this machine; the others stand for themselves.
    fn resolved(self) -> Target {
        match self {
            Target::Auto if cfg!(all(target_os = "macos", target_arch = "aarch64")) => Target::Metal,
            Target::Auto => Target::Cpu,
            other => other,
        }
    }

    /// Its kernels and layouts.
    fn table(self) -> &'static dyn plan::Target {
        match self.resolved() {
            Target::Auto | Target::Cpu => &Cpu,
            Target::Metal | Target::MetalSim => &Metal,
        }
    }
}

/// Why a model could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A rewrite of the graph.
    #[error("the model's graph cannot be optimized")]
    Optimize(#[source] Box<OptimizeError>),
    /// The target refuses the model.
    #[error("the model cannot run on {target}")]
    Plan {
        /// The target.
        target: &'static str,
        /// What it refuses.
        source: Box<PlanError>,
    },
    /// The project for the CPU.
    #[error(transparent)]
    CpuProject(#[from] Box<CpuCodegenError>),
    /// The project for Metal.
    #[error(transparent)]
    MetalProject(#[from] Box<MetalCodegenError>),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsWriteError),
}

/// A compiled model: everything but the tensors' bytes, which stay in the model file.
pub struct Compiled {
    /// What it is compiled for.
    pub target: Target,
    /// The schedule.
    pub plan: Verified<Plan>,
    /// What the program around the model must know.
    pub program: Program,
    /// The tokenizer as the program loads it.
    pub tokenizer_json: String,
}

/// The model's graph after all rewrites that `target` wants.
///
/// # Errors
/// When the file holds no model that is known, or a rewrite breaks it.
pub fn optimized(model: &Model, target: Target) -> Result<Optimized, CompileError> {
    let skip = target.table().unwanted_rewrites().iter().map(|name| name.to_string()).collect();
    optimize(model.graph()?, &Options { skip, ..Options::default() })
        .map_err(|source| CompileError::Optimize(Box::new(source)))
}

/// The schedule of an optimized graph for `target`.
///
/// # Errors
/// When the target cannot run the model; names what it cannot.
pub fn planned(graph: &Verified<Graph>, target: Target) -> Result<Verified<Plan>, CompileError> {
    let refused = |source| CompileError::Plan { target: target.name(), source: Box::new(source) };
    plan::plan(graph, target.table()).map_err(refused)
}

/// Compiles `model` for `target`. `name` is the program's name; by default it comes from the model's.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(model: &Model, target: Target, name: Option<&str>) -> Result<Compiled, CompileError> {
    let graph = optimized(model, target)?.graph;
    let plan = planned(&graph, target)?;
    let spec = model.tokenizer_spec()?;
    let program = Program {
        model: graph.name.clone(),
        name: Program::package_name(name.unwrap_or(&graph.name)),
        architecture: architecture(model, &graph),
        bos: spec.bos,
        eos: spec.eos,
        end_ids: spec.end_ids.clone(),
        add_bos: spec.add_bos,
        chat_template: spec.chat_template.clone(),
    };
    Ok(Compiled { target: target.resolved(), plan, program, tokenizer_json: spec.to_tokenizer_json() })
}

/// `llama, 30 layers, 134.5 M parameters`
fn architecture(model: &Model, graph: &Graph) -> String {
    let elements: f64 = model.file.tensors().iter().map(|tensor| tensor.elements() as f64).sum();
    let size =
        if elements < 1e9 { format!("{:.1} M", elements / 1e6) } else { format!("{:.2} B", elements / 1e9) };
    match &graph.config {
        Some(config) => format!("{}, {} layers, {size} parameters", config.architecture, config.num_layers),
        None => format!("{size} parameters"),
    }
}

impl Compiled {
    /// The identity of the plan, which the program and its weights file share.
    pub fn plan_hash(&self) -> String {
        plan_hash(&self.plan)
    }

    /// The project's files.
    ///
    /// # Errors
    /// When the parts of the project do not fit each other.
    pub fn project(&self) -> Result<Project, CompileError> {
        let gpu = match self.target {
            Target::Auto | Target::Cpu => {
                return Ok(cpu_project(&self.plan, &self.program).map_err(Box::new)?);
            }
            Target::Metal => Gpu::Apple,
            Target::MetalSim => Gpu::Simulator,
        };
        Ok(metal_project(&self.plan, &self.program, gpu).map_err(Box::new)?)
    }

    /// Writes the weights file to `path`.
    ///
    /// # Errors
    /// When it cannot be written, or a tensor does not fit the plan.
    pub fn write_weights(&self, model: &Model, path: &Path, ui: &Ui) -> Result<(), CompileError> {
        let bar = ui.bytes("repacking weights", 0);
        let progress = &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
            true
        };
        match self.target {
            Target::Auto | Target::Cpu => write_cpu_weights(&self.plan, &model.file, path, progress)?,
            Target::Metal | Target::MetalSim => {
                write_metal_weights(&self.plan, &model.file, path, progress)?;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}
