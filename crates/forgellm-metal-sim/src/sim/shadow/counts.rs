//! What a dispatch loads, stores and does.

use std::fmt;

use serde::Serialize;

/// The counts of one dispatch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// The command buffer's label.
    pub commands: String,
    /// The encoder's label.
    pub encoder: String,
    /// Whether it is a concurrent encoder, in which only barriers order dispatches. In a serial one each dispatch waits for
    /// the one before it.
    pub concurrent: bool,
    /// Dispatches of the same encoder that were encoded before this one: an encoder begins where it is 0. Under a seed,
    /// dispatches that nothing orders run, and are listed, in another order.
    pub number: u64,
    /// Barriers of the encoder (`barrier()`, Metal's `memoryBarrier`) since the dispatch before this one. What comes
    /// behind the encoder's last dispatch orders nothing and is not counted.
    pub barriers_before: u64,
    /// The kernel.
    pub kernel: String,
    /// Threadgroups of the grid.
    pub threadgroups: u64,
    /// Threads of the grid.
    pub threads: u64,
    /// Bytes loaded from device and constant buffers, by all threads together.
    pub device_bytes_loaded: u64,
    /// Bytes stored to device buffers.
    pub device_bytes_stored: u64,
    /// Bytes loaded from threadgroup memory.
    pub threadgroup_bytes_loaded: u64,
    /// Bytes stored to threadgroup memory.
    pub threadgroup_bytes_stored: u64,
    /// Barriers that threadgroups passed.
    pub threadgroup_barriers: u64,
    /// Barriers that simdgroups passed.
    pub simdgroup_barriers: u64,
    /// Loads of simdgroup matrices.
    pub matrix_loads: u64,
    /// Stores of simdgroup matrices.
    pub matrix_stores: u64,
    /// Multiplications of simdgroup matrices, 512 multiply-adds each.
    pub matrix_multiplies: u64,
    /// By buffer index.
    pub buffers: Vec<BufferCounts>,
}

/// The counts of one buffer of a dispatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BufferCounts {
    /// Its index.
    pub index: usize,
    /// Its label.
    pub label: String,
    /// Bytes loaded, each as often as it was.
    pub bytes_loaded: u64,
    /// Bytes stored, each as often as it was.
    pub bytes_stored: u64,
    /// Different bytes that were loaded.
    pub distinct_bytes_loaded: u64,
    /// Different bytes that were stored.
    pub distinct_bytes_stored: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kernel '{}': {} threadgroups, {} threads",
            self.kernel, self.threadgroups, self.threads
        )?;
        if self.barriers_before != 0 {
            writeln!(f, "  barriers of the encoder before it: {}", self.barriers_before)?;
        }
        writeln!(
            f,
            "  device memory: {} bytes loaded, {} stored; threadgroup memory: {} loaded, {} stored",
            self.device_bytes_loaded,
            self.device_bytes_stored,
            self.threadgroup_bytes_loaded,
            self.threadgroup_bytes_stored
        )?;
        write!(
            f,
            "  barriers: {} threadgroup, {} simdgroup; matrices: {} loads, {} stores, {} multiplications",
            self.threadgroup_barriers,
            self.simdgroup_barriers,
            self.matrix_loads,
            self.matrix_stores,
            self.matrix_multiplies
        )?;
        for buffer in &self.buffers {
            write!(
                f,
                "\n  buffer {} '{}': {} bytes loaded ({} different), {} stored ({} different)",
                buffer.index,
                buffer.label,
                buffer.bytes_loaded,
                buffer.distinct_bytes_loaded,
                buffer.bytes_stored,
                buffer.distinct_bytes_stored
            )?;
        }
        Ok(())
    }
}

/// A set of bytes of a buffer.
pub(super) struct Touched {
    words: Vec<u64>,
    times: u64,
}

impl Touched {
    pub(super) fn new(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(64)], times: 0 }
    }

    pub(super) fn add(&mut self, offset: usize, bytes: usize) {
        self.times += bytes as u64;
        let mut at = offset;
        while at < offset + bytes {
            let count = (64 - at % 64).min(offset + bytes - at);
            if let Some(word) = self.words.get_mut(at / 64) {
                *word |= (u64::MAX >> (64 - count)) << (at % 64);
            }
            at += count;
        }
    }

    /// Bytes in all, and different ones.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.times, self.words.iter().map(|word| u64::from(word.count_ones())).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_once_and_as_often_as_touched() {
        let mut touched = Touched::new(200);
        touched.add(60, 8);
        touched.add(62, 2);
        touched.add(0, 200);
        touched.add(63, 1);
        assert_eq!(touched.counts(), (211, 200));
        let mut touched = Touched::new(100);
        touched.add(10, 4);
        touched.add(12, 4);
        assert_eq!(touched.counts(), (8, 6));
    }
}
