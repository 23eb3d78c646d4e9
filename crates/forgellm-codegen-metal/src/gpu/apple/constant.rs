//! Values of function constants.

/// The value of one `[[function_constant(index)]]` of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// The number that stands in the kernel's declaration.
    pub index: u32,
    /// Its value, of the type that the kernel declares.
    pub value: ConstantValue,
}

/// A scalar as Metal knows it.
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
    /// `float`
    F32(f32),
}

impl ConstantValue {
    /// The value's bytes as they lie in memory, of which the first [`ConstantValue::size`] count.
    pub(super) fn bytes(self) -> [u8; 4] {
        match self {
            ConstantValue::Bool(value) => [u8::from(value), 0, 0, 0],
            ConstantValue::I8(value) => [value.to_ne_bytes()[0], 0, 0, 0],
            ConstantValue::U8(value) => [value, 0, 0, 0],
            ConstantValue::I16(value) => two(value.to_ne_bytes()),
            ConstantValue::U16(value) => two(value.to_ne_bytes()),
            ConstantValue::I32(value) => value.to_ne_bytes(),
            ConstantValue::U32(value) => value.to_ne_bytes(),
            ConstantValue::F32(value) => value.to_ne_bytes(),
        }
    }
}

fn two(bytes: [u8; 2]) -> [u8; 4] {
    [bytes[0], bytes[1], 0, 0]
}
