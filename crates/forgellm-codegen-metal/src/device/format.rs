//! How matrices are stored: each tensor type as a list of planes.
//!
//! A plane holds one property of all elements (low bits, high bits, scales, …), row after row; the planes of a matrix lie one after the other,
//! each from a multiple of [`PLANE_ALIGNMENT`] bytes on. So neighbouring threads load neighbouring 16-byte words of codes, whatever else a type
//! needs. The elements of a row stay in order; a *group* is 32 consecutive ones. Rows of floats are padded with zeros to whole groups.
//!
//! Codes of 4, 2 and 1 bits lie in little-endian u32 words so that one shift and one mask give the codes of a *quad*, four consecutive elements,
//! in the four bytes of a word: with n quads in a word (2, 4 or 8), element b of quad q has its bits in byte b of word q / n, from bit
//! (8 / n) · (q mod n) on. Signed and 8-bit codes are bytes in order. `kernels/formats` reads what is declared here.

/// Where a plane may start, in bytes from the start of its matrix.
pub const PLANE_ALIGNMENT: usize = 256;

/// The most planes that a format has.
pub const MAX_PLANES: usize = 4;

/// Elements that the rows of float matrices are padded to.
const GROUP: usize = 32;

/// A format of matrices.
#[derive(Debug, PartialEq, Eq)]
pub struct FormatInfo {
    /// Its name, in Rust, in the kernels and in GGUF.
    pub name: &'static str,
    /// The file below `kernels/` that unpacks it.
    pub file: &'static str,
    /// Rows are a multiple of so many elements; 1 for floats.
    pub block: usize,
    /// What is stored, in this order.
    pub planes: &'static [Plane],
}

/// A property of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// What it is.
    pub what: &'static str,
    /// Bytes for `elements` consecutive elements.
    pub bytes: usize,
    /// Elements that these bytes belong to.
    pub elements: usize,
}

/// Where the planes of a matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneLayout {
    /// First byte of each plane, below 2³²; 0 for planes that the format does not have.
    pub offsets: [usize; MAX_PLANES],
    /// Bytes of a row in each plane.
    pub row_bytes: [usize; MAX_PLANES],
    /// Bytes of the matrix.
    pub bytes: usize,
}

impl FormatInfo {
    /// Elements of a stored row of `inputs` elements; `None` if they are not whole blocks.
    pub const fn row_elements(&self, inputs: usize) -> Option<usize> {
        if !inputs.is_multiple_of(self.block) {
            return None;
        }
        inputs.checked_next_multiple_of(GROUP)
    }

    /// Where the planes of a matrix [outputs, inputs] lie; `None` if its rows are not whole blocks, or if it is too large: the kernels count in
    /// 32 bits.
    pub const fn layout(&self, outputs: usize, inputs: usize) -> Option<PlaneLayout> {
        let Some(row) = self.row_elements(inputs) else { return None };
        match row.checked_mul(outputs) {
            Some(elements) if elements <= u32::MAX as usize => {}
            _ => return None,
        }
        let mut layout = PlaneLayout { offsets: [0; MAX_PLANES], row_bytes: [0; MAX_PLANES], bytes: 0 };
        let mut p = 0;
        while p < self.planes.len() {
            let Plane { bytes, elements, .. } = self.planes[p];
            let Some(start) = layout.bytes.checked_next_multiple_of(PLANE_ALIGNMENT) else { return None };
            let Some(row_bytes) = (row / elements).checked_mul(bytes) else { return None };
            let Some(plane_bytes) = row_bytes.checked_mul(outputs) else { return None };
            let Some(end) = start.checked_add(plane_bytes) else { return None };
            if start > u32::MAX as usize {
                return None;
            }
            (layout.offsets[p], layout.row_bytes[p], layout.bytes) = (start, row_bytes, end);
            p += 1;
        }
        Some(layout)
    }

    /// Bytes of a matrix; `None` as in [`FormatInfo::layout`].
    pub const fn bytes(&self, outputs: usize, inputs: usize) -> Option<usize> {
        match self.layout(outputs, inputs) {
            Some(layout) => Some(layout.bytes),
            None => None,
        }
    }
}

