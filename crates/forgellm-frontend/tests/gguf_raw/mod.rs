//! GGUF bytes written field by field, so that a test can get any of them wrong.

/// A growing file.
#[derive(Clone, Default)]
pub struct Raw(pub Vec<u8>);

#[allow(dead_code, reason = "each test binary uses some of them")]
impl Raw {
    /// Magic, version 3 and the counts.
    pub fn new(tensors: u64, pairs: u64) -> Raw {
        Raw(b"GGUF".to_vec()).u32(3).u64(tensors).u64(pairs)
    }
    pub fn u8(mut self, value: u8) -> Raw {
        self.0.push(value);
        self
    }
    pub fn u32(mut self, value: u32) -> Raw {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn u64(mut self, value: u64) -> Raw {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend(bytes);
        self
    }
    pub fn text(self, text: &str) -> Raw {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }
    /// A pair with a u32 value.
    pub fn pair(self, key: &str, value: u32) -> Raw {
        self.text(key).u32(4).u32(value)
    }
    /// A tensor description; dimensions innermost first, as in the file.
    pub fn tensor(self, name: &str, dimensions: &[u64], tag: u32, offset: u64) -> Raw {
        let start = self.text(name).u32(dimensions.len() as u32);
        dimensions.iter().fold(start, |raw, &length| raw.u64(length)).u32(tag).u64(offset)
    }
    /// Pads to 32 bytes and adds `count` bytes of data.
    pub fn data(mut self, count: usize) -> Raw {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + count, 7);
        self
    }
}
