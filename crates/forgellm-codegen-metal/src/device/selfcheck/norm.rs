//! Root-mean-square norms: `norm.metal`.

use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use super::projection::norm_factor;
use super::tolerance::{Approximate, of_terms};

/// Buffers: input, weight, residual, output; the number of chunks.
pub(super) fn rms_norm(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (width, epsilon, residual) = (call.size(60)?, call.float(61)?, call.flag(62)?);
    let weight = call.floats(1, 0, width)?;
    let mut expected = Vec::new();
    for chunk in sample(call.unsigned_at(4, 0)?, ROWS) {
        let first = chunk * width;
        let x = call.floats(0, first, width)?;
        let factor = norm_factor(&x, epsilon);
        for i in sample(width, COLUMNS) {
            let value = x[i] * factor * weight[i];
            let mut want = Approximate { value, error: of_terms(width) * value.abs() };
            if residual {
                want = want.plus(call.float_at(2, first + i)?);
            }
            expected.push(Expected::near(Place::F32(3, first + i), want));
        }
    }
    Ok(expected)
}
