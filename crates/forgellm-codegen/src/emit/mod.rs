//! `src/model.rs` of a generated project from a plan. All targets' device layers offer the same operations under the same names, so that
//! the text differs in few places: a [`Dialect`].

mod calls;
mod fields;
mod layers;
mod layout;
mod model;
mod operation;

use forgellm_frontend::ir::DType;
use forgellm_plan::Plan;

use crate::{Program, RustWriter};

pub use layout::layout;
pub use model::model;
pub use operation::operation;

/// Where the model code of a target's programs differs from others'.
pub trait Dialect {
    /// Name of the type that stands for a tensor type's layout.
    fn format(&self, dtype: DType) -> &'static str;

    /// The type of a matrix `[outputs, inputs]` of this format.
    fn matrix(&self, format: &str, outputs: usize, inputs: usize) -> String;

    /// The type of a vector.
    fn vector(&self) -> &'static str;

    /// The type of the weights that `bind` looks in.
    fn weights(&self) -> &'static str;

    /// Imports from the standard library, with an empty line after them.
    fn import_standard(&self, _: &mut RustWriter) {}

    /// Imports the matrix type and these formats.
    fn import_formats(&self, w: &mut RustWriter, formats: &[String]);

    /// Names of the device layer that [`Dialect::open`] uses.
    fn device(&self) -> &'static [&'static str];

    /// Imports from elsewhere than the device layer and the runtime.
    fn import_rest(&self, _: &mut RustWriter) {}

    /// Imports the type of weights.
    fn import_weights(&self, w: &mut RustWriter);

    /// The head of the block that implements the device layer's `Model`, after the comment that it needs.
    fn implementation(&self, w: &mut RustWriter) -> &'static str;

    /// Fields of the device layer's `ModelSpec` beyond those that all have.
    fn spec_fields(&self, _: &mut RustWriter, _: &Plan) {}

    /// The function that opens the model on its device.
    fn open(&self, w: &mut RustWriter, plan: &Plan, program: &Program);
}
