//! What the model code of Metal programs looks like.

use forgellm_codegen::emit::Dialect;
use forgellm_codegen::{Program, RustWriter};
use forgellm_frontend::ir::DType;
use forgellm_plan::Plan;

use crate::pack::format_of;

/// Metal's model code.
pub(crate) struct MetalDialect;

impl Dialect for MetalDialect {
    fn format(&self, dtype: DType) -> &'static str {
        format_of(dtype).name
    }

    fn matrix(&self, format: &str, outputs: usize, inputs: usize) -> String {
        format!("Matrix<{format}, {outputs}, {inputs}>")
    }

    fn vector(&self) -> &'static str {
        "Vector"
    }

    fn weights(&self) -> &'static str {
        "&Weights"
    }

    fn import_standard(&self, w: &mut RustWriter) {
        w.line("use std::sync::Arc;");
        w.gap();
    }

    fn import_formats(&self, w: &mut RustWriter, formats: &[String]) {
        w.imports("crate::device::format", formats);
        w.line("use crate::device::weights::Matrix;");
    }

    fn device(&self) -> &'static [&'static str] {
        &["MetalEngine", "MetalModel", "MetalOptions", "Vector", "Weights"]
    }

    fn import_rest(&self, w: &mut RustWriter) {
        w.line("use crate::gpu::{Device, GpuError};");
        w.line("use crate::kernels;");
    }

    fn import_weights(&self, w: &mut RustWriter) {
        w.line("use crate::runtime::weights::Weights as WeightsFile;");
    }

    fn implementation(&self, _: &mut RustWriter) -> &'static str {
        "impl Model for ForwardPass"
    }

    fn open(&self, w: &mut RustWriter, _: &Plan, program: &Program) {
        w.line(format!("/// Opens {} on this machine's GPU.", program.model));
        w.block("pub fn open(options: &OpenOptions) -> Result<MetalEngine<ForwardPass>, OpenError>", |w| {
            w.line("let unfit = |error: GpuError| OpenError::Device(error.to_string());");
            w.line("let device = Device::open().map_err(unfit)?;");
            w.line("let library = kernels::library(&device).map_err(unfit)?;");
            w.line("let metal = MetalOptions::of_program(options)?;");
            w.line("let weights = options.weights.clone();");
            w.line("MetalEngine::open(device, library, weights, ForwardPass::bind, &metal)");
        });
        w.gap();
        w.line(
            "#[allow(dead_code, reason = \"for programs of your own: this one goes through the engine\")]",
        );
        w.block("impl MetalModel<ForwardPass>", |w| {
            w.line("/// The model with an empty sequence, on this machine's GPU.");
            w.block("pub fn new(weights: Arc<WeightsFile>) -> Result<MetalModel<ForwardPass>, OpenError>", |w| {
                w.enclosed("let options = OpenOptions", " {", "};", |w| {
                    w.line("weights,");
                    w.line("threads: None,");
                    w.line("context: PROGRAM.default_context,");
                    w.line("sequences: 1,");
                    w.line("kv_cache: None,");
                    w.line("profile: false,");
                });
                w.line("MetalModel::over(open(&options)?).map_err(|error| OpenError::Device(error.to_string()))");
            });
        });
    }
}
