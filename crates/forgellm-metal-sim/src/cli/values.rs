//! Values on the command line: `--bytes`, `--constant`, `--threadgroup-memory`, `--grid`, `--threads`.

use forgellm_metal_sim::sim::api::{Constant, ConstantValue};

use super::dtype::Dtype;

/// An index and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    pub index: usize,
    pub value: T,
}

/// `INDEX=VALUE`, with any value.
pub fn at<T>(text: &str, value: impl Fn(&str) -> Result<T, String>) -> Result<At<T>, String> {
    let (index, rest) = text.split_once('=').ok_or("expected INDEX=…")?;
    let index = index.trim().parse().map_err(|_| format!("'{index}' is no index"))?;
    Ok(At { index, value: value(rest)? })
}

/// `3=u32:128,7,f32:0.5`: a type holds until the next one. Numbers lie as the members of a struct do: each aligned to
/// its size, the whole padded to the largest of them.
pub fn bytes(text: &str) -> Result<At<Vec<u8>>, String> {
    at(text, |text| {
        let mut dtype = None;
        let mut bytes: Vec<u8> = Vec::new();
        let mut alignment = 1;
        for item in text.split(',') {
            let number = match item.split_once(':') {
                Some((name, number)) => {
                    dtype = Some(Dtype::named(name.trim())?);
                    number
                }
                None => item,
            };
            let dtype = dtype.ok_or("expected TYPE:NUMBER, such as u32:128")?;
            bytes.resize(bytes.len().next_multiple_of(dtype.size()), 0);
            bytes.extend(dtype.bytes(number.trim())?);
            alignment = alignment.max(dtype.size());
        }
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        Ok(bytes)
    })
}

/// `0=u32:4` or `1=bool:true`.
pub fn constant(text: &str) -> Result<Constant, String> {
    let parsed = at(text, |text| {
        let (name, number) = text.split_once(':').ok_or("expected TYPE:VALUE, such as u32:4")?;
        let dtype = Dtype::named(name.trim())?;
        let bytes = dtype.bytes(number.trim())?;
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        let bits = u64::from_le_bytes(wide);
        Ok(match dtype {
            Dtype::Bool => ConstantValue::Bool(bits != 0),
            Dtype::I8 => ConstantValue::I8(bits as i8),
            Dtype::U8 => ConstantValue::U8(bits as u8),
            Dtype::I16 => ConstantValue::I16(bits as i16),
            Dtype::U16 => ConstantValue::U16(bits as u16),
            Dtype::F16 => ConstantValue::F16(bits as u16),
            Dtype::I32 => ConstantValue::I32(bits as i32),
            Dtype::U32 => ConstantValue::U32(bits as u32),
            Dtype::F32 => ConstantValue::F32(f32::from_bits(bits as u32)),
            Dtype::I64 => ConstantValue::I64(bits as i64),
            Dtype::U64 => ConstantValue::U64(bits),
            Dtype::Bf16 => return Err("a function constant cannot be bf16".to_owned()),
        })
    })?;
    let index = u32::try_from(parsed.index).map_err(|_| format!("{} is no index", parsed.index))?;
    Ok(Constant { index, value: parsed.value })
}

/// `0=1024`
pub fn size(text: &str) -> Result<At<usize>, String> {
    at(text, |text| text.parse().map_err(|_| format!("'{text}' is no number of bytes")))
}

/// `8`, `8,4` or `8,4,2`.
pub fn extent(text: &str) -> Result<[usize; 3], String> {
    let mut sizes = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err("expected X, X,Y or X,Y,Z".to_owned());
    }
    for (size, part) in sizes.iter_mut().zip(parts) {
        *size = part.trim().parse().map_err(|_| format!("'{part}' is no size"))?;
        if *size == 0 {
            return Err("a size cannot be 0".to_owned());
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_like_the_members_of_a_struct() {
        let bytes = |text| bytes(text).unwrap().value;
        assert_eq!(bytes("0=u32:128"), [128, 0, 0, 0]);
        assert_eq!(bytes("0=u8:1,u32:2,3,u8:4"), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(bytes("0=f16:1"), [0, 0x3c]);
        assert_eq!(bytes("0=i8:-1,0x7f"), [255, 127]);
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_reason() {
        assert!(bytes("u32:1").unwrap_err().contains("INDEX="));
        assert!(bytes("0=1").unwrap_err().contains("TYPE:NUMBER"));
        assert!(bytes("0=u8:256").unwrap_err().contains("'256' is no u8"));
        assert!(bytes("0=f99:1").unwrap_err().contains("unknown type 'f99'"));
        assert!(constant("0=bool:7").unwrap_err().contains("'7' is no bool"));
        assert!(extent("1,0").unwrap_err().contains("cannot be 0"));
        assert!(extent("1,2,3,4").is_err());
    }

    #[test]
    fn constants_have_types() {
        assert_eq!(constant("1=bool:true"), Ok(Constant { index: 1, value: ConstantValue::Bool(true) }));
        assert_eq!(constant("0=i32:-4"), Ok(Constant { index: 0, value: ConstantValue::I32(-4) }));
        assert_eq!(constant("2=f32:0.5"), Ok(Constant { index: 2, value: ConstantValue::F32(0.5) }));
    }
}
