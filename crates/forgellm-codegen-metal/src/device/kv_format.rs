//! How the KV cache stores keys and values.

/// A format of the KV cache. Both halves of a page, keys and values, are \[kv_head\] of what [`KvFormat::head_bytes`] describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvFormat {
    /// Half precision: a head of a page is [position, head_dim] f16.
    #[default]
    F16,
    /// 8 bits and a scale for 32 elements: a head of a page is codes [position, head_dim] i8, then scales [position, head_dim / 32] f16. An
    /// element is scale · code. Heads are whole groups of 32.
    Q8_0,
}

impl KvFormat {
    /// Bytes of the keys, or of the values, of one key-value head in a page of so many positions; `None` if such heads cannot be stored.
    pub const fn head_bytes(self, positions: usize, head_dim: usize) -> Option<usize> {
        match self {
            KvFormat::F16 => Some(2 * positions * head_dim),
            KvFormat::Q8_0 if head_dim.is_multiple_of(32) => Some(positions * (head_dim + head_dim / 16)),
            KvFormat::Q8_0 => None,
        }
    }
}
