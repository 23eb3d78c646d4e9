//! A kernel with its specialisation and its grid: a dispatch without its buffers.

use super::run::{Binding, Dispatch, Run};
use crate::gpu::{Constant, ConstantValue};

/// What is dispatched, apart from the buffers.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The kernel.
    pub function: String,
    /// What its pipeline is specialised by.
    pub constants: Vec<Constant>,
    /// Threadgroups of the grid.
    pub threadgroups: [usize; 3],
    /// Threads of a threadgroup.
    pub threads: [usize; 3],
}

impl Launch {
    /// Encodes the dispatch with its buffers and small data, by index.
    pub(crate) fn encode(&self, run: &Run<'_>, buffers: &[(usize, Binding<'_>)], bytes: &[(usize, &[u8])]) {
        run.dispatch(&Dispatch {
            function: &self.function,
            constants: &self.constants,
            buffers,
            bytes,
            threadgroups: self.threadgroups,
            threads: self.threads,
        });
    }
}

/// The function constant `index` as a u32. Kernels count in 32 bits.
pub(crate) fn unsigned(index: u32, value: usize) -> Constant {
    Constant { index, value: ConstantValue::U32(value as u32) }
}

/// The function constant `index` as a bool.
pub(crate) fn flag(index: u32, value: bool) -> Constant {
    Constant { index, value: ConstantValue::Bool(value) }
}

/// The function constant `index` as an f32.
pub(crate) fn float(index: u32, value: f32) -> Constant {
    Constant { index, value: ConstantValue::F32(value) }
}
