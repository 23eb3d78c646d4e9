//! What the answer to a request depends on, as a number.

use crate::runtime::open::KvFormat;

/// What answers depend on besides their requests.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Hash of the program's plan.
    pub plan: &'a str,
    /// Positions of the context.
    pub context: usize,
    /// How the cache stores keys and values, where the user says it.
    pub kv_cache: Option<KvFormat>,
}

/// Names a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestIdentity(u64);

impl Identity<'_> {
    /// Of a line of the input.
    pub(super) fn of(&self, line: &[u8]) -> RequestIdentity {
        let context = self.context.to_string();
        let kv_cache = self.kv_cache.map_or("", KvFormat::name);
        let parts = [self.model, self.plan, &context, kv_cache].map(str::as_bytes);
        let hash = parts.iter().fold(FNV_OFFSET, |hash, part| fnv_1a(fnv_1a(hash, part), &[0]));
        RequestIdentity(fnv_1a(hash, line))
    }
}

impl RequestIdentity {
    /// The id of its line of output.
    pub(super) fn line_id(self) -> String {
        format!("batch_req_{:016x}", self.0)
    }

    /// An id within that line.
    pub(super) fn part_id(self, kind: &str) -> String {
        format!("{kind}{:016x}", self.0)
    }

    /// A seed for a request that has none.
    pub(super) fn seed(self) -> u64 {
        self.0
    }
}

// The hash FNV-1a of 64 bits: RFC 9923. It must not differ between versions of the standard library, as that one's may.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn fnv_1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_that_name_and_changes_with_everything() {
        assert_eq!(fnv_1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
        let identity = Identity { model: "m", plan: "p", context: 10, kv_cache: None };
        let others = [
            Identity { model: "mp", plan: "", ..identity },
            Identity { plan: "q", ..identity },
            Identity { context: 11, ..identity },
            Identity { kv_cache: Some(KvFormat::F16), ..identity },
        ];
        assert_ne!(identity.of(b"x"), identity.of(b"y"));
        assert!(others.iter().all(|other| other.of(b"x") != identity.of(b"x")));
    }
}
