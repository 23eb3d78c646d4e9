//! From the hidden state to attention in one kernel: `qkv.metal`.

use super::call::{Call, ROWS, Unchecked, sample};
use super::expected::Expected;
use super::projection::Prologue;
use super::rope::{HeadBuffers, Heads, Part};

/// Buffers: hidden state, queries at 2, the number of rows at 3, matrices from 4, biases from 7, the norm's weight at 10, keys, values, page
/// tables, positions, slots, frequencies, norms of queries and keys, entries of a page table, stream, its norm's weight, sum.
pub(super) fn qkv(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let buffers =
        HeadBuffers { norms: 17, tables: 13, frequencies: 16, entries: 19, positions: 14, slots: 15 };
    let heads = Heads::of(call, buffers)?;
    let formats = call.formats::<3>("qkv_")?;
    let (inputs, biases, head_dim) = (call.size(0)?, call.size(6)?, heads.pages.head_dim);
    let prologue = Prologue::of(call, 20)?;
    let mut expected = Vec::new();
    for row in sample(call.unsigned_at(3, 0)?, ROWS) {
        let input = prologue.input(call, row, &mut expected)?;
        for (part, head) in heads.sample() {
            let (number, count) = match part {
                Part::Queries => (0, heads.heads),
                Part::Keys => (1, heads.pages.kv_heads),
                Part::Values => (2, heads.pages.kv_heads),
            };
            let bias = if biases >> number & 1 == 1 { Some(7 + number) } else { None };
            let shape = [count * head_dim, inputs];
            let outputs = head * head_dim..(head + 1) * head_dim;
            let products = outputs
                .map(|output| input.times(call, 4 + number, formats[number], shape, output, bias, false))
                .collect::<Result<Vec<_>, _>>()?;
            heads.expect(call, row, part, head, products, [2, 11, 12], &mut expected)?;
        }
    }
    Ok(expected)
}
