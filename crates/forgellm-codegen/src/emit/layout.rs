//! How weights are stored: vectors the same way everywhere, matrices as their target wants them.

use forgellm_frontend::ir::{DType, Weight};
use forgellm_plan::{Layout, Refusal};

use crate::VECTOR;

/// The layout of a weight. `matrix` names the target's layout of matrices, `bytes` says what one `[outputs, inputs]` takes in it; `None` where
/// its rows are not whole blocks, or it is too large.
pub fn layout(
    weight: &Weight,
    matrix: &'static str,
    bytes: impl Fn(DType, usize, usize) -> Option<usize>,
) -> Result<Layout, Refusal> {
    let too_large = || Refusal("its size does not fit into memory".into());
    match weight.shape[..] {
        [elements] => {
            if !weight.dtype.is_float() {
                return Err(Refusal(format!("vectors of type {} are not supported", weight.dtype)));
            }
            Ok(Layout { name: VECTOR, bytes: elements.checked_mul(4).ok_or_else(too_large)? })
        }
        [outputs, inputs] => {
            let bytes = bytes(weight.dtype, outputs, inputs).ok_or_else(|| {
                Refusal(format!("rows of {inputs} are not whole blocks of {}, or too large", weight.dtype))
            })?;
            Ok(Layout { name: matrix, bytes })
        }
        _ => Err(Refusal(format!("it has {} dimensions, only 1 and 2 are supported", weight.shape.len()))),
    }
}
