//! How the KV cache stores keys and values.

pub use crate::runtime::open::KvFormat;

/// Bytes of the keys, or of the values, of one key-value head in a page of so many positions; `None` if such heads cannot be stored.
///
/// In f16 they are [position, head_dim]. In q8_0 they are codes [position, head_dim] i8, then scales [position, head_dim / 32] f16; an element
/// is scale · code, and heads are whole groups of 32.
pub const fn head_bytes(format: KvFormat, positions: usize, head_dim: usize) -> Option<usize> {
    match format {
        KvFormat::F16 => Some(2 * positions * head_dim),
        KvFormat::Q8_0 if head_dim.is_multiple_of(32) => Some(positions * (head_dim + head_dim / 16)),
        KvFormat::Q8_0 => None,
    }
}
