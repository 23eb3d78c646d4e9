//! What memory a process takes.

use serde::Serialize;

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now, pages of the mapped weights included.
    pub resident: u64,
    /// Of these, pages that belong to no file.
    pub anonymous: u64,
    /// Resident at most up to now.
    pub peak: u64,
}

impl Memory {
    /// What Linux says about this process; nothing on other systems.
    pub fn of_this_process() -> Option<Memory> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: u64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
    }
}
