//! What the model code of CPU programs looks like.

use forgellm_codegen::emit::Dialect;
use forgellm_codegen::{Program, RustWriter};
use forgellm_frontend::ir::{DType, Op};
use forgellm_plan::Plan;

use crate::pack::format_type_name;

/// The CPU's model code.
pub(crate) struct CpuDialect;

impl Dialect for CpuDialect {
    fn format(&self, dtype: DType) -> &'static str {
        format_type_name(dtype)
    }

    fn matrix(&self, format: &str, outputs: usize, inputs: usize) -> String {
        format!("Matrix<'static, {format}, {outputs}, {inputs}>")
    }

    fn vector(&self) -> &'static str {
        "&'static [f32]"
    }

    fn weights(&self) -> &'static str {
        "&'static Weights"
    }

    fn import_formats(&self, w: &mut RustWriter, formats: &[String]) {
        w.line("use crate::device::matrix::Matrix;");
        w.imports("crate::device::matrix::format", formats);
    }

    fn device(&self) -> &'static [&'static str] {
        &["CpuEngine", "CpuOptions"]
    }

    fn import_weights(&self, w: &mut RustWriter) {
        w.line("use crate::runtime::weights::Weights;");
    }

    fn implementation(&self, w: &mut RustWriter) -> &'static str {
        w.line("// SAFETY: the planner puts a barrier between any two operations that touch the same buffer or cache, and checks that every buffer");
        w.line("// lies within the arena; each thread runs the same straight line.");
        "unsafe impl Model for ForwardPass"
    }

    fn spec_fields(&self, w: &mut RustWriter, plan: &Plan) {
        w.line(format!("widest_input: {},", widest_input(plan)));
    }

    fn open(&self, w: &mut RustWriter, plan: &Plan, program: &Program) {
        w.line(format!("/// Opens {} on this machine's {}.", program.model, plan.target.to_uppercase()));
        w.block("pub fn open(options: &OpenOptions) -> Result<CpuEngine<ForwardPass>, OpenError>", |w| {
            w.line("// The program opens its weights once and keeps them mapped to its end.");
            w.line("let weights: &'static Weights = Box::leak(Box::new(options.weights.clone()));");
            w.line("let cpu = CpuOptions::of_program(options)?;");
            w.line("CpuEngine::open(ForwardPass::bind(weights)?, &cpu).map_err(|error| OpenError::Device(error.to_string()))");
        });
    }
}

/// Elements of the widest row that a projection reads.
fn widest_input(plan: &Plan) -> usize {
    let kinds = plan.kinds.iter().flat_map(|kind| &kind.steps);
    let steps = plan.prologue.iter().chain(kinds).chain(&plan.epilogue).chain(&plan.head);
    let inputs = steps.filter(|step| matches!(step.op, Op::Linear(_))).filter_map(|step| step.reads.first());
    inputs.map(|id| plan.buffers[id.0].shape.width).max().unwrap_or(0)
}
