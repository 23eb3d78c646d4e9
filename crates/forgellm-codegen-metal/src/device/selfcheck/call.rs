//! A kernel with all that it was called with.

use half::f16;

use crate::device::format::{FORMATS, FormatInfo};
use crate::device::memory::read;
use crate::device::record::Recorded;
use crate::gpu::ConstantValue;

/// Why a call cannot be checked.
#[derive(Debug)]
pub(super) struct Unchecked(pub String);

/// A kernel's function constants and buffers, by the indices that its text declares. No work of the GPU may be under way when buffers are read.
pub(super) struct Call<'r>(&'r Recorded);

impl<'r> Call<'r> {
    pub fn new(recorded: &'r Recorded) -> Call<'r> {
        Call(recorded)
    }

    /// The kernel's name.
    pub fn name(&self) -> &'r str {
        &self.0.function
    }

    /// Threadgroups of the grid.
    pub fn threadgroups(&self) -> [usize; 3] {
        self.0.threadgroups
    }

    /// The function constant `index`, a uint.
    pub fn size(&self, index: u32) -> Result<usize, Unchecked> {
        match self.constant(index)? {
            ConstantValue::U32(value) => Ok(value as usize),
            other => Err(Unchecked(format!("function constant {index} is {other:?}, not a uint"))),
        }
    }

    /// The function constant `index`, a bool.
    pub fn flag(&self, index: u32) -> Result<bool, Unchecked> {
        match self.constant(index)? {
            ConstantValue::Bool(value) => Ok(value),
            other => Err(Unchecked(format!("function constant {index} is {other:?}, not a bool"))),
        }
    }

    /// The function constant `index`, a float.
    pub fn float(&self, index: u32) -> Result<f64, Unchecked> {
        match self.constant(index)? {
            ConstantValue::F32(value) => Ok(value.into()),
            other => Err(Unchecked(format!("function constant {index} is {other:?}, not a float"))),
        }
    }

    fn constant(&self, index: u32) -> Result<ConstantValue, Unchecked> {
        let found = self.0.constants.iter().rfind(|constant| constant.index == index);
        found
            .map(|constant| constant.value)
            .ok_or_else(|| Unchecked(format!("function constant {index} has no value")))
    }

    /// `count` numbers of the buffer, or of the small data, at `index`, from number `first` on.
    pub fn numbers<T: bytemuck::Pod>(
        &self,
        index: usize,
        first: usize,
        count: usize,
    ) -> Result<Vec<T>, Unchecked> {
        let outside = || {
            let end = first.saturating_add(count);
            Unchecked(format!("buffer {index} ends before {first} .. {end}, or is not bound"))
        };
        let start = first.checked_mul(size_of::<T>()).ok_or_else(outside)?;
        let bytes = count.checked_mul(size_of::<T>()).ok_or_else(outside)?;
        if let Some((_, data)) = self.0.bytes.iter().find(|(known, _)| *known == index) {
            let data = start.checked_add(bytes).and_then(|end| data.get(start..end)).ok_or_else(outside)?;
            return Ok(data.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect());
        }
        let (_, buffer, offset) =
            self.0.buffers.iter().find(|(known, ..)| *known == index).ok_or_else(outside)?;
        read(buffer, offset.checked_add(start).ok_or_else(outside)?, count).ok_or_else(outside)
    }

    /// f32 numbers.
    pub fn floats(&self, index: usize, first: usize, count: usize) -> Result<Vec<f64>, Unchecked> {
        Ok(self.numbers::<f32>(index, first, count)?.into_iter().map(f64::from).collect())
    }

    /// One f32 number.
    pub fn float_at(&self, index: usize, at: usize) -> Result<f64, Unchecked> {
        Ok(self.one::<f32>(index, at)?.into())
    }

    /// One f16 number.
    pub fn half_at(&self, index: usize, at: usize) -> Result<f64, Unchecked> {
        Ok(f16::from_bits(self.one(index, at)?).to_f64())
    }

    /// One u32 number.
    pub fn unsigned_at(&self, index: usize, at: usize) -> Result<usize, Unchecked> {
        Ok(self.one::<u32>(index, at)? as usize)
    }

    /// One number.
    pub fn one<T: bytemuck::Pod>(&self, index: usize, at: usize) -> Result<T, Unchecked> {
        Ok(self.numbers::<T>(index, at, 1)?[0])
    }

    /// The `N` formats in the kernel's name, behind the family's.
    pub fn formats<const N: usize>(&self, family: &str) -> Result<[&'static FormatInfo; N], Unchecked> {
        let unknown = || Unchecked("its name does not tell its formats".into());
        // Each is followed by one underscore, the last perhaps by none.
        let mut rest = format!("{}_", self.name().strip_prefix(family).ok_or_else(unknown)?);
        let mut formats = [FORMATS[0]; N];
        for found in &mut formats {
            let begins =
                |format: &&&FormatInfo| rest.starts_with(&format!("{}_", format.name.to_lowercase()));
            *found = FORMATS.iter().find(begins).ok_or_else(unknown)?;
            rest.drain(..=found.name.len());
        }
        Ok(formats)
    }
}

/// Up to `most` of the numbers below `count`, evenly spread, the first and the last among them.
pub(super) fn sample(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most.max(1));
    (0..taken).map(move |number| if taken == 1 { 0 } else { number * (count - 1) / (taken - 1) })
}

/// Rows of a step that a reference computes.
pub(super) const ROWS: usize = 4;

/// Columns of a row that a reference computes.
pub(super) const COLUMNS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_first_and_the_last() {
        let sampled = |count, most| sample(count, most).collect::<Vec<_>>();
        assert_eq!(sampled(0, 4), [0; 0]);
        assert_eq!(sampled(1, 4), [0]);
        assert_eq!(sampled(4, 4), [0, 1, 2, 3]);
        assert_eq!(sampled(70, 4), [0, 23, 46, 69]);
        assert_eq!(sampled(9, 1), [0]);
        for count in [64, 65, 576, 49_152] {
            let all = sampled(count, COLUMNS);
            assert!(all.is_sorted_by(|a, b| a < b) && all.len() == COLUMNS && all[COLUMNS - 1] == count - 1);
        }
    }
}
