//! Writes the weights file that a generated program maps.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use forgellm_plan::{Plan, PlannedWeight};
use forgellm_runtime::runtime::weights::{
    DATA_ALIGNMENT, FORMAT, KEY_FORMAT, KEY_LAYOUT_VERSION, KEY_MODEL, KEY_PLAN_HASH, PADDING_PREFIX,
    TENSOR_ALIGNMENT,
};
use sha2::{Digest, Sha256};

/// Name of the layout of vectors: f32, one after the other.
pub const VECTOR: &str = "f32";

/// Why the weights file could not be written. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum WeightsWriteError {
    /// The file cannot be written.
    #[error(
        "cannot write the weights file {path}: {source}; name a place that you may write to, with {bytes} bytes free"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A tensor cannot be laid out.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// Why.
        reason: String,
    },
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Appends the bytes of a weight in its target layout, or says why there are none.
pub type Pack<'a> = dyn FnMut(&PlannedWeight, &mut Vec<u8>) -> Result<(), String> + 'a;

/// The identity of a plan: SHA-256 over its text form, in hexadecimal.
pub fn plan_hash(plan: &Plan) -> String {
    Sha256::digest(plan.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the weights of `plan` to `path`, in the order of use.
///
/// `pack` gives the bytes of one weight in its target layout, exactly as many as the plan says. `progress` hears of every weight written
/// (bytes so far, bytes in all) and stops the writing by returning false. The file appears whole or not at all.
pub fn write_weights(
    plan: &Plan,
    path: &Path,
    pack: &mut Pack<'_>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), WeightsWriteError> {
    let (header, total) = header(plan);
    let bytes = header.len() as u64 + total;
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let fail = |source| WeightsWriteError::Io { path: path.to_owned(), bytes, source };
    let result = (|| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary).map_err(fail)?);
        file.write_all(&header).map_err(fail)?;
        let mut position = 0u64;
        let mut packed = Vec::new();
        for weight in &plan.weights {
            let padding = padding(position);
            file.write_all(&[0; TENSOR_ALIGNMENT][..padding]).map_err(fail)?;
            packed.clear();
            let tensor = |reason| WeightsWriteError::Tensor { tensor: weight.name.clone(), reason };
            pack(weight, &mut packed).map_err(tensor)?;
            if packed.len() != weight.layout.bytes {
                return Err(tensor(format!(
                    "packed to {} bytes, planned {}",
                    packed.len(),
                    weight.layout.bytes
                )));
            }
            file.write_all(&packed).map_err(fail)?;
            position += (padding + packed.len()) as u64;
            if !progress(position, total) {
                return Err(WeightsWriteError::Interrupted);
            }
        }
        file.into_inner().map_err(|error| fail(error.into_error()))?;
        fs::rename(&temporary, path).map_err(fail)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Bytes to the next place where a tensor may start.
fn padding(position: u64) -> usize {
    (position.next_multiple_of(TENSOR_ALIGNMENT as u64) - position) as usize
}

/// The safetensors header with its length in front, padded to the page, and the bytes of data behind it.
fn header(plan: &Plan) -> (Vec<u8>, u64) {
    let mut entries = vec![format!(
        "\"__metadata__\":{{{}:{},{}:{},{}:{},{}:{}}}",
        quote(KEY_FORMAT),
        quote(FORMAT),
        quote(KEY_LAYOUT_VERSION),
        quote(&plan.layout_version.to_string()),
        quote(KEY_PLAN_HASH),
        quote(&plan_hash(plan)),
        quote(KEY_MODEL),
        quote(&plan.model),
    )];
    let mut position = 0u64;
    let mut entry = |name: &str, dtype: &str, shape: String, start: u64, end: u64| {
        entries.push(format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}",
            quote(name)
        ));
    };
    for (number, weight) in plan.weights.iter().enumerate() {
        let padding = padding(position) as u64;
        if padding > 0 {
            entry(
                &format!("{PADDING_PREFIX}{number}"),
                "U8",
                padding.to_string(),
                position,
                position + padding,
            );
            position += padding;
        }
        let end = position + weight.layout.bytes as u64;
        let (dtype, shape) = match weight.layout.name {
            VECTOR => ("F32", (weight.layout.bytes / 4).to_string()),
            _ => ("U8", weight.layout.bytes.to_string()),
        };
        entry(&weight.name, dtype, shape, position, end);
        position = end;
    }
    let mut json = format!("{{{}}}", entries.join(",")).into_bytes();
    let length = (json.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8;
    json.resize(length, b' ');
    let mut header = (length as u64).to_le_bytes().to_vec();
    header.extend(json);
    (header, position)
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
