//! What the kernels for few rows do to the inputs of a projection before it: see `projection.metal`.

use super::launch::{flag, float, unsigned};
use super::run::{Binding, Run};
use super::weights::Vector;
use crate::gpu::Constant;

/// What happens to the inputs of a projection before it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prologue {
    /// The epsilon of their root-mean-square norm, if they have one.
    pub norm: Option<f32>,
    /// If they are a sum of the residual stream and the root-mean-square norm of what is added to it: the epsilon of that norm.
    pub add: Option<f32>,
}

impl Prologue {
    /// How the kernels are specialised for inputs of this width.
    pub(crate) fn constants(&self, inputs: usize) -> [Constant; 5] {
        [
            unsigned(0, inputs),
            flag(1, self.norm.is_some()),
            float(2, self.norm.unwrap_or(0.0)),
            flag(10, self.add.is_some()),
            float(11, self.add.unwrap_or(0.0)),
        ]
    }
}

/// The inputs of a projection, and where they lie.
#[derive(Clone, Copy)]
pub(crate) struct InputAt<'a> {
    pub(crate) x: Binding<'a>,
    /// Weight and epsilon.
    pub(crate) norm: Option<(Vector, f32)>,
    pub(crate) add: Option<AddAt<'a>>,
}

/// What makes the inputs of a projection a sum, stream + norm(x).
#[derive(Clone, Copy)]
pub(crate) struct AddAt<'a> {
    /// Weight and epsilon.
    pub(crate) norm: (Vector, f32),
    pub(crate) stream: Binding<'a>,
    /// Where the sum goes.
    pub(crate) sum: Binding<'a>,
}

impl<'a> InputAt<'a> {
    pub(crate) fn prologue(&self) -> Prologue {
        Prologue { norm: self.norm.map(|(_, epsilon)| epsilon), add: self.add.map(|add| add.norm.1) }
    }

    /// The buffers of the prologue: the norm's weight at 10, then, from `first` on, stream, weight of the stream's norm, sum. What is not
    /// there is bound by `anything`.
    pub(crate) fn buffers(
        &self,
        run: &Run<'a>,
        first: usize,
        anything: Binding<'a>,
    ) -> [(usize, Binding<'a>); 4] {
        let add = self.add;
        [
            (10, self.norm.map_or(anything, |(weight, _)| run.vector(weight))),
            (first, add.map_or(anything, |add| add.stream)),
            (first + 1, add.map_or(anything, |add| run.vector(add.norm.0))),
            (first + 2, add.map_or(anything, |add| add.sum)),
        ]
    }
}
