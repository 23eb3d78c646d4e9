//! activation(gate) · up on finished tiles.

use crate::device::elementwise::{Activation, activate};
use crate::device::matrix::{Isa, PANEL_ROWS};
use crate::device::simd::{Kernel, Simd, dispatch};

/// gates = activation(gates) · (ups + bias).
pub(super) fn multiply(
    isa: Isa,
    activation: Activation,
    gates: &mut [[f32; PANEL_ROWS]],
    ups: &[[f32; PANEL_ROWS]],
    bias: Option<&[f32]>,
) {
    let mut padded = [0.0; PANEL_ROWS];
    if let Some(bias) = bias {
        padded[..bias.len()].copy_from_slice(bias);
    }
    dispatch(isa, Multiply { activation, gates, ups, bias: &padded });
}

struct Multiply<'a> {
    activation: Activation,
    gates: &'a mut [[f32; PANEL_ROWS]],
    ups: &'a [[f32; PANEL_ROWS]],
    bias: &'a [f32; PANEL_ROWS],
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let bias = simd.load(self.bias);
        for (gate, up) in self.gates.iter_mut().zip(self.ups) {
            let up = simd.add(simd.load(up), bias);
            let activated = activate(simd, self.activation, simd.load(gate));
            simd.store(simd.mul(activated, up), gate);
        }
    }
}
