//! Tensor types: comparison with the `gguf` Python package, errors, random blocks.

use std::path::PathBuf;

use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{QuantError, dequantize, random_blocks};
use proptest::prelude::*;

/// Fixtures come from `fixtures/quant/make_fixtures.py`, which says what they cover.
fn fixture(dtype: DType, extension: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/quant")
        .join(dtype.name().to_lowercase())
        .with_extension(extension);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn elements(dtype: DType, bytes: &[u8]) -> usize {
    bytes.len() / dtype.block_bytes() * dtype.block_elements()
}

#[test]
fn every_type_is_bit_equal_to_the_gguf_package() {
    for &dtype in DType::ALL {
        let bytes = fixture(dtype, "bin");
        let expected: Vec<u32> = fixture(dtype, "f32")
            .chunks_exact(4)
            .map(|x| u32::from_le_bytes(x.try_into().unwrap()))
            .collect();
        assert!(expected.len() >= 32, "{dtype}: fixture too small");

        let mut out = vec![f32::NAN; expected.len()];
        dequantize(dtype, &bytes, &mut out).unwrap();
        for (i, (x, expected)) in out.iter().zip(&expected).enumerate() {
            assert_eq!(
                x.to_bits(),
                *expected,
                "{dtype}, element {i}: {x}, not {}",
                f32::from_bits(*expected)
            );
        }
    }
}

#[test]
fn data_of_any_alignment_decode_alike() {
    for &dtype in DType::ALL {
        let bytes = fixture(dtype, "bin");
        let mut expected = vec![0.0; elements(dtype, &bytes)];
        dequantize(dtype, &bytes, &mut expected).unwrap();
        for offset in 1..4 {
            let mut shifted = vec![0xa5; offset];
            shifted.extend_from_slice(&bytes);
            let mut out = vec![0.0; expected.len()];
            dequantize(dtype, &shifted[offset..], &mut out).unwrap();
            assert_eq!(out, expected, "{dtype} at offset {offset}");
        }
    }
}

#[test]
fn wrong_lengths_are_errors_and_leave_the_output() {
    for &dtype in DType::ALL {
        let (bytes, elements) = (2 * dtype.block_bytes(), 2 * dtype.block_elements());
        let data = vec![0; bytes];
        let mut out = vec![7.0; elements + dtype.block_elements()];
        assert_eq!(
            dequantize(dtype, &data[1..], &mut out[..elements]),
            Err(QuantError::PartialBlock { dtype, bytes: bytes - 1 })
        );
        for wrong in [0, elements - 1, elements + 1, out.len()] {
            assert_eq!(
                dequantize(dtype, &data, &mut out[..wrong]),
                Err(QuantError::OutputLength { dtype, blocks: 2, elements: wrong })
            );
        }
        assert!(out.iter().all(|x| *x == 7.0), "{dtype}");
        assert_eq!(dequantize(dtype, &[], &mut []), Ok(()));
    }
}

#[test]
fn errors_name_type_and_sizes() {
    let error = dequantize(DType::Q4_K, &[0; 145], &mut [0.0; 256]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "145 bytes of Q4_K data are no whole number of blocks of 144 bytes; check the tensor's shape \
         and offset (the file may be cut short)"
    );
    let error = dequantize(DType::Q8_0, &[0; 34], &mut [0.0; 33]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 blocks of Q8_0 hold 32 elements each, but the output has room for 33; pass an output of \
         exactly the data's length"
    );
}

/// The tags and block sizes of ggml (ggml.h, `enum ggml_type`; ggml-common.h), typed in from there.
#[test]
fn tags_and_sizes_are_those_of_ggml() {
    let expected = [
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("Q8_K", 15, 256, 292),
        ("IQ4_NL", 20, 32, 18),
        ("IQ4_XS", 23, 256, 136),
        ("BF16", 30, 1, 2),
        ("MXFP4", 39, 32, 17),
    ];
    assert_eq!(expected.len(), DType::ALL.len());
    for (name, tag, elements, bytes) in expected {
        let dtype: DType = name.parse().unwrap();
        assert_eq!(DType::from_gguf_tag(tag), Some(dtype), "{name}");
        assert_eq!(dtype.gguf_tag(), tag, "{name}");
        assert_eq!(dtype.block_elements(), elements, "{name}");
        assert_eq!(dtype.block_bytes(), bytes, "{name}");
    }
    for unknown in [4, 5, 9, 16, 29, 40, u32::MAX] {
        assert_eq!(DType::from_gguf_tag(unknown), None, "tag {unknown}");
    }
}

/// SplitMix64 (Steele et al. 2014).
fn rng(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

fn random_values(dtype: DType, blocks: usize, sigma: f32, seed: u64) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::new();
    random_blocks(dtype, blocks, sigma, &mut rng(seed), &mut bytes).unwrap();
    assert_eq!(bytes.len(), blocks * dtype.block_bytes());
    let mut values = vec![f32::NAN; blocks * dtype.block_elements()];
    dequantize(dtype, &bytes, &mut values).unwrap();
    (bytes, values)
}

#[test]
fn random_blocks_have_the_deviation_asked_for() {
    for &dtype in DType::ALL {
        for sigma in [0.005_f32, 0.02, 0.03, 1.0, 100.0] {
            let blocks = (1 << 18) / dtype.block_elements();
            let (_, values) = random_values(dtype, blocks, sigma, 1);
            assert!(values.iter().all(|x| x.is_finite()), "{dtype}");
            let n = values.len() as f64;
            let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let square = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n;
            let ratio = square.sqrt() / f64::from(sigma);
            assert!(
                (mean / f64::from(sigma)).abs() < 0.03 && (ratio - 1.0).abs() < 0.03,
                "{dtype}: mean {mean}, deviation {ratio} times {sigma}"
            );
        }
    }
}

#[test]
fn random_blocks_use_every_code_and_various_scales() {
    // Where the codes lie in a block; the scale field of blocks of 32.
    let codes = [
        (DType::Q4_0, 2..18),
        (DType::Q4_1, 4..20),
        (DType::Q5_0, 2..22),
        (DType::Q5_1, 4..24),
        (DType::Q8_0, 2..34),
        (DType::Q2_K, 16..80),
        (DType::Q3_K, 0..108),
        (DType::Q4_K, 16..144),
        (DType::Q5_K, 16..176),
        (DType::Q6_K, 0..208),
        (DType::Q8_K, 4..260),
        (DType::IQ4_NL, 2..18),
        (DType::IQ4_XS, 2..136),
        (DType::MXFP4, 1..17),
    ];
    for (dtype, range) in codes {
        let (bytes, values) = random_values(dtype, 4096, 0.02, 2);
        for position in range.clone() {
            let mut seen = [false; 256];
            for block in bytes.chunks_exact(dtype.block_bytes()) {
                seen[usize::from(block[position])] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "{dtype}, byte {position}");
        }
        let mut largest: Vec<u32> = values
            .chunks_exact(dtype.block_elements())
            .map(|block| block.iter().fold(0.0_f32, |max, x| max.max(x.abs())).to_bits())
            .collect();
        largest.sort_unstable();
        largest.dedup();
        let least = if dtype == DType::MXFP4 { 2 } else { 100 };
        assert!(largest.len() >= least, "{dtype}: {} scales", largest.len());
    }
}

#[test]
fn random_blocks_of_extreme_deviation_are_finite() {
    for &dtype in DType::ALL {
        let (_, values) = random_values(dtype, 64, 0.0, 6);
        assert!(values.iter().all(|x| *x == 0.0), "{dtype}");
        for sigma in [f32::from_bits(1), f32::MIN_POSITIVE, 1e6, 1e37, f32::MAX] {
            let (_, values) = random_values(dtype, 64, sigma, 6);
            assert!(values.iter().all(|x| x.is_finite()), "{dtype}, {sigma}");
        }
    }
}

#[test]
fn random_q8_k_blocks_carry_their_sums() {
    let (bytes, _) = random_values(DType::Q8_K, 16, 0.02, 3);
    for block in bytes.chunks_exact(DType::Q8_K.block_bytes()) {
        for (codes, sum) in block[4..260].chunks_exact(16).zip(block[260..].chunks_exact(2)) {
            let expected: i16 = codes.iter().map(|code| i16::from(*code as i8)).sum();
            assert_eq!(i16::from_le_bytes([sum[0], sum[1]]), expected);
        }
    }
}

#[test]
fn random_blocks_append_and_repeat_with_the_seed() {
    for &dtype in DType::ALL {
        let mut out = vec![1, 2, 3];
        random_blocks(dtype, 5, 0.02, &mut rng(4), &mut out).unwrap();
        assert_eq!(out[..3], [1, 2, 3], "{dtype}");
        assert_eq!(out[3..], random_values(dtype, 5, 0.02, 4).0, "{dtype}");
        assert_ne!(out[3..], random_values(dtype, 5, 0.02, 5).0, "{dtype}");
    }
}

#[test]
fn impossible_random_blocks_are_errors() {
    let mut out = vec![1];
    for sigma in [f32::NAN, f32::INFINITY, -1.0] {
        let error = random_blocks(DType::Q4_0, 1, sigma, &mut rng(0), &mut out).unwrap_err();
        assert!(matches!(error, QuantError::Sigma(_)), "{error}");
    }
    for blocks in [usize::MAX, usize::MAX / 18] {
        let error = random_blocks(DType::Q4_0, blocks, 1.0, &mut rng(0), &mut out).unwrap_err();
        let dtype = DType::Q4_0;
        assert_eq!(error, QuantError::TooLarge { dtype, blocks });
    }
    assert_eq!(out, [1]);
}

proptest! {
    #[test]
    fn any_sigma_gives_finite_values(sigma in any::<u32>(), seed in any::<u64>()) {
        let sigma = f32::from_bits(sigma).abs();
        prop_assume!(sigma.is_finite());
        for &dtype in DType::ALL {
            let (_, values) = random_values(dtype, 3, sigma, seed);
            prop_assert!(values.iter().all(|x| x.is_finite()), "{}", dtype);
        }
    }

    #[test]
    fn any_bytes_and_lengths_decode_or_fail(
        bytes in prop::collection::vec(any::<u8>(), 0..700),
        room in 0_usize..800,
    ) {
        for &dtype in DType::ALL {
            let blocks = bytes.len() / dtype.block_bytes();
            let whole = bytes.len().is_multiple_of(dtype.block_bytes());
            let fits = whole && blocks * dtype.block_elements() == room;
            let mut out = vec![0.0; room];
            prop_assert_eq!(dequantize(dtype, &bytes, &mut out).is_ok(), fits);
            let whole = &bytes[..blocks * dtype.block_bytes()];
            let mut out = vec![0.0; blocks * dtype.block_elements()];
            prop_assert_eq!(dequantize(dtype, whole, &mut out), Ok(()));
        }
    }
}