/// The files below `kernels/` that unpack these formats, in the order in which they must stand.
pub fn format_files(formats: &[&FormatInfo]) -> Vec<&'static str> {
    let mut files = vec!["formats/codes.metal"];
    for format in formats {
        if !files.contains(&format.file) {
            files.push(format.file);
        }
    }
    files
}

/// A format as a type, for the types of matrices.
pub trait Format {
    /// What it is.
    const INFO: &'static FormatInfo;
}

macro_rules! formats {
    ($($name:ident, $file:literal, $doc:literal, $block:literal: $($what:literal $bytes:literal / $elements:literal),+;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            #[allow(non_camel_case_types, reason = "the names are GGUF's")]
            pub enum $name {}

            impl Format for $name {
                const INFO: &'static FormatInfo = &FormatInfo {
                    name: stringify!($name),
                    file: concat!("formats/", $file, ".metal"),
                    block: $block,
                    planes: &[$(Plane { what: $what, bytes: $bytes, elements: $elements }),+],
                };
            }
        )*

        /// Every format.
        pub const FORMATS: &[&FormatInfo] = &[$($name::INFO),*];
    };
}

formats! {
    F32, "f32", "Single precision.", 1: "values" 128 / 32;
    F16, "f16", "Half precision.", 1: "values" 64 / 32;
    BF16, "bf16", "The upper half of an f32.", 1: "values" 64 / 32;
    Q4_0, "q4_0", "scale · (code - 8).", 32: "codes" 16 / 32, "scale f16" 2 / 32;
    Q4_1, "q4_1", "scale · code + minimum.", 32: "codes" 16 / 32, "scale f16, minimum f16" 4 / 32;
    Q5_0, "q5_0", "scale · (code - 16).", 32: "low 4 bits" 16 / 32, "high bit" 4 / 32, "scale f16" 2 / 32;
    Q5_1, "q5_1", "scale · code + minimum.", 32: "low 4 bits" 16 / 32, "high bit" 4 / 32, "scale f16, minimum f16" 4 / 32;
    Q8_0, "q8_0", "scale · code.", 32: "codes i8" 32 / 32, "scale f16" 2 / 32;
    Q2_K, "q2_k", "d · scale · code - dmin · minimum.", 256:
        "codes" 8 / 32, "scale in the low nibble, minimum in the high one" 1 / 16, "d f16, dmin f16" 4 / 256;
    Q3_K, "q3_k", "d · scale · (code - 4).", 256: "low 2 bits" 8 / 32, "high bit" 4 / 32, "scale i8" 1 / 16, "d f16" 2 / 256;
    Q4_K, "q4_k", "d · scale · code - dmin · minimum.", 256:
        "codes" 16 / 32, "scale u8, minimum u8" 2 / 32, "d f16, dmin f16" 4 / 256;
    Q5_K, "q5_k", "d · scale · code - dmin · minimum.", 256:
        "low 4 bits" 16 / 32, "high bit" 4 / 32, "scale u8, minimum u8" 2 / 32, "d f16, dmin f16" 4 / 256;
    Q6_K, "q6_k", "d · scale · (code - 32).", 256: "low 4 bits" 16 / 32, "high 2 bits" 8 / 32, "scale i8" 1 / 16, "d f16" 2 / 256;
    Q8_K, "q8_k", "d · code.", 256: "codes i8" 32 / 32, "d f32" 4 / 256;
    IQ4_NL, "iq4_nl", "scale · table\\[code\\].", 32: "codes" 16 / 32, "scale f16" 2 / 32;
    IQ4_XS, "iq4_xs", "d · scale · table\\[code\\].", 256: "codes" 16 / 32, "scale i8" 1 / 32, "d f16" 2 / 256;
    MXFP4, "mxfp4", "2^(exponent - 128) · table\\[code\\].", 32: "codes" 16 / 32, "exponent u8" 1 / 32;
}
