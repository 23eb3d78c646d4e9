//! Rows and columns that move: `rows.metal`.

use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};

/// Buffers: input, numbers of the wanted rows, output.
pub(super) fn select_wanted(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let width = call.size(66)?;
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        let from = call.unsigned_at(1, row)?;
        copied(call, from * width, (2, row * width), width, &mut expected)?;
    }
    Ok(expected)
}

/// Buffers: input, output.
pub(super) fn slice(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (width, start, length) = (call.size(66)?, call.size(67)?, call.size(68)?);
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        copied(call, row * width + start, (1, row * length), length, &mut expected)?;
    }
    Ok(expected)
}

/// A copy of `length` elements from `from` of buffer 0.
fn copied(
    call: &Call<'_>,
    from: usize,
    (output, to): (usize, usize),
    length: usize,
    expected: &mut Vec<Expected>,
) -> Result<(), Unchecked> {
    for i in sample(length, COLUMNS) {
        expected.push(Expected::exactly(Place::F32(output, to + i), call.float_at(0, from + i)?));
    }
    Ok(())
}
