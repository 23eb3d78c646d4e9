//! The tensor descriptions, and the check of where their data lies.

use super::cursor::{Cursor, Subject};
use super::error::{GgufErrorKind, shorten};
use super::types::unsupported_type_name;
use crate::ir::DType;

/// Where a tensor is in its file, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, unique in the file.
    pub name: String,
    /// How its elements are stored.
    pub dtype: DType,
    /// Its dimensions, outermost first: a matrix from `in` to `out` has shape `[out, in]`. GGUF stores them
    /// the other way round.
    pub shape: Vec<usize>,
    /// First byte of its data, from the start of the file.
    pub offset: u64,
    /// Bytes of its data.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// One past the last byte of its data, from the start of the file.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// Reads `count` descriptions and checks that their data lies in the file of `length` bytes, aligned and
/// apart. Gives the tensors, and their indices in the order of their names.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: u64,
    length: u64,
) -> Result<(Vec<TensorInfo>, Vec<usize>), GgufErrorKind> {
    let mut tensors = Vec::with_capacity(count);
    for index in 0..count {
        tensors.push(read_description(cursor, index as u64, alignment)?);
    }
    let by_name = sort_by_name(&tensors)?;
    place(&mut tensors, cursor.offset(), alignment, length)?;
    check_apart(&tensors)?;
    Ok((tensors, by_name))
}

/// Reads one description; `offset` of the result is relative to the data section.
fn read_description(
    cursor: &mut Cursor<'_>,
    index: u64,
    alignment: u64,
) -> Result<TensorInfo, GgufErrorKind> {
    let name = cursor.text(Subject::TensorEntry(index))?;
    let subject = Subject::Tensor(name);
    let at = cursor.offset();
    let dimension_count = cursor.u32(subject)?;
    if !(1..=4).contains(&dimension_count) {
        return Err(GgufErrorKind::DimensionCount {
            tensor: shorten(name),
            count: dimension_count,
            offset: at,
        });
    }
    let mut dimensions = [1; 4];
    let dimensions = &mut dimensions[..dimension_count as usize];
    for (dimension, length) in dimensions.iter_mut().enumerate() {
        let at = cursor.offset();
        *length = cursor.u64(subject)?;
        if *length == 0 {
            return Err(GgufErrorKind::ZeroDimension { tensor: shorten(name), dimension, offset: at });
        }
    }
    let at = cursor.offset();
    let tag = cursor.u32(subject)?;
    let dtype = DType::from_gguf_tag(tag).ok_or_else(|| GgufErrorKind::UnsupportedType {
        tensor: shorten(name),
        type_name: unsupported_type_name(tag),
        tag,
        offset: at,
    })?;
    let offset = cursor.u64(subject)?;
    let at = cursor.offset();
    let row = dimensions[0];
    if !row.is_multiple_of(dtype.block_elements() as u64) {
        return Err(GgufErrorKind::RaggedRow { tensor: shorten(name), row, dtype, offset: at });
    }
    if !offset.is_multiple_of(alignment) {
        return Err(GgufErrorKind::Misaligned { tensor: shorten(name), offset, alignment });
    }
    let too_large = || GgufErrorKind::TensorTooLarge { tensor: shorten(name), offset: at };
    let bytes = byte_count(dtype, dimensions).ok_or_else(too_large)?;
    let shape =
        dimensions.iter().rev().map(|&length| usize::try_from(length).ok()).collect::<Option<Vec<_>>>();
    Ok(TensorInfo { name: name.to_owned(), dtype, shape: shape.ok_or_else(too_large)?, offset, bytes })
}

/// Bytes of a tensor; `None` where they, or the number of its elements, overflow.
fn byte_count(dtype: DType, dimensions: &[u64]) -> Option<u64> {
    let elements = dimensions.iter().try_fold(1u64, |product, &length| product.checked_mul(length))?;
    usize::try_from(elements).ok()?;
    (elements / dtype.block_elements() as u64).checked_mul(dtype.block_bytes() as u64)
}

fn sort_by_name(tensors: &[TensorInfo]) -> Result<Vec<usize>, GgufErrorKind> {
    let mut by_name: Vec<usize> = (0..tensors.len()).collect();
    by_name.sort_by(|&a, &b| tensors[a].name.cmp(&tensors[b].name));
    for pair in by_name.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if tensors[first].name == tensors[second].name {
            return Err(GgufErrorKind::DuplicateTensor {
                tensor: shorten(&tensors[first].name),
                first,
                second,
            });
        }
    }
    Ok(by_name)
}

/// Makes the offsets count from the start of the file, where the header ends at `header_end`.
fn place(
    tensors: &mut [TensorInfo],
    header_end: u64,
    alignment: u64,
    length: u64,
) -> Result<(), GgufErrorKind> {
    let data_start = header_end.checked_next_multiple_of(alignment);
    for tensor in tensors {
        let start = data_start.and_then(|data_start| data_start.checked_add(tensor.offset));
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= length => tensor.offset = start,
            _ => {
                return Err(GgufErrorKind::OutOfBounds {
                    tensor: shorten(&tensor.name),
                    start: start.unwrap_or(u64::MAX),
                    end: end.unwrap_or(u64::MAX),
                    length,
                });
            }
        }
    }
    Ok(())
}

fn check_apart(tensors: &[TensorInfo]) -> Result<(), GgufErrorKind> {
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_by_key(|tensor| tensor.offset);
    for pair in by_offset.windows(2) {
        if pair[0].end() > pair[1].offset {
            return Err(GgufErrorKind::Overlap {
                first: shorten(&pair[0].name),
                second: shorten(&pair[1].name),
                offset: pair[1].offset,
            });
        }
    }
    Ok(())
}
