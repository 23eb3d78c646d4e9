//! Types of numbers in files and on the command line.

use half::{bf16, f16};

/// A type of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Bool,
    I8,
    U8,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    I64,
    U64,
}

/// Name on the command line, NumPy's `descr`, bytes. NumPy has no bfloat16: its bits travel as `u2`.
const TABLE: [(Dtype, &str, &str, usize); 12] = [
    (Dtype::Bool, "bool", "|b1", 1),
    (Dtype::I8, "i8", "|i1", 1),
    (Dtype::U8, "u8", "|u1", 1),
    (Dtype::I16, "i16", "<i2", 2),
    (Dtype::U16, "u16", "<u2", 2),
    (Dtype::F16, "f16", "<f2", 2),
    (Dtype::Bf16, "bf16", "<u2", 2),
    (Dtype::I32, "i32", "<i4", 4),
    (Dtype::U32, "u32", "<u4", 4),
    (Dtype::F32, "f32", "<f4", 4),
    (Dtype::I64, "i64", "<i8", 8),
    (Dtype::U64, "u64", "<u8", 8),
];

impl Dtype {
    fn row(self) -> (&'static str, &'static str, usize) {
        let row = TABLE.iter().find(|row| row.0 == self);
        row.map_or(("", "", 1), |(_, name, descr, size)| (name, descr, *size))
    }

    /// By its name on the command line.
    pub fn named(name: &str) -> Result<Self, String> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| {
            let known: Vec<&str> = TABLE.iter().map(|row| row.1).collect();
            format!("unknown type '{name}'; known are {}", known.join(", "))
        })
    }

    /// By NumPy's name for it.
    pub fn of_descr(descr: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.2 == descr).map(|row| row.0)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// NumPy's name.
    pub fn descr(self) -> &'static str {
        self.row().1
    }

    /// Bytes of one number.
    pub fn size(self) -> usize {
        self.row().2
    }

    /// The little-endian bytes of a number that is written in decimal (`0x…` for integers too).
    pub fn bytes(self, text: &str) -> Result<Vec<u8>, String> {
        let wrong = || format!("'{text}' is no {}", self.name());
        let float = || text.parse::<f32>().map_err(|_| wrong());
        let integer = || {
            let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
            let value = match digits.strip_prefix("0x") {
                Some(hex) => i128::from_str_radix(hex, 16),
                None => digits.parse::<i128>(),
            };
            value.map(|value| if negative { -value } else { value }).map_err(|_| wrong())
        };
        macro_rules! integer_bytes {
            ($type:ty) => {
                <$type>::try_from(integer()?).map_err(|_| wrong())?.to_le_bytes().to_vec()
            };
        }
        Ok(match self {
            Self::Bool => vec![u8::from(match text {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(wrong()),
            })],
            Self::I8 => integer_bytes!(i8),
            Self::U8 => integer_bytes!(u8),
            Self::I16 => integer_bytes!(i16),
            Self::U16 => integer_bytes!(u16),
            Self::I32 => integer_bytes!(i32),
            Self::U32 => integer_bytes!(u32),
            Self::I64 => integer_bytes!(i64),
            Self::U64 => integer_bytes!(u64),
            Self::F16 => f16::from_f32(float()?).to_le_bytes().to_vec(),
            Self::Bf16 => bf16::from_f32(float()?).to_le_bytes().to_vec(),
            Self::F32 => float()?.to_le_bytes().to_vec(),
        })
    }
}
