//! The self-check: whether this machine's shader compiler and GPU compute what the kernels say.
//!
//! The model's own forward pass runs in steps of many shapes (`steps`), each kernel in a command buffer of its own. Before a kernel runs, its
//! reference computes in f64, from the very memory that the kernel will read, what a sample of its results must be; afterwards they are compared.
//! So a kernel answers for its own mistakes only, and none is left out: one without a reference is a failure.
//!
//! A reference is a function with the signature of its kernel: it reads function constants and buffers by the indices that the kernel's text
//! declares. It says how far off a right result may be, from the number of terms and the formats (`tolerance`).
//!
//! | kernels | files |
//! |---|---|
//! | what a kernel was called with, and what it gave | `call`, `expected` |
//! | `mat_vec`, `gemm` | `projection`, `matrix` |
//! | `qkv`, `qkv_rope`, `rope`, `kv_write` | `qkv`, `rope`, `cache` |
//! | `attention`, `attention_combine` | `attention` |
//! | `embed`, `rms_norm`, `element_*`, `select_wanted`, `slice`, `top_*` | `embed`, `norm`, `elementwise`, `rows`, `top` |

pub mod activation;
mod attention;
mod cache;
mod call;
mod elementwise;
mod embed;
mod expected;
pub mod matrix;
mod norm;
mod projection;
mod qkv;
mod rope;
mod rows;
pub(crate) mod steps;
mod tolerance;
mod top;

use super::record::{Item, Recorded};
use crate::gpu::{GpuError, Queue};
use crate::runtime::engine::CheckEntry;

use call::{Call, Unchecked};
use expected::Expected;

/// What a kernel must give when it is called so.
type Reference = fn(&Call<'_>) -> Result<Vec<Expected>, Unchecked>;

/// The reference of each kernel: of one, or, where the name ends with `_`, of all instantiations of a template. The first that fits holds.
const REFERENCES: &[(&str, Reference)] = &[
    ("attention_combine", attention::combine),
    ("attention_", attention::attention),
    ("element_", elementwise::element),
    ("embed_", embed::embed),
    ("gemm_", projection::gemm),
    ("kv_write", rope::kv_write),
    ("mat_vec_", projection::mat_vec),
    ("qkv_rope", rope::qkv_rope),
    ("qkv_", qkv::qkv),
    ("rms_norm", norm::rms_norm),
    ("rope", rope::rope),
    ("select_wanted", rows::select_wanted),
    ("slice", rows::slice),
    ("top_lists_", top::lists),
    ("top_merge_", top::merge),
];

/// The reference of the kernel of this name.
fn reference(name: &str) -> Option<Reference> {
    let fits = |known: &str| if known.ends_with('_') { name.starts_with(known) } else { name == known };
    REFERENCES.iter().find(|(known, _)| fits(known)).map(|(_, reference)| *reference)
}

/// Runs what steps dispatch, and keeps what it found out about each kernel.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// In the order in which the kernels first ran.
    entries: Vec<CheckEntry>,
    /// Numbers of those that failed, in the order in which they did.
    failed: Vec<usize>,
}

impl Checker {
    /// Runs one kernel after the other, and compares what each gives with its reference.
    pub(crate) fn run(&mut self, queue: &Queue, items: &[Item]) -> Result<(), GpuError> {
        for item in items {
            let Item::Dispatch(recorded) = item else { continue };
            let number = self.number(&recorded.function);
            let result = check(queue, recorded, &mut self.entries[number]);
            if self.entries[number].failure.is_some() && !self.failed.contains(&number) {
                self.failed.push(number);
            }
            result?;
        }
        Ok(())
    }

    /// The number of the kernel's entry.
    fn number(&mut self, function: &str) -> usize {
        self.entries.iter().position(|entry| entry.name == function).unwrap_or_else(|| {
            self.entries.push(CheckEntry { name: function.to_owned(), ..CheckEntry::default() });
            self.entries.len() - 1
        })
    }

    /// What was found out: first the kernels that failed, in that order, since one that gives no numbers leaves none to those behind it; then the
    /// others in the order in which they first ran.
    pub(crate) fn entries(self) -> Vec<CheckEntry> {
        let right = self.entries.iter().filter(|entry| entry.failure.is_none());
        self.failed.iter().map(|number| &self.entries[*number]).chain(right).cloned().collect()
    }
}

/// Runs a kernel, and notes how it compares.
fn check(queue: &Queue, recorded: &Recorded, entry: &mut CheckEntry) -> Result<(), GpuError> {
    entry.calls += 1;
    let call = Call::new(recorded);
    // The kernel may write where it reads, so the reference comes first.
    let expected = match reference(call.name()) {
        Some(reference) => reference(&call),
        None => Err(Unchecked("it has no reference in device/selfcheck".into())),
    };
    if let Err(error) = recorded.run_alone(queue) {
        entry.failure.get_or_insert_with(|| format!("the GPU did not run it: {error}"));
        return Err(error);
    }
    let compared = expected.and_then(|expected| {
        for expected in &expected {
            expected.compare(&call, entry)?;
        }
        Ok(())
    });
    if let Err(Unchecked(why)) = compared {
        entry.failure.get_or_insert_with(|| format!("it cannot be checked: {why}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::reference;
    use crate::device::attention::attention_needs;
    use crate::device::elementwise::elementwise_needs;
    use crate::device::embed::embed_needs;
    use crate::device::format::{F16, Format};
    use crate::device::head::top_needs;
    use crate::device::linear::linear_needs;
    use crate::device::qkv::qkv_needs;
    use crate::device::rope::rope_needs;
    use crate::device::rows::rows_needs;
    use crate::kernel_source;

    /// Names of templates are those of their instantiations; all others stand in the text.
    #[test]
    fn every_kernel_has_a_reference() {
        let needs = linear_needs(&[F16::INFO])
            .and(qkv_needs([F16::INFO; 3]))
            .and(attention_needs(64))
            .and(embed_needs(F16::INFO))
            .and(elementwise_needs())
            .and(rope_needs())
            .and(rows_needs())
            .and(top_needs());
        let text = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
        let instantiated = text.split("host_name(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut named: Vec<&str> = instantiated.collect();
        assert!(named.len() > 20, "{named:?}");
        let mut template = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("kernel void ").and_then(|rest| rest.split('(').next())
                && !template
            {
                named.push(name);
            }
            template = line.starts_with("template ");
        }
        assert!(
            ["rope", "kv_write", "attention_combine", "element_add"].iter().all(|name| named.contains(name))
        );
        let without: Vec<&&str> = named.iter().filter(|name| reference(name).is_none()).collect();
        assert!(without.is_empty(), "{without:?} have no reference in device/selfcheck");
        assert!(reference("ropes").is_none());
    }
}
