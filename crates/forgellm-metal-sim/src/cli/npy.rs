//! NumPy's `.npy` files, versions 1 to 3 (numpy.lib.format): a magic number, a header that is a Python dictionary
//! literal, then the numbers.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::dtype::Dtype;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Little-endian.
    pub data: Vec<u8>,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Array> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} cannot be used", path.display()))
}

/// Writes a file, whole or not at all.
pub fn write(path: &Path, array: &Array) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let written =
        std::fs::write(&unfinished, format(array)).and_then(|()| std::fs::rename(&unfinished, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Array> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { bail!("it is no .npy file") };
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [version, ..] => bail!("its version is {version}; 1, 2 and 3 are known"),
        [] => bail!("it is truncated"),
    };
    let Some((header, data)) = rest.split_at_checked(length) else { bail!("its header is truncated") };
    let header = std::str::from_utf8(header).context("its header is no text")?;
    let descr = value_of(header, "descr")?.trim_matches(['\'', '"']);
    let dtype = Dtype::of_descr(descr).with_context(|| {
        let hint = if descr == "<f8" { "; Metal has no double: save it as float32" } else { "" };
        format!("its numbers are of type {descr}, which is not known here{hint}")
    })?;
    let shape = value_of(header, "shape")?.trim_matches(['(', ')']);
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> =
        sizes.map(str::parse).collect::<Result<_, _>>().with_context(|| format!("its shape is ({shape})"))?;
    if value_of(header, "fortran_order")? == "True" && shape.len() > 1 {
        bail!("it is in Fortran order: save it with numpy.ascontiguousarray");
    }
    let size =
        shape.iter().try_fold(dtype.size(), |size, &n| size.checked_mul(n)).context("its shape is absurd")?;
    if data.len() != size {
        bail!("its shape {shape:?} of {} needs {size} bytes, it has {}", dtype.name(), data.len());
    }
    Ok(Array { dtype, shape, data: data.to_vec() })
}

/// The text of a value in the header's dictionary.
fn value_of<'h>(header: &'h str, key: &str) -> Result<&'h str> {
    let missing = || format!("its header has no {key}");
    let start = [format!("'{key}':"), format!("\"{key}\":")]
        .iter()
        .find_map(|key| header.find(key.as_str()).map(|at| at + key.len()))
        .with_context(missing)?;
    let rest = header[start..].trim_start();
    let end = if rest.starts_with('(') { rest.find(')').map(|end| end + 1) } else { rest.find([',', '}']) };
    Ok(rest[..end.with_context(missing)?].trim())
}

/// A file of version 1; its numbers begin at a multiple of 64 bytes.
fn format(array: &Array) -> Vec<u8> {
    let mut shape = array.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    if array.shape.len() == 1 {
        shape.push(',');
    }
    let mut header =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", array.dtype.descr());
    let before = MAGIC.len() + 4;
    let length = (before + header.len() + 1).next_multiple_of(64) - before;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(&array.data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (dtype, shape) in [(Dtype::F32, vec![2, 3]), (Dtype::U8, vec![5]), (Dtype::F16, vec![])] {
            let count: usize = shape.iter().product();
            let data = (0..count * dtype.size()).map(|i| i as u8).collect();
            let array = Array { dtype, shape, data };
            assert_eq!(parse(&format(&array)).unwrap(), array);
        }
    }

    #[test]
    fn the_bytes_are_those_of_numpy() {
        // numpy.save of numpy.arange(3, dtype=numpy.int32), version 2.1.
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\0\0\0\0\x01\0\0\0\x02\0\0\0");
        let array = parse(&expected).unwrap();
        assert_eq!((array.dtype, &*array.shape), (Dtype::I32, &[3][..]));
        assert_eq!(format(&array), expected);
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = format(&Array { dtype: Dtype::F32, shape: vec![2], data: vec![0; 8] });
        for end in 0..good.len() {
            assert!(parse(&good[..end]).is_err(), "{end}");
        }
        let with = |from: &str, to: &str| {
            let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut bad = good.clone();
            bad[at..at + from.len()].copy_from_slice(to.as_bytes());
            format!("{:#}", parse(&bad).unwrap_err())
        };
        assert!(with("<f4", "<f8").contains("Metal has no double"));
        assert!(with("<f4", ">f4").contains(">f4"));
        assert!(with("(2,)", "(3,)").contains("needs 12 bytes"));
        assert!(with("(2,)", "(x,)").contains("shape"));
    }
}
