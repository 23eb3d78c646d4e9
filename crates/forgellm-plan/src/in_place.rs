//! What a step may write over.

use forgellm_frontend::ir::Op;

/// The inputs, by position, in whose place result `output` of an operation may lie: those that it reads element by element, each just before
/// it writes the same element of the result. Everything else must stay until the last thread is done with the step.
pub(crate) fn in_place_inputs<W>(op: &Op<W>, output: usize) -> &'static [usize] {
    match op {
        Op::Add | Op::Mul => &[1, 0],
        Op::Activation(_) | Op::Scale { .. } | Op::Softcap { .. } => &[0],
        Op::RmsNorm { residual: true, .. } => &[1],
        // The sum is no exception: all threads compute it from the inputs, and one of them writes it.
        Op::Linear(linear) if linear.residual && output == 0 => match linear.add {
            None => &[1],
            Some(_) => &[2],
        },
        _ => &[],
    }
}
