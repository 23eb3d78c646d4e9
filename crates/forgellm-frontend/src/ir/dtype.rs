//! Element types of tensors.

use std::fmt;
use std::str::FromStr;

macro_rules! dtypes {
    ($($variant:ident = $tag:literal, $elements:literal, $bytes:literal, $name:literal, $doc:literal;)*) => {
        /// How the elements of a tensor are stored.
        ///
        /// Quantised types store blocks of [`DType::block_elements`] consecutive elements of a row in
        /// [`DType::block_bytes`] bytes (layouts: ggml's `ggml-common.h`; see [`crate::quant`]).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types, reason = "the names are ggml's")]
        pub enum DType { $(#[doc = $doc] $variant,)* }

        impl DType {
            /// Every type that this compiler reads.
            pub const ALL: &'static [DType] = &[$(DType::$variant),*];

            /// The type with this GGUF tensor type tag, where it is one that we read.
            pub fn from_gguf_tag(tag: u32) -> Option<DType> {
                match tag { $($tag => Some(DType::$variant),)* _ => None }
            }
            /// The GGUF tensor type tag.
            pub const fn gguf_tag(self) -> u32 {
                match self { $(DType::$variant => $tag,)* }
            }
            /// Elements per block; 1 for the float types.
            pub const fn block_elements(self) -> usize {
                match self { $(DType::$variant => $elements,)* }
            }
            /// Bytes per block.
            pub const fn block_bytes(self) -> usize {
                match self { $(DType::$variant => $bytes,)* }
            }
            /// The name, as ggml writes it.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }
        }
    };
}

dtypes! {
    F32 = 0, 1, 4, "F32", "IEEE 754 single precision.";
    F16 = 1, 1, 2, "F16", "IEEE 754 half precision.";
    BF16 = 30, 1, 2, "BF16", "bfloat16: the upper half of an f32.";
    Q4_0 = 2, 32, 18, "Q4_0", "4 bits, f16 scale per 32, codes around 8.";
    Q4_1 = 3, 32, 20, "Q4_1", "4 bits, f16 scale and minimum per 32.";
    Q5_0 = 6, 32, 22, "Q5_0", "5 bits, f16 scale per 32, codes around 16.";
    Q5_1 = 7, 32, 24, "Q5_1", "5 bits, f16 scale and minimum per 32.";
    Q8_0 = 8, 32, 34, "Q8_0", "8 bits signed, f16 scale per 32.";
    Q2_K = 10, 256, 84, "Q2_K", "2 bits, 4-bit scale and minimum per 16, f16 scale of each per 256.";
    Q3_K = 11, 256, 110, "Q3_K", "3 bits, 6-bit scale per 16, f16 scale per 256.";
    Q4_K = 12, 256, 144, "Q4_K", "4 bits, 6-bit scale and minimum per 32, f16 scale of each per 256.";
    Q5_K = 13, 256, 176, "Q5_K", "5 bits, 6-bit scale and minimum per 32, f16 scale of each per 256.";
    Q6_K = 14, 256, 210, "Q6_K", "6 bits, 8-bit scale per 16, f16 scale per 256.";
    Q8_K = 15, 256, 292, "Q8_K", "8 bits signed, f32 scale per 256, sums per 16.";
    IQ4_NL = 20, 32, 18, "IQ4_NL", "4-bit index into a table of 16 values, f16 scale per 32.";
    IQ4_XS = 23, 256, 136, "IQ4_XS", "4-bit index into a table of 16 values, 6-bit scale per 32, f16 scale per 256.";
    MXFP4 = 39, 32, 17, "MXFP4", "OCP microscaling FP4 (E2M1), E8M0 scale per 32.";
}

impl DType {
    /// Whether elements stand alone (no blocks).
    pub const fn is_float(self) -> bool {
        self.block_elements() == 1
    }

    /// Bytes of a row of `elements`; `None` where it is not a whole number of blocks or overflows.
    pub fn row_bytes(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        DType::ALL
            .iter()
            .copied()
            .find(|dtype| dtype.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownDType(name.to_owned()))
    }
}

/// A name that is no tensor type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown tensor type `{0}`; known: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ4_NL, IQ4_XS, MXFP4"
)]
pub struct UnknownDType(pub String);
