//! Float matrices: transposed within a panel.

use crate::device::matrix::PANEL_ROWS;

/// Packs rows of values of `BYTES` bytes into `[column][16 rows]`.
pub(super) fn pack_rows<'a, const BYTES: usize>(rows: impl Iterator<Item = &'a [u8]>, dst: &mut [u8]) {
    for (row, bytes) in rows.enumerate() {
        let values = bytes.as_chunks::<BYTES>().0;
        let panel_bytes = values.len() * PANEL_ROWS * BYTES;
        let panel = &mut dst[row / PANEL_ROWS * panel_bytes..][..panel_bytes];
        let lanes = panel.as_chunks_mut::<BYTES>().0.iter_mut().skip(row % PANEL_ROWS).step_by(PANEL_ROWS);
        for (packed, value) in lanes.zip(values) {
            *packed = *value;
        }
    }
}
