//! The fields that hold weights.

use forgellm_frontend::ir::DType;
use forgellm_plan::{LayerKind, Layout, Plan, WeightRef};

use super::Dialect;
use super::model::Used;
use crate::{RustWriter, VECTOR};

/// A field that holds a weight.
pub(super) struct Field<'a> {
    pub name: String,
    dtype: DType,
    shape: &'a [usize],
    layout: &'a Layout,
}

impl Field<'_> {
    pub fn rust_type(&self, dialect: &dyn Dialect, used: &mut Used) -> String {
        match self.shape {
            [out, inputs] if self.layout.name != VECTOR => {
                let format = dialect.format(self.dtype);
                used.format(format);
                dialect.matrix(format, *out, *inputs)
            }
            _ => dialect.vector().into(),
        }
    }

    /// Writes the field's initialiser, which finds it in the weights file under the name that the expression `name` gives.
    pub fn bind(&self, w: &mut RustWriter, name: String) {
        let mut arguments = vec!["weights".to_owned(), name];
        let function = match self.shape {
            [_, _] if self.layout.name != VECTOR => "matrix",
            _ => {
                arguments.push((self.layout.bytes / size_of::<f32>()).to_string());
                "vector"
            }
        };
        w.list(&format!("{}: bind::{function}", self.name), ("(", ")"), &arguments, "?,");
    }
}

/// The weights that are used outside of the layers.
pub(super) fn outer_weights(plan: &Plan) -> Vec<WeightRef> {
    let mut used: Vec<WeightRef> = Vec::new();
    for step in plan.prologue.iter().chain(&plan.epilogue).chain(&plan.head) {
        for weight in step.op.weights().into_iter().chain(step.tables.iter().copied()) {
            if !used.contains(&weight) {
                used.push(weight);
            }
        }
    }
    used
}

/// The field of a weight that is used outside of the layers.
pub(super) fn outer_field(plan: &Plan, weight: WeightRef) -> Field<'_> {
    let weight = &plan.weights[weight.0];
    let name = weight.name.strip_suffix(".weight").unwrap_or(&weight.name);
    Field {
        name: name.replace(['.', '-'], "_"),
        dtype: weight.dtype,
        shape: &weight.shape,
        layout: &weight.layout,
    }
}

/// The field of a slot of a layer's table.
pub(super) fn slot_field(kind: &LayerKind, slot: usize) -> Field<'_> {
    let slot = &kind.slots[slot];
    Field { name: slot.name.clone(), dtype: slot.dtype, shape: &slot.shape, layout: &slot.layout }
}
