//! `--buffer`: where a buffer's content comes from and where it goes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use forgellm_metal_sim::sim::api::{Buffer, Device};

use super::dtype::Dtype;
use super::npy::{self, Array};
use super::values::{At, at};

/// How `--buffer` is written, for its help.
pub const HELP: &str = "\
A buffer, as INDEX=CONTENT[=>FILE]:
  0=x.npy                the content of a .npy file
  2=out:f32[4096]        zeros, written to out.npy afterwards
  2=f32[64,64]           zeros, not written
  1=x.npy=>y.npy         the content of a file, written to another one afterwards
Types: f32 f16 bf16 i8 u8 i16 u16 i32 u32 i64 u64 bool";

/// One `--buffer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    source: Source,
    /// Where the content is written when the kernel has run.
    to: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    File(PathBuf),
    Zeros { dtype: Dtype, shape: Vec<usize> },
}

/// Reads one `--buffer`.
pub fn parse(text: &str) -> Result<At<Content>, String> {
    at(text, |text| {
        let (source, to) = match text.split_once("=>") {
            Some((source, to)) if !to.is_empty() => (source, Some(PathBuf::from(to))),
            Some(_) => return Err("expected a file behind =>".to_owned()),
            None => (text, None),
        };
        if source.is_empty() {
            return Err("expected a .npy file or TYPE[SIZES]".to_owned());
        }
        let Some(zeros) = source.strip_suffix(']') else {
            return Ok(Content { source: Source::File(source.into()), to });
        };
        let (name, zeros) = match zeros.split_once(':') {
            Some((name, zeros)) => (Some(name), zeros),
            None => (None, zeros),
        };
        let (dtype, sizes) = zeros.split_once('[').ok_or("expected TYPE[SIZES], such as f32[64,64]")?;
        let dtype = Dtype::named(dtype)?;
        let size = |size: &str| size.trim().parse().map_err(|_| format!("'{size}' is no size"));
        let shape = sizes.split(',').map(size).collect::<Result<Vec<usize>, _>>()?;
        let to = to.or_else(|| name.filter(|name| !name.is_empty()).map(|name| format!("{name}.npy").into()));
        Ok(Content { source: Source::Zeros { dtype, shape }, to })
    })
}

/// A buffer of the device and what it stands for.
pub struct Filled {
    pub index: usize,
    pub buffer: Buffer,
    dtype: Dtype,
    shape: Vec<usize>,
    to: Option<PathBuf>,
}

/// Makes the buffer and fills it.
pub fn fill(device: &Device, at: &At<Content>) -> Result<Filled> {
    let flag = || format!("--buffer {}", at.index);
    let (array, label) = match &at.value.source {
        Source::File(path) => (npy::read(path).with_context(flag)?, path.display().to_string()),
        Source::Zeros { dtype, shape } => {
            let bytes = shape.iter().try_fold(dtype.size(), |size, &n| size.checked_mul(n));
            let bytes = bytes.with_context(|| format!("{}: its size is absurd", flag()))?;
            let buffer = device.buffer(bytes, &label_of(at)).with_context(flag)?;
            let (dtype, shape) = (*dtype, shape.clone());
            return Ok(Filled { index: at.index, buffer, dtype, shape, to: at.value.to.clone() });
        }
    };
    let buffer = device.buffer(array.data.len(), &label).with_context(flag)?;
    // SAFETY: the buffer is new, of that length, and no kernel runs.
    unsafe { std::ptr::copy_nonoverlapping(array.data.as_ptr(), buffer.contents(), buffer.len()) };
    let Array { dtype, shape, .. } = array;
    Ok(Filled { index: at.index, buffer, dtype, shape, to: at.value.to.clone() })
}

fn label_of(at: &At<Content>) -> String {
    match &at.value.to {
        Some(path) => path.display().to_string(),
        None => format!("buffer {}", at.index),
    }
}

impl Filled {
    /// Writes the content to its file, if it has one; the file.
    pub fn save(&self) -> Result<Option<&PathBuf>> {
        let Some(path) = &self.to else { return Ok(None) };
        // SAFETY: no kernel runs, and the buffer lives.
        let data = unsafe { std::slice::from_raw_parts(self.buffer.contents(), self.buffer.len()) }.to_vec();
        npy::write(path, &Array { dtype: self.dtype, shape: self.shape.clone(), data })
            .with_context(|| format!("--buffer {}", self.index))?;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_told_apart() {
        let zeros = |to: Option<&str>| Content {
            source: Source::Zeros { dtype: Dtype::F32, shape: vec![2, 3] },
            to: to.map(PathBuf::from),
        };
        assert_eq!(parse("2=out:f32[2,3]").unwrap(), At { index: 2, value: zeros(Some("out.npy")) });
        assert_eq!(parse("2=f32[2,3]").unwrap().value, zeros(None));
        assert_eq!(parse("2=f32[2,3]=>x/y.npy").unwrap().value, zeros(Some("x/y.npy")));
        let file =
            |to: Option<&str>| Content { source: Source::File("x.npy".into()), to: to.map(PathBuf::from) };
        assert_eq!(parse("0=x.npy").unwrap().value, file(None));
        assert_eq!(parse("0=x.npy=>y.npy").unwrap().value, file(Some("y.npy")));
    }

    #[test]
    fn what_is_no_buffer_is_refused() {
        for text in ["x.npy", "a=x.npy", "0=", "0=x.npy=>", "0=f32[]", "0=f32[a]", "0=out:f33[1]", "0=4]"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
