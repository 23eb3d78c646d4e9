//! The GGUF reader and writer: what is read, what is refused and how that is said.

mod gguf_raw;

use std::path::{Path, PathBuf};

use forgellm_frontend::checkpoint::gguf::{
    GgufError, GgufErrorKind as Kind, GgufFile, GgufWriteError, GgufWriter, TensorSpec,
};
use forgellm_frontend::checkpoint::{Metadata, Value};
use forgellm_frontend::ir::DType;
use gguf_raw::Raw;

/// A correct file: three pairs, two tensors.
fn sound() -> Raw {
    Raw::new(2, 3)
        .text("general.architecture")
        .u32(8)
        .text("llama")
        .pair("llama.block_count", 2)
        .text("tokenizer.ggml.tokens")
        .u32(9)
        .u32(8)
        .u64(3)
        .text("a")
        .text("b")
        .text("ab")
        .tensor("norm", &[4], 0, 0)
        .tensor("matrix", &[64, 3], 8, 32)
        .data(32 + 3 * 2 * 34)
}

fn refusal(raw: Raw) -> GgufError {
    GgufFile::parse("model.gguf", raw.0).expect_err("should be refused")
}

#[test]
fn reads_a_sound_file() {
    let file = GgufFile::parse("model.gguf", sound().0).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.metadata().require_string("general.architecture").unwrap(), "llama");
    assert_eq!(file.metadata().require_usize("llama.block_count").unwrap(), 2);
    assert_eq!(file.metadata().require_strings("tokenizer.ggml.tokens").unwrap(), ["a", "b", "ab"]);
    let matrix = file.tensor("matrix").unwrap();
    assert_eq!((matrix.dtype, matrix.shape.as_slice(), matrix.bytes), (DType::Q8_0, [3, 64].as_slice(), 204));
    assert_eq!(file.data(matrix), [7; 204]);
    assert_eq!(matrix.end(), file.length());
    assert_eq!(file.tensors()[0].name, "norm");
}

#[test]
fn reads_version_2() {
    let mut raw = sound();
    raw.0[4] = 2;
    assert_eq!(GgufFile::parse("model.gguf", raw.0).unwrap().version(), 2);
}

#[test]
fn widens_every_kind_of_integer() {
    let raw = Raw::new(0, 6)
        .text("a")
        .u32(0)
        .u8(200)
        .text("b")
        .u32(1)
        .u8(0xff)
        .text("c")
        .u32(9)
        .u32(2)
        .u64(2)
        .bytes(&[1, 0, 0xff, 0xff])
        .text("d")
        .u32(9)
        .u32(11)
        .u64(1)
        .u64(u64::MAX)
        .text("e")
        .u32(12)
        .bytes(&0.5f64.to_le_bytes())
        .text("f")
        .u32(9)
        .u32(7)
        .u64(3)
        .bytes(&[1, 0, 1]);
    let file = GgufFile::parse("model.gguf", raw.0).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.get("a"), Some(&Value::U64(200)));
    assert_eq!(metadata.get("b"), Some(&Value::I64(-1)));
    assert_eq!(metadata.get("c"), Some(&Value::Integers(vec![1, 65535])));
    assert_eq!(metadata.get("d"), Some(&Value::Integers(vec![-1])));
    assert_eq!(metadata.get("e"), Some(&Value::F32(0.5)));
    assert_eq!(metadata.get("f"), Some(&Value::Bools(vec![true, false, true])));
}

#[test]
fn token_bytes_that_are_not_utf8_do_not_stop_the_file() {
    let raw =
        Raw::new(0, 1).text("tokenizer.ggml.tokens").u32(9).u32(8).u64(2).u64(2).bytes(b"a\xff").text("b");
    let file = GgufFile::parse("model.gguf", raw.0).unwrap();
    assert_eq!(file.metadata().require_strings("tokenizer.ggml.tokens").unwrap(), ["a\u{fffd}", "b"]);
}

