use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runtime::weights::*;

const EXPECTED: Expected<'static> = Expected { layout_version: 3, plan_hash: "abc" };

/// A weights file of two tensors with `a` (300 bytes) and `b` (16 bytes).
fn header() -> Value {
    json!({
        "__metadata__": {"format": "forgellm", "layout_version": "3", "plan_hash": "abc", "model": "tiny"},
        "a": {"dtype": "U8", "shape": [300], "data_offsets": [0, 300]},
        "_padding.0": {"dtype": "U8", "shape": [212], "data_offsets": [300, 512]},
        "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [512, 528]},
    })
}

/// The bytes of a file with this header, padded as it must be, and data that counts up.
pub(super) fn file(header: &Value, data: usize) -> Vec<u8> {
    let mut text = header.to_string();
    let padded = (text.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8;
    text.push_str(&" ".repeat(padded - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.bytes());
    bytes.extend((0..data).map(|index| index as u8));
    bytes
}

struct Written {
    path: PathBuf,
    _folder: TempDir,
}

fn write(bytes: &[u8]) -> Written {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.weights");
    std::fs::write(&path, bytes).unwrap();
    Written { path, _folder: folder }
}

fn open(bytes: &[u8]) -> Result<Weights, WeightsError> {
    Weights::open(&write(bytes).path, &EXPECTED)
}

#[test]
fn tensors_are_where_the_header_says_and_aligned() {
    let weights = open(&file(&header(), 528)).unwrap();
    let a = weights.tensor("a", 300).unwrap();
    assert_eq!((a[0], a[299]), (0, 299u32 as u8));
    let b = weights.tensor("b", 16).unwrap();
    assert_eq!(b[0], 512u32 as u8);
    assert!((b.as_ptr() as usize).is_multiple_of(TENSOR_ALIGNMENT));
    assert_eq!((weights.offset("b"), weights.data().len()), (Some(512), 528));
    assert_eq!(weights.model(), Some("tiny"));
}

#[test]
fn reading_ahead_tells_how_far_it_is_and_stops_when_told_to() {
    let large = json!({
        "__metadata__": {"format": "forgellm", "layout_version": "3", "plan_hash": "abc", "model": "tiny"},
        "a": {"dtype": "U8", "shape": [9 << 20], "data_offsets": [0, 9 << 20]},
    });
    let bytes = file(&large, 9 << 20);
    let weights = open(&bytes).unwrap();
    let mut seen = Vec::new();
    assert!(weights.read_ahead(&mut |done, total| {
        seen.push((done, total));
        true
    }));
    let total = bytes.len() as u64;
    assert_eq!(seen, [(4 << 20, total), (8 << 20, total), (total, total)]);
    let mut calls = 0;
    assert!(!weights.read_ahead(&mut |_, _| {
        calls += 1;
        calls < 2
    }));
    assert_eq!(calls, 2);
}

#[test]
fn missing_tensors_and_other_sizes_are_named() {
    let weights = open(&file(&header(), 528)).unwrap();
    for name in ["c", "", "_padding.0", "__metadata__"] {
        let error = weights.tensor(name, 1).unwrap_err();
        assert!(
            matches!(&error, WeightsError::MissingTensor { name: missing, .. } if missing == name),
            "{error}"
        );
    }
    let error = weights.tensor("b", 17).unwrap_err();
    assert!(matches!(error, WeightsError::TensorSize { found: 16, expected: 17, .. }), "{error}");
}

#[test]
fn each_kind_of_wrong_file_has_its_error() {
    use WeightsError::*;
    let changed = |pointer: &str, value: Value| {
        let mut header = header();
        *header.pointer_mut(pointer).unwrap() = value;
        file(&header, 528)
    };
    assert!(matches!(Weights::open("no/such.file".as_ref(), &EXPECTED), Err(NotFound { .. })));
    assert!(matches!(
        Weights::open(std::env::temp_dir().as_path(), &EXPECTED),
        Err(NotWeights { .. } | Io { .. })
    ));
    assert!(matches!(open(b""), Err(NotWeights { .. })));
    assert!(matches!(open(b"GGUF\x03\0\0\0\0\0\0\0"), Err(NotWeights { .. })));
    assert!(matches!(open(&changed("/__metadata__/format", json!("pt"))), Err(NotWeights { .. })));
    assert!(matches!(
        open(&changed("/__metadata__/layout_version", json!("2"))),
        Err(Layout { expected: 3, .. })
    ));
    assert!(matches!(open(&changed("/__metadata__/layout_version", json!("x"))), Err(Layout { .. })));
    assert!(matches!(open(&changed("/__metadata__/plan_hash", json!("abd"))), Err(Plan { .. })));
    assert!(matches!(open(&file(&header(), 527)), Err(Truncated { .. })));
    assert!(matches!(open(&file(&header(), 529)), Err(NotWeights { .. })));
    let hole = changed("/_padding.0/data_offsets", json!([301, 512]));
    assert!(matches!(open(&hole), Err(NotWeights { .. })));
    let unaligned = json!({
        "__metadata__": {"format": "forgellm", "layout_version": "3", "plan_hash": "abc"},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "U8", "shape": [4], "data_offsets": [3, 7]},
    });
    assert!(matches!(open(&file(&unaligned, 7)), Err(NotWeights { .. })));
}

#[test]
fn a_message_names_the_file_and_what_to_do() {
    let written = write(&file(&header(), 100));
    let message = Weights::open(&written.path, &EXPECTED).unwrap_err().to_string();
    assert!(message.contains("model.weights") && message.contains("truncated") && message.contains("again"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = file(&header(), 528);
    for length in (0..whole.len()).step_by(97).chain(whole.len() - 3..whole.len()) {
        let error = open(&whole[..length]).unwrap_err();
        let is_known = matches!(error, WeightsError::Truncated { .. } | WeightsError::NotWeights { .. });
        assert!(is_known, "{length}: {error}");
    }
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..6), cut in 0usize..20_000) {
        let mut bytes = file(&header(), 528);
        for (index, byte) in changes {
            bytes[index] = byte;
        }
        bytes.truncate(bytes.len().min(cut + 300));
        if let Ok(weights) = open(&bytes) {
            for name in ["a", "b"] {
                if let Ok(tensor) = weights.tensor(name, 16) {
                    prop_assert_eq!(tensor.len(), 16);
                }
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..400) {
        prop_assert!(open(&bytes).is_err());
        let mut with_length = length.to_le_bytes().to_vec();
        with_length.extend(b"{");
        with_length.extend(&bytes);
        prop_assert!(open(&with_length).is_err());
    }
}
