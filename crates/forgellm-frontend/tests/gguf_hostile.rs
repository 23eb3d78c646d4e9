//! Whatever bytes a GGUF file holds, reading it does not panic, and takes memory bounded by its size.

mod gguf_raw;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use forgellm_frontend::checkpoint::gguf::{GgufError, GgufErrorKind as Kind, GgufFile};
use forgellm_frontend::ir::DType;
use gguf_raw::Raw;
use proptest::prelude::*;

/// Counts the bytes that the current thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    HELD.set(HELD.get().wrapping_add(bytes));
    PEAK.set(PEAK.get().max(HELD.get()));
}

fn shrink(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-local cells
// without a destructor, so that touching them neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may be there while the bytes are moved.
        grow(size);
        // SAFETY: the caller keeps `realloc`'s contract.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        shrink(layout.size());
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads `bytes` and checks the memory taken beyond them, and what the reader promises of an accepted file.
fn read(bytes: Vec<u8>) -> Result<GgufFile, GgufError> {
    let length = bytes.len();
    let before = HELD.get();
    PEAK.set(before);
    let result = GgufFile::parse("model.gguf", bytes);
    let taken = PEAK.get() - before;
    assert!(taken <= 16 * length + (64 << 10), "{taken} bytes taken for a file of {length}");
    match &result {
        Ok(file) => check_promises(file),
        Err(error) => assert!(error.to_string().len() < 600, "{} bytes of message", error.to_string().len()),
    }
    result
}

fn check_promises(file: &GgufFile) {
    let mut ranges = Vec::new();
    for tensor in file.tensors() {
        assert!((1..=4).contains(&tensor.shape.len()));
        let row = *tensor.shape.last().unwrap();
        let rows: usize = tensor.shape[..tensor.shape.len() - 1].iter().product();
        assert_eq!(tensor.bytes, (tensor.dtype.row_bytes(row).unwrap() * rows) as u64);
        assert_eq!(file.data(tensor).len() as u64, tensor.bytes);
        assert_eq!(file.tensor(&tensor.name).unwrap(), tensor);
        ranges.push((tensor.offset, tensor.end()));
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
}

/// One way to damage a file.
#[derive(Debug, Clone)]
enum Damage {
    Byte(Place, u8),
    Word32(Place, u32),
    Word64(Place, u64),
    Cut(Place),
    Remove(Place, usize),
    Repeat(Place, usize),
}

/// Where: near the start (counts, keys), near the end (tensor descriptions), or anywhere.
#[derive(Debug, Clone)]
enum Place {
    FromStart(usize),
    FromEnd(usize),
    Anywhere(prop::sample::Index),
}

impl Place {
    fn in_length(&self, length: usize) -> usize {
        match self {
            Place::FromStart(distance) => (*distance).min(length),
            Place::FromEnd(distance) => length.saturating_sub(*distance),
            Place::Anywhere(index) => index.index(length + 1),
        }
    }
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let overwrite = |bytes: &mut Vec<u8>, place: &Place, new: &[u8]| {
            let start = place.in_length(length);
            let end = (start + new.len()).min(length);
            bytes[start..end].copy_from_slice(&new[..end - start]);
        };
        match self {
            Damage::Byte(place, value) => overwrite(bytes, place, &[*value]),
            Damage::Word32(place, value) => overwrite(bytes, place, &value.to_le_bytes()),
            Damage::Word64(place, value) => overwrite(bytes, place, &value.to_le_bytes()),
            Damage::Cut(place) => bytes.truncate(place.in_length(length)),
            Damage::Remove(place, count) => {
                let start = place.in_length(length);
                drop(bytes.drain(start..(start + count).min(length)));
            }
            Damage::Repeat(place, count) => {
                let start = place.in_length(length);
                let part = bytes[start..(start + count).min(length)].to_vec();
                drop(bytes.splice(start..start, part));
            }
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (0usize..2048).prop_map(Place::FromStart),
        (0usize..16384).prop_map(Place::FromEnd),
        any::<prop::sample::Index>().prop_map(Place::Anywhere),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let word32 = prop_oneof![any::<u32>(), 0u32..48, Just(u32::MAX), Just(1 << 31)];
    let word64 = prop_oneof![
        any::<u64>(),
        0u64..300,
        (0u32..64).prop_map(|bit| 1 << bit),
        (0u32..64).prop_map(|bit| (1u64 << bit).wrapping_neg()),
    ];
    prop_oneof![
        3 => (place(), any::<u8>()).prop_map(|(place, value)| Damage::Byte(place, value)),
        3 => (place(), word32).prop_map(|(place, value)| Damage::Word32(place, value)),
        3 => (place(), word64).prop_map(|(place, value)| Damage::Word64(place, value)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), 1usize..64).prop_map(|(place, count)| Damage::Remove(place, count)),
        1 => (place(), 1usize..64).prop_map(|(place, count)| Damage::Repeat(place, count)),
    ]
}

/// A small file with a pair of every kind and a few tensors, complete with data.
fn small() -> Vec<u8> {
    let mut raw = Raw::new(6, 9)
        .text("general.architecture")
        .u32(8)
        .text("llama")
        .pair("llama.block_count", 2)
        .text("llama.rope.freq_base")
        .u32(6)
        .u32(0x4961_2424)
        .text("tokenizer.ggml.add_bos_token")
        .u32(7)
        .u8(1)
        .text("tokenizer.ggml.tokens")
        .u32(9)
        .u32(8)
        .u64(4)
        .text("<s>")
        .text("a")
        .text("b")
        .text("ab")
        .text("tokenizer.ggml.token_type")
        .u32(9)
        .u32(5)
        .u64(4)
        .u32(3)
        .u32(1)
        .u32(1)
        .u32(1)
        .text("tokenizer.ggml.scores")
        .u32(9)
        .u32(6)
        .u64(4)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0)
        .text("flags")
        .u32(9)
        .u32(7)
        .u64(3)
        .bytes(&[0, 1, 1])
        .pair("general.alignment", 32);
    let tensors: [(&str, &[u64], DType); 6] = [
        ("token_embd.weight", &[64, 4], DType::Q8_0),
        ("output_norm.weight", &[64], DType::F32),
        ("blk.0.attn_q.weight", &[64, 64], DType::Q4_0),
        ("blk.0.attn_q.bias", &[64], DType::F32),
        ("blk.1.ffn_down.weight", &[256, 2], DType::Q4_K),
        ("experts", &[32, 2, 2, 2], DType::MXFP4),
    ];
    let mut offset = 0;
    for (name, dimensions, dtype) in tensors {
        raw = raw.tensor(name, dimensions, dtype.gguf_tag(), offset as u64);
        let elements = dimensions.iter().product::<u64>() as usize;
        offset += (elements / dtype.block_elements() * dtype.block_bytes()).next_multiple_of(32);
    }
    raw.data(offset).0
}

#[test]
fn the_small_file_is_sound() {
    assert_eq!(read(small()).unwrap().tensors().len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_small_files(damages in prop::collection::vec(damage(), 1..6)) {
        let mut bytes = small();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        let _ = read(bytes);
    }

    #[test]
    fn noise_after_the_magic_number(counts in any::<(u8, u8)>(), rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(Raw::new(counts.0.into(), counts.1.into()).bytes(&rest).0);
    }
}

/// The inputs that cost most memory for their size.
#[test]
fn memory_of_the_densest_files() {
    let keys = |count: u64| {
        (0..count).fold(Raw::new(0, count), |raw, key| raw.text(&format!("{key:x}")).u32(0).u8(1))
    };
    assert_eq!(read(keys(20_000).0).unwrap().metadata().len(), 20_000);

    let bytes = Raw::new(0, 1).text("k").u32(9).u32(0).u64(1 << 20).bytes(&vec![1; 1 << 20]);
    assert_eq!(read(bytes.0).unwrap().metadata().require_integers("k").unwrap().len(), 1 << 20);

    let texts = Raw::new(0, 1).text("k").u32(9).u32(8).u64(100_000).bytes(&vec![0; 800_000]);
    assert_eq!(read(texts.0).unwrap().metadata().require_strings("k").unwrap().len(), 100_000);

    let bad_texts = (0..50_000)
        .fold(Raw::new(0, 1).text("k").u32(9).u32(8).u64(50_000), |raw, _| raw.u64(3).bytes(b"\xff\xff\xff"));
    assert_eq!(read(bad_texts.0).unwrap().metadata().require_strings("k").unwrap().len(), 50_000);

    let tensors = |count: u64| {
        (0..count)
            .fold(Raw::new(count, 0), |raw, index| raw.tensor(&format!("{index:x}"), &[1; 1], 0, index * 32))
    };
    assert_eq!(read(tensors(20_000).data(20_000 * 32).0).unwrap().tensors().len(), 20_000);
    assert!(matches!(read(tensors(20_000).0).unwrap_err().kind, Kind::OutOfBounds { .. }));
}

fn models() -> [(&'static str, usize); 3] {
    [("smollm2.gguf", 272), ("gemma3.gguf", 236), ("qwen.gguf", 291)]
}

fn open_model(name: &str) -> GgufFile {
    let folder = std::env::var_os("FORGELLM_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models")), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there: run `cargo xtask models` first", path.display());
    GgufFile::open(path).unwrap()
}

/// What stands before the tensor data.
fn header(file: &GgufFile) -> &[u8] {
    let end = file.tensors().iter().map(|tensor| tensor.offset).min().unwrap();
    &file.bytes()[..end as usize]
}

#[test]
fn real_files_are_read() {
    for (name, tensors) in models() {
        let before = HELD.get();
        PEAK.set(before);
        let file = open_model(name);
        let taken = PEAK.get() - before;
        assert!(taken <= 16 * header(&file).len(), "{taken} bytes for {name}");
        check_promises(&file);
        assert_eq!((file.version(), file.tensors().len()), (3, tensors));
        let tokens = file.metadata().require_strings("tokenizer.ggml.tokens").unwrap();
        let embedding = file.tensor("token_embd.weight").unwrap();
        assert_eq!(embedding.shape[0], tokens.len());
        assert_eq!(file.tensors().iter().map(|tensor| tensor.end()).max(), Some(file.length()));
    }
}

#[test]
fn damaged_real_headers() {
    let headers: Vec<Vec<u8>> = models().iter().map(|(name, _)| header(&open_model(name)).to_vec()).collect();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(model in 0..headers.len(), damages in prop::collection::vec(damage(), 1..4))| {
        let mut bytes = headers[model].clone();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        let _ = read(bytes);
    });
}
