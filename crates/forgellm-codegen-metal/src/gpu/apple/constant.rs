//! Values of function constants.

/// The value of a function constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// `[[function_constant(index)]]`
    pub index: u32,
    /// Its value, of the type that the kernel declares.
    pub value: ConstantValue,
}

/// A value and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConstantValue {
    /// `bool`
    Bool(bool),
    /// `char`
    I8(i8),
    /// `uchar`
    U8(u8),
    /// `short`
    I16(i16),
    /// `ushort`
    U16(u16),
    /// `int`
    I32(i32),
    /// `uint`
    U32(u32),
    /// `long`
    I64(i64),
    /// `ulong`
    U64(u64),
    /// `float`
    F32(f32),
    /// The bits of a `half`.
    F16(u16),
}

impl ConstantValue {
    /// The value's bytes, and zeros behind them.
    pub(super) fn bytes(self) -> [u8; 8] {
        match self {
            Self::Bool(value) => padded([u8::from(value)]),
            Self::I8(value) => padded(value.to_ne_bytes()),
            Self::U8(value) => padded([value]),
            Self::I16(value) => padded(value.to_ne_bytes()),
            Self::U16(value) | Self::F16(value) => padded(value.to_ne_bytes()),
            Self::I32(value) => padded(value.to_ne_bytes()),
            Self::U32(value) => padded(value.to_ne_bytes()),
            Self::I64(value) => padded(value.to_ne_bytes()),
            Self::U64(value) => padded(value.to_ne_bytes()),
            Self::F32(value) => padded(value.to_ne_bytes()),
        }
    }
}

fn padded<const SIZE: usize>(bytes: [u8; SIZE]) -> [u8; 8] {
    let mut all = [0; 8];
    all[..SIZE].copy_from_slice(&bytes);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_the_value() {
        assert_eq!(ConstantValue::Bool(true).bytes(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ConstantValue::I16(-2).bytes()[..2], (-2i16).to_ne_bytes());
        assert_eq!(ConstantValue::F32(1.5).bytes()[..4], 1.5f32.to_ne_bytes());
        assert_eq!(ConstantValue::U64(u64::MAX - 1).bytes(), (u64::MAX - 1).to_ne_bytes());
    }
}
