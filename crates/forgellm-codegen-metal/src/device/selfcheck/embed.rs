//! Rows of the embedding table: `embed.metal`.

use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use super::matrix;
use super::tolerance::{Approximate, F32};

/// Set in a token that stands for a result of an earlier step.
const EARLIER_RESULT: usize = 1 << 31;

/// Buffers: table, output, tokens, results of an earlier step; how many of those there are, and how many words apart they lie.
pub(super) fn embed(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (vocab, width, scale) = (call.size(20)?, call.size(21)?, call.float(22)?);
    let [format] = call.formats("embed_")?;
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        let token = token(call, row)?;
        // The row of what is no token is zeros.
        let elements =
            if token < vocab { matrix::row(call, 0, format, [vocab, width], token)? } else { Vec::new() };
        for i in sample(width, COLUMNS) {
            let want = elements.get(i).map_or(Approximate::default(), |element| Approximate {
                value: scale * element.value,
                error: 4.0 * F32 * (scale * element.size).abs(),
            });
            expected.push(Expected::near(Place::F32(1, row * width + i), want));
        }
    }
    Ok(expected)
}

fn token(call: &Call<'_>, row: usize) -> Result<usize, Unchecked> {
    let token = call.unsigned_at(2, row)?;
    if token & EARLIER_RESULT == 0 {
        return Ok(token);
    }
    let (number, count, words) = (token & !EARLIER_RESULT, call.unsigned_at(4, 0)?, call.unsigned_at(4, 1)?);
    if number < count { call.unsigned_at(3, number * words) } else { Ok(usize::MAX) }
}
