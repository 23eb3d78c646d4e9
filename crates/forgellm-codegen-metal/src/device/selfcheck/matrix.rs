//! Elements of packed matrices in f64, from what [`crate::device::format`] declares: one element at a time, without the kernels' wide loads.

use half::f16;

use super::call::{Call, Unchecked};
use crate::device::format::{FormatInfo, MAX_PLANES};

/// An element of a matrix: scale · code + minimum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    /// Its value.
    pub value: f64,
    /// What may be rounded on the way to it: |scale · code| + |minimum|.
    pub size: f64,
}

/// The elements of a row, from its bytes in each plane; `None` if they are too few, or if no such format is known here.
pub fn elements(format: &FormatInfo, planes: &[&[u8]; MAX_PLANES], inputs: usize) -> Option<Vec<Element>> {
    (0..inputs).map(|column| element(format.name, &Row { planes, column })).collect()
}

/// The elements of a row of the matrix [outputs, inputs] that a call has at `index`.
pub(super) fn row(
    call: &Call<'_>,
    index: usize,
    format: &FormatInfo,
    [outputs, inputs]: [usize; 2],
    row: usize,
) -> Result<Vec<Element>, Unchecked> {
    let unreadable =
        || Unchecked(format!("a matrix of {outputs} x {inputs} cannot be read as {}", format.name));
    let layout = format.layout(outputs, inputs).ok_or_else(unreadable)?;
    let mut planes: [Vec<u8>; MAX_PLANES] = Default::default();
    for (plane, bytes) in planes.iter_mut().enumerate() {
        let row_bytes = layout.row_bytes[plane];
        if row_bytes > 0 {
            *bytes = call.numbers(index, layout.offsets[plane] + row * row_bytes, row_bytes)?;
        }
    }
    elements(format, &planes.each_ref().map(Vec::as_slice), inputs).ok_or_else(unreadable)
}

/// Twice the value of each code of MXFP4.
const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The values of the codes of IQ4_NL and IQ4_XS.
const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn element(format: &str, row: &Row<'_>) -> Option<Element> {
    let Row { column, .. } = *row;
    let (group, block) = (column / 32, column / 256);
    let five_bits = |high| Some(row.bits(0, 4)? + 16.0 * row.bits(high, 1)?);
    let scaled = |scale: f64, code: f64, minimum: f64| {
        Some(Element { value: scale * code + minimum, size: (scale * code).abs() + minimum.abs() })
    };
    // (scale, -minimum) where the two are bytes beside each other.
    let pair = |plane| {
        let d = row.half(plane + 1, 2 * block)?;
        let dmin = row.half(plane + 1, 2 * block + 1)?;
        Some((d * row.unsigned(plane, 2 * group)?, dmin * row.unsigned(plane, 2 * group + 1)?))
    };
    match format {
        "F32" => scaled(1.0, row.float(0, column)?, 0.0),
        "F16" => scaled(1.0, row.half(0, column)?, 0.0),
        "BF16" => {
            let [low, high] = row.bytes(0, 2 * column)?;
            scaled(1.0, f32::from_le_bytes([0, 0, low, high]).into(), 0.0)
        }
        "Q4_0" => {
            let scale = row.half(1, group)?;
            scaled(scale, row.bits(0, 4)?, -8.0 * scale)
        }
        "Q4_1" => scaled(row.half(1, 2 * group)?, row.bits(0, 4)?, row.half(1, 2 * group + 1)?),
        "Q5_0" => {
            let scale = row.half(2, group)?;
            scaled(scale, five_bits(1)?, -16.0 * scale)
        }
        "Q5_1" => scaled(row.half(2, 2 * group)?, five_bits(1)?, row.half(2, 2 * group + 1)?),
        "Q8_0" => scaled(row.half(1, group)?, row.signed(0, column)?, 0.0),
        "Q2_K" => {
            let [both] = row.bytes(1, column / 16)?;
            let scale = row.half(2, 2 * block)? * f64::from(both & 15);
            scaled(scale, row.bits(0, 2)?, -row.half(2, 2 * block + 1)? * f64::from(both >> 4))
        }
        "Q3_K" => {
            let scale = row.half(3, block)? * row.signed(2, column / 16)?;
            scaled(scale, row.bits(0, 2)? + 4.0 * row.bits(1, 1)?, -4.0 * scale)
        }
        "Q4_K" => {
            let (scale, minimum) = pair(1)?;
            scaled(scale, row.bits(0, 4)?, -minimum)
        }
        "Q5_K" => {
            let (scale, minimum) = pair(2)?;
            scaled(scale, five_bits(1)?, -minimum)
        }
        "Q6_K" => {
            let scale = row.half(3, block)? * row.signed(2, column / 16)?;
            scaled(scale, row.bits(0, 4)? + 16.0 * row.bits(1, 2)?, -32.0 * scale)
        }
        "Q8_K" => scaled(row.float(1, block)?, row.signed(0, column)?, 0.0),
        "IQ4_NL" => scaled(row.half(1, group)?, row.looked_up(&IQ4_VALUES)?, 0.0),
        "IQ4_XS" => {
            let scale = row.half(2, block)? * row.signed(1, group)?;
            scaled(scale, row.looked_up(&IQ4_VALUES)?, 0.0)
        }
        "MXFP4" => {
            let exponent = row.unsigned(1, group)?;
            scaled((exponent - 128.0).exp2(), row.looked_up(&E2M1_DOUBLED)?, 0.0)
        }
        _ => None,
    }
}

/// A row of a matrix, and a column in it.
struct Row<'a> {
    planes: &'a [&'a [u8]; MAX_PLANES],
    column: usize,
}

impl Row<'_> {
    fn bytes<const N: usize>(&self, plane: usize, first: usize) -> Option<[u8; N]> {
        self.planes[plane].get(first..first + N)?.try_into().ok()
    }

    /// The column's code of `width` bits, as the documentation of the planes says.
    fn bits(&self, plane: usize, width: usize) -> Option<f64> {
        let quads = 8 / width;
        let (quad, byte) = (self.column % 32 / 4, self.column % 4);
        let [four] = self.bytes(plane, self.column / 32 * 4 * width + 4 * (quad / quads) + byte)?;
        Some((four >> (width * (quad % quads)) & (u8::MAX >> (8 - width))).into())
    }

    fn looked_up(&self, table: &[i8; 16]) -> Option<f64> {
        Some(table[self.bits(0, 4)? as usize].into())
    }

    fn unsigned(&self, plane: usize, index: usize) -> Option<f64> {
        Some(u8::from_le_bytes(self.bytes(plane, index)?).into())
    }

    fn signed(&self, plane: usize, index: usize) -> Option<f64> {
        Some(i8::from_le_bytes(self.bytes(plane, index)?).into())
    }

    fn half(&self, plane: usize, index: usize) -> Option<f64> {
        Some(f16::from_le_bytes(self.bytes(plane, 2 * index)?).to_f64())
    }

    fn float(&self, plane: usize, index: usize) -> Option<f64> {
        Some(f32::from_le_bytes(self.bytes(plane, 4 * index)?).into())
    }
}
