//! Packing of every type, against the reader of planes of the self-check, which follows the documentation of `device::format`.

#[path = "it/blocks.rs"]
mod blocks;

use blocks::random_matrix;
use forgellm_codegen_metal::device::format::{FORMATS, PLANE_ALIGNMENT, PlaneLayout};
use forgellm_codegen_metal::device::selfcheck::matrix::{Element, elements};
use forgellm_codegen_metal::pack::{self, PackError};
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant;

#[test]
fn planes_hold_what_the_blocks_held() {
    for &dtype in DType::ALL {
        for outputs in [1, 2, 7] {
            for blocks in [1, 3] {
                let inputs = blocks * if dtype.is_float() { 33 } else { dtype.block_elements() };
                let gguf = random_matrix(dtype, outputs, inputs, 1.0, 7);
                let mut expected = vec![0.0; outputs * inputs];
                quant::dequantize(dtype, &gguf, &mut expected).unwrap();
                let planes = packed(dtype, outputs, inputs, &gguf);
                let layout = pack::format_of(dtype).layout(outputs, inputs).unwrap();
                for (number, expected) in expected.chunks(inputs).enumerate() {
                    let found = row(dtype, &planes, &layout, number, inputs);
                    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                        // The blocks' reference computes in f32.
                        let error = (found.value - f64::from(*expected)).abs();
                        let rounding = 2.0 * f64::from(f32::EPSILON) * found.size;
                        assert!(
                            error <= rounding,
                            "{dtype} {outputs} x {inputs}, {number}, {i}: {found:?}, {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_floats_are_padded_with_zeros() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let planes = packed(dtype, 3, 33, &random_matrix(dtype, 3, 33, 1.0, 3));
        let layout = pack::format_of(dtype).layout(3, 33).unwrap();
        for number in 0..3 {
            let row = row(dtype, &planes, &layout, number, 64);
            assert!(row[33..].iter().all(|element| element.value == 0.0));
        }
    }
}

#[test]
fn packed_matrices_stay_within_five_percent() {
    for &dtype in DType::ALL {
        for (outputs, inputs) in [(64, 512), (576, 1536), (151_936, 4096)] {
            let gguf = dtype.row_bytes(inputs).unwrap() * outputs;
            let packed = pack::packed_bytes(dtype, outputs, inputs).unwrap();
            assert!(packed as f64 <= 1.05 * gguf as f64, "{dtype}: {packed} of {gguf} bytes");
        }
    }
}

#[test]
fn planes_are_aligned_and_apart() {
    for format in FORMATS {
        let layout = format.layout(3, 256).unwrap();
        let mut end = 0;
        for (offset, row_bytes) in layout.offsets.into_iter().zip(layout.row_bytes).take(format.planes.len())
        {
            assert!(offset.is_multiple_of(PLANE_ALIGNMENT) && offset >= end, "{}: {layout:?}", format.name);
            end = offset + 3 * row_bytes;
        }
        assert_eq!(end, layout.bytes, "{}", format.name);
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let gguf = random_matrix(DType::Q4_K, 16, 256, 1.0, 1);
    let mut packed = vec![0; pack::packed_bytes(DType::Q4_K, 16, 256).unwrap()];
    let pack = |inputs, gguf: &[u8], dst: &mut [u8]| pack::pack(DType::Q4_K, 16, inputs, gguf, dst);
    assert!(matches!(pack(255, &gguf, &mut packed), Err(PackError::Shape { inputs: 255, .. })));
    assert!(matches!(pack(0, &[], &mut packed), Err(PackError::Shape { inputs: 0, .. })));
    assert!(matches!(pack(256, &gguf[1..], &mut packed), Err(PackError::Source { found: 2303, .. })));
    assert!(matches!(pack(256, &gguf, &mut packed[1..]), Err(PackError::Destination { .. })));
    assert_eq!(pack::packed_bytes(DType::Q4_K, usize::MAX, 256), None);
    assert_eq!(pack::packed_bytes(DType::F32, 1, usize::MAX), None);
    assert_eq!(pack::packed_bytes(DType::Q5_0, 1 << 24, 1 << 12), None, "planes beyond 32 bits");
}

fn packed(dtype: DType, outputs: usize, inputs: usize, gguf: &[u8]) -> Vec<u8> {
    let mut planes = vec![0xff; pack::packed_bytes(dtype, outputs, inputs).unwrap()];
    pack::pack(dtype, outputs, inputs, gguf, &mut planes).unwrap();
    planes
}

/// The elements of a row.
fn row(dtype: DType, planes: &[u8], layout: &PlaneLayout, row: usize, columns: usize) -> Vec<Element> {
    let bytes = std::array::from_fn(|plane| {
        let bytes = layout.row_bytes[plane];
        &planes[layout.offsets[plane] + row * bytes..][..bytes]
    });
    elements(pack::format_of(dtype), &bytes, columns).unwrap()
}
