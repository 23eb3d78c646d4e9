//! Operations on single elements: `elementwise.metal`.

use super::activation::{activated, of_number};
use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use super::tolerance::{Approximate, F32};

/// Buffers: a, b, output; the number of elements, the parameter.
pub(super) fn element(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let mut expected = Vec::new();
    for i in sample(call.unsigned_at(3, 0)?, ROWS * COLUMNS) {
        let a = Approximate::exact(call.float_at(0, i)?);
        let want = match call.name() {
            "element_add" => a.plus(call.float_at(1, i)?),
            "element_mul" => a.times(Approximate::exact(call.float_at(1, i)?)),
            "element_scale" => a.times(Approximate::exact(call.float_at(4, 0)?)),
            "element_softcap" => capped(a, call.float_at(4, 0)?),
            "element_activation" => {
                let number = call.unsigned_at(4, 0)?;
                let activation = of_number(number)
                    .ok_or_else(|| Unchecked(format!("there is no activation number {number}")))?;
                activated(activation, a)
            }
            other => return Err(Unchecked(format!("there is no reference of {other}"))),
        };
        expected.push(Expected::near(Place::F32(2, i), want));
    }
    Ok(expected)
}

/// cap · tanh(x / cap), which is nowhere steeper than 1; division, tanh and product are off by a few units each.
pub(super) fn capped(x: Approximate, cap: f64) -> Approximate {
    let value = cap * (x.value / cap).tanh();
    Approximate { value, error: x.error + 16.0 * F32 * value.abs() }
}