macro_rules! refused {
    ($($name:ident: $raw:expr => $pattern:pat, $message:literal;)*) => {
        $(#[test] fn $name() {
            let error = refusal($raw);
            assert_eq!(error.to_string(), concat!("model.gguf: ", $message));
            assert!(matches!(error.kind, $pattern), "{:?}", error.kind);
        })*
    };
}

refused! {
    empty: Raw::default() => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like an empty file (byte 0); get it again";
    magic_cut: Raw(b"GG".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like the first bytes of a GGUF file (byte 0); the file is cut short, get it again";
    safetensors: Raw::default().u64(16).bytes(br#"{"a":{"b":[1,2]}}"#) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like a safetensors file (byte 0); convert it to GGUF first (llama.cpp's convert_hf_to_gguf.py)";
    zip: Raw(b"PK\x03\x04\x14\x00".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like a zip archive (or a PyTorch checkpoint or Python wheel) (byte 0); unpack it, or convert the checkpoint to GGUF";
    html: Raw(b"\n<!DOCTYPE html><html><head>".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like a web page (byte 0); the download gave a page instead of the file: check its address and your access";
    lfs_pointer: Raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:00".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like a git-LFS pointer instead of the model (byte 0); run `git lfs pull` in its repository";
    json: Raw(b"{\"architectures\": []}".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like JSON text (byte 0); give a .gguf file";
    noise: Raw(b"noise and nothing else".to_vec()) => Kind::NotGguf { .. },
        "is not a GGUF file: it looks like something else (byte 0); give a .gguf file";
    big_endian: Raw(b"GGUF\x00\x00\x00\x03".to_vec()).u64(0).u64(0) => Kind::BigEndian { .. },
        "is a big-endian GGUF file (version field at byte 4 reads 0x03000000); convert it to little-endian with `gguf-convert-endian FILE little`";
    version_1: Raw(b"GGUF".to_vec()).u32(1).u32(0).u32(0) => Kind::Version { version: 1, .. },
        "has GGUF version 1 (byte 4); versions 2 and 3 are read: get a newer conversion of the model";
    version_9: Raw(b"GGUF".to_vec()).u32(9).u64(0).u64(0) => Kind::Version { version: 9, .. },
        "has GGUF version 9 (byte 4); versions 2 and 3 are read: the file is damaged, or newer than this compiler";
    huge_tensor_count: Raw::new(u64::MAX, 0) => Kind::CountTooLarge { .. },
        "the tensor count at byte 8 counts 18446744073709551615 items, more than the remaining 8 bytes can hold; the file is damaged, get it again";
    huge_pair_count: Raw::new(0, 1 << 40).data(100) => Kind::CountTooLarge { .. },
        "the metadata count at byte 16 counts 1099511627776 items, more than the remaining 108 bytes can hold; the file is damaged, get it again";
    huge_key: Raw::new(0, 1).u64(1 << 62).data(100) => Kind::Truncated { .. },
        "ends too early: the key of metadata pair 0 at byte 32 needs 4611686018427387904 bytes and 100 are left; the file is cut short or damaged, get it again";
    huge_array: Raw::new(0, 1).text("tokenizer.ggml.tokens").u32(9).u32(8).u64(1 << 61).data(32) => Kind::CountTooLarge { .. },
        "the value of metadata key `tokenizer.ggml.tokens` at byte 61 counts 2305843009213693952 items, more than the remaining 59 bytes can hold; the file is damaged, get it again";
    key_not_utf8: Raw::new(0, 1).u64(3).bytes(b"a\xffb").u32(4).u32(0) => Kind::NotUtf8 { offset: 33, .. },
        "the key of metadata pair 0 is not UTF-8 at byte 33; the file is damaged, get it again";
    text_not_utf8: Raw::new(0, 1).text("general.name").u32(8).u64(1).bytes(b"\xff") => Kind::NotUtf8 { offset: 56, .. },
        "the value of metadata key `general.name` is not UTF-8 at byte 56; the file is damaged, get it again";
    duplicate_key: Raw::new(0, 2).pair("a", 1).pair("a", 1) => Kind::DuplicateKey { offset: 41, .. },
        "metadata key `a` occurs a second time at byte 41; write the file again without one of them";
    unknown_value_type: Raw::new(0, 1).text("a").u32(13).data(8) => Kind::UnknownValueType { tag: 13, .. },
        "metadata key `a` has unknown value type 13 at byte 33 (GGUF has 0 to 12); the file is damaged or newer than this reader";
    nested_array: Raw::new(0, 1).text("a").u32(9).u32(9).u64(0) => Kind::NestedArray { .. },
        "metadata key `a` is an array of arrays (byte 37), which no known architecture needs; write the file again without this key";
    bad_bool: Raw::new(0, 1).text("a").u32(7).u8(2) => Kind::BadBool { .. },
        "metadata key `a` holds 2 as a boolean at byte 37, where 0 or 1 must be; the file is damaged";
    integer_range: Raw::new(0, 1).text("a").u32(9).u32(10).u64(1).u64(1 << 63) => Kind::IntegerRange { .. },
        "metadata key `a` holds 9223372036854775808 at byte 49; array elements up to 9223372036854775807 are read";
    alignment_zero: Raw::new(0, 1).pair("general.alignment", 0) => Kind::BadAlignment { .. },
        "metadata key `general.alignment` is 0, where a power of two must be; write the file again with 32";
    alignment_odd: Raw::new(0, 1).pair("general.alignment", 24) => Kind::BadAlignment { .. },
        "metadata key `general.alignment` is 24, where a power of two must be; write the file again with 32";
    alignment_text: Raw::new(0, 1).text("general.alignment").u32(8).text("32") => Kind::BadAlignment { .. },
        "metadata key `general.alignment` is no whole number, where a power of two must be; write the file again with 32";
    duplicate_tensor: Raw::new(2, 0).tensor("w", &[8], 0, 0).tensor("w", &[8], 0, 32).data(64) => Kind::DuplicateTensor { .. },
        "has two tensors called `w` (descriptions 0 and 1); write the file again without one of them";
    no_dimensions: Raw::new(1, 0).tensor("w", &[], 0, 0).data(64) => Kind::DimensionCount { count: 0, .. },
        "tensor `w` has 0 dimensions (byte 33); 1 to 4 are possible: the file is damaged";
    five_dimensions: Raw::new(1, 0).tensor("w", &[1; 5], 0, 0).data(64) => Kind::DimensionCount { count: 5, .. },
        "tensor `w` has 5 dimensions (byte 33); 1 to 4 are possible: the file is damaged";
    zero_dimension: Raw::new(1, 0).tensor("w", &[8, 0], 0, 0).data(64) => Kind::ZeroDimension { dimension: 1, .. },
        "dimension 1 of tensor `w` is 0 (byte 45); the file is damaged";
    too_large: Raw::new(1, 0).tensor("w", &[1 << 32, 1 << 32], 0, 0).data(64) => Kind::TensorTooLarge { .. },
        "tensor `w` (described before byte 65) has more bytes than 64 bits can count; the file is damaged";
    too_many_bytes: Raw::new(1, 0).tensor("w", &[1 << 31, 1 << 32], 0, 0).data(64) => Kind::TensorTooLarge { .. },
        "tensor `w` (described before byte 65) has more bytes than 64 bits can count; the file is damaged";
    unsupported_type: Raw::new(1, 0).tensor("blk.0.attn_q.weight", &[256], 16, 0).data(64) => Kind::UnsupportedType { tag: 16, .. },
        "tensor `blk.0.attn_q.weight` is stored as IQ2_XXS (type 16, byte 63), which is not supported; use a file with another quantisation, such as Q4_K_M or Q8_0";
    ternary_type: Raw::new(1, 0).tensor("w", &[256], 34, 0).data(64) => Kind::UnsupportedType { type_name: "TQ1_0", .. },
        "tensor `w` is stored as TQ1_0 (type 34, byte 45), which is not supported; use a file with another quantisation, such as Q4_K_M or Q8_0";
    unknown_type: Raw::new(1, 0).tensor("w", &[256], 99, 0).data(64) => Kind::UnsupportedType { tag: 99, .. },
        "tensor `w` is stored as a type unknown to ggml (type 99, byte 45), which is not supported; use a file with another quantisation, such as Q4_K_M or Q8_0";
    ragged_row: Raw::new(1, 0).tensor("w", &[100, 2], 12, 0).data(640) => Kind::RaggedRow { row: 100, .. },
        "tensor `w` has rows of 100 elements (description ends at byte 65), which is no multiple of the 256 elements in a block of Q4_K; write the file again with another type for it";
    misaligned: Raw::new(1, 0).tensor("w", &[8], 0, 16).data(64) => Kind::Misaligned { .. },
        "the data of tensor `w` starts 16 bytes into the data section, which is no multiple of the alignment 32; the file is damaged, get it again";
    past_the_end: Raw::new(1, 0).tensor("w", &[8], 0, 0).data(31) => Kind::OutOfBounds { .. },
        "the data of tensor `w` lies at bytes 64..96 and the file has 95; it is cut short (an unfinished download?), get it again";
    offset_overflow: Raw::new(1, 0).tensor("w", &[8], 0, u64::MAX - 31).data(64) => Kind::OutOfBounds { .. },
        "the data of tensor `w` lies at bytes 18446744073709551615..18446744073709551615 and the file has 128; it is cut short (an unfinished download?), get it again";
    overlapping: Raw::new(2, 0).tensor("second", &[9], 0, 0).tensor("first", &[8], 0, 32).data(96) => Kind::Overlap { .. },
        "the data of tensors `second` and `first` overlap at byte 160; the file is damaged, get it again";
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = sound().0;
    assert!(GgufFile::parse("model.gguf", whole.clone()).is_ok());
    let header = whole.len() - 236;
    for length in 0..whole.len() {
        let error = GgufFile::parse("model.gguf", whole[..length].to_vec()).expect_err("cut short");
        match error.kind {
            Kind::NotGguf { .. } => assert!(length < 4),
            Kind::Truncated { .. } | Kind::CountTooLarge { .. } => assert!((4..header).contains(&length)),
            Kind::OutOfBounds { .. } => assert!(length >= header - 31),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn long_names_do_not_fill_the_message() {
    let name = "ä".repeat(100_000);
    let message = refusal(Raw::new(1, 0).tensor(&name, &[0], 0, 0)).to_string();
    assert!(message.len() < 400, "{} bytes", message.len());
}

#[test]
fn a_missing_tensor_is_named() {
    let file = GgufFile::parse("model.gguf", sound().0).unwrap();
    let error = file.tensor("output.weight").unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.gguf: has no tensor `output.weight`, which this model needs; `forge info` lists what it has"
    );
    assert!(matches!(error.kind, Kind::MissingTensor { tensor } if tensor == "output.weight"));
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = GgufFile::open(folder.path()).unwrap_err();
    assert!(matches!(error.kind, Kind::Directory), "{error}");
    let missing = folder.path().join("missing.gguf");
    let error = GgufFile::open(&missing).unwrap_err();
    assert!(matches!(error.kind, Kind::Io(_)));
    assert!(error.to_string().starts_with(missing.to_str().unwrap()));
    let empty = folder.path().join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    assert!(matches!(GgufFile::open(&empty).unwrap_err().kind, Kind::NotGguf { .. }));
}

/// `fixtures/make_gguf.py` wrote it with the Python package `gguf`.
#[test]
fn reads_what_the_python_package_wrote() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python.gguf");
    let file = GgufFile::open(&path).unwrap();
    assert_eq!((file.version(), file.path()), (3, path.as_path()));
    let metadata = file.metadata();
    assert_eq!(metadata.get("general.architecture"), Some(&Value::String("llama".to_owned())));
    assert_eq!(metadata.get("general.alignment"), Some(&Value::U64(64)));
    assert_eq!(metadata.get("test.u8"), Some(&Value::U64(250)));
    assert_eq!(metadata.get("test.i8"), Some(&Value::I64(-5)));
    assert_eq!(metadata.get("test.u64"), Some(&Value::U64(1 << 40)));
    assert_eq!(metadata.get("test.i64"), Some(&Value::I64(-(1 << 40))));
    assert_eq!(metadata.get("test.f32"), Some(&Value::F32(1e-6)));
    assert_eq!(metadata.get("test.f64"), Some(&Value::F32(0.25)));
    assert_eq!(metadata.get("test.bool"), Some(&Value::Bool(true)));
    assert_eq!(metadata.get("test.text"), Some(&Value::String("Grüße, 世界".to_owned())));
    assert_eq!(metadata.get("test.integers"), Some(&Value::Integers(vec![1, -2, 3])));
    assert_eq!(metadata.get("test.floats"), Some(&Value::Floats(vec![0.5, -1.5])));
    assert_eq!(metadata.get("test.bools"), Some(&Value::Bools(vec![true, false])));
    assert_eq!(metadata.get("test.strings"), Some(&Value::Strings(vec!["x".to_owned(), "ü".to_owned()])));
    let matrix = file.tensor("matrix").unwrap();
    assert_eq!((matrix.dtype, matrix.shape.as_slice()), (DType::F32, [2, 3].as_slice()));
    let values: Vec<f32> =
        file.data(matrix).chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let blocks = file.tensor("blocks").unwrap();
    assert_eq!((blocks.dtype, blocks.shape.as_slice(), blocks.bytes), (DType::Q8_0, [3, 64].as_slice(), 204));
    assert!(blocks.offset.is_multiple_of(64));
    assert_eq!(file.data(blocks), (0..204).collect::<Vec<u8>>());
    let half = file.tensor("half").unwrap();
    assert_eq!((half.dtype, half.shape.as_slice()), (DType::F16, [2, 1, 2, 3].as_slice()));
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", Value::String("llama".to_owned()));
    metadata.insert("a.u64", Value::U64(1 << 33));
    metadata.insert("a.i64", Value::I64(-7));
    metadata.insert("a.i64_long", Value::I64(-(1 << 33)));
    metadata.insert("a.f32", Value::F32(0.1));
    metadata.insert("a.bool", Value::Bool(false));
    metadata.insert("a.strings", Value::Strings(vec![String::new(), "ß".to_owned()]));
    metadata.insert("a.integers", Value::Integers(vec![i64::MIN, i64::MAX]));
    metadata.insert("a.short_integers", Value::Integers(vec![-1, 1]));
    metadata.insert("a.floats", Value::Floats(vec![]));
    metadata.insert("a.bools", Value::Bools(vec![true]));
    metadata.insert("general.alignment", Value::U64(128));
    metadata
}

fn spec(name: &str, dtype: DType, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn folder_entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let shapes = [vec![256], vec![3, 512], vec![2, 3, 256], vec![2, 1, 3, 256]];
    let specs: Vec<TensorSpec> = DType::ALL
        .iter()
        .enumerate()
        .map(|(index, &dtype)| spec(&format!("tensor.{index}"), dtype, &shapes[index % 4]))
        .collect();
    let data = |index: usize, bytes: usize| (0..bytes).map(|at| (at * 31 + index) as u8).collect::<Vec<u8>>();
    let sizes: Vec<usize> = specs
        .iter()
        .map(|spec| {
            spec.shape.iter().product::<usize>() / spec.dtype.block_elements() * spec.dtype.block_bytes()
        })
        .collect();

    let mut writer = GgufWriter::create(&path, &metadata(), &specs).unwrap();
    for (index, &size) in sizes.iter().enumerate() {
        for part in data(index, size).chunks(1000) {
            writer.write(part).unwrap();
        }
    }
    assert!(!path.exists());
    writer.finish().unwrap();
    assert_eq!(folder_entries(folder.path()), std::slice::from_ref(&path));

    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata(), &metadata());
    assert_eq!(file.tensors().len(), specs.len());
    for (index, (info, spec)) in file.tensors().iter().zip(&specs).enumerate() {
        assert_eq!((&info.name, info.dtype, &info.shape), (&spec.name, spec.dtype, &spec.shape));
        assert!(info.offset.is_multiple_of(128));
        assert_eq!(file.data(info), data(index, sizes[index]));
    }
}

#[test]
fn an_unfinished_file_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = GgufWriter::create(&path, &metadata(), &[spec("w", DType::F32, &[8])]).unwrap();
    writer.write(&[0; 16]).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, GgufWriteError::WrongLength { expected: 32, given: 16, .. }), "{error}");
    assert_eq!(folder_entries(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn two_writers_of_one_path_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let specs = [spec("w", DType::F32, &[1])];
    let create = || GgufWriter::create(&path, &metadata(), &specs).unwrap();
    let (mut first, mut second) = (create(), create());
    first.write(&[1; 4]).unwrap();
    second.write(&[2; 4]).unwrap();
    second.finish().unwrap();
    first.finish().unwrap();
    assert_eq!(folder_entries(folder.path()), std::slice::from_ref(&path));
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.data(file.tensor("w").unwrap()), [1; 4]);
}

#[test]
fn a_file_written_in_place_is_removed_unless_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.partial");
    let specs = [spec("w", DType::F32, &[1])];
    let create = || GgufWriter::create_in_place(&path, &metadata(), &specs);
    let unfinished = create().unwrap();
    assert_eq!(folder_entries(folder.path()), std::slice::from_ref(&path));
    drop(unfinished);
    assert!(!path.exists());
    let mut writer = create().unwrap();
    writer.write(&[1; 4]).unwrap();
    writer.finish().unwrap();
    assert!(GgufFile::open(&path).is_ok());
    assert!(matches!(create(), Err(GgufWriteError::Io { .. })), "an existing file is not replaced");
    assert!(GgufFile::open(&path).is_ok());
}

#[test]
fn the_writer_refuses_what_the_format_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let create =
        |specs: &[TensorSpec]| GgufWriter::create(&path, &Metadata::default(), specs).map(drop).unwrap_err();
    for shape in [&[] as &[usize], &[0, 256], &[3, 100], &[1, 1, 1, 1, 256], &[usize::MAX, 256]] {
        let error = create(&[spec("w", DType::Q4_K, shape)]);
        assert!(matches!(error, GgufWriteError::BadShape { .. }), "{shape:?}: {error}");
    }
    let twice = [spec("w", DType::F32, &[1]), spec("w", DType::F32, &[1])];
    assert!(matches!(create(&twice), GgufWriteError::DuplicateTensor(_)));
    assert!(matches!(create(&[spec(&"n".repeat(64), DType::F32, &[1])]), GgufWriteError::BadName(_)));
    let mut metadata = Metadata::default();
    metadata.insert("general.alignment", Value::U64(33));
    let error = GgufWriter::create(&path, &metadata, &[]).map(drop).unwrap_err();
    assert!(matches!(error, GgufWriteError::BadAlignment));
    let mut writer = GgufWriter::create(&path, &Metadata::default(), &[spec("w", DType::F32, &[1])]).unwrap();
    assert!(matches!(writer.write(&[0; 5]), Err(GgufWriteError::WrongLength { expected: 4, given: 5, .. })));
    let nowhere = folder.path().join("missing").join("model.gguf");
    let error = GgufWriter::create(&nowhere, &Metadata::default(), &[]).map(drop).unwrap_err();
    assert!(matches!(&error, GgufWriteError::Io { path, .. } if *path == nowhere), "{error}");
}
