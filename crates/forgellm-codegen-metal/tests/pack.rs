//! Packing of every type, against a reader of planes that follows the documentation of `device::format`.

#[path = "it/blocks.rs"]
mod blocks;

use blocks::random_matrix;
use forgellm_codegen_metal::device::format::{FORMATS, PLANE_ALIGNMENT, PlaneLayout};
use forgellm_codegen_metal::pack::{self, PackError};
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{self, E2M1_DOUBLED, IQ4_VALUES};

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
                for (i, expected) in expected.iter().enumerate() {
                    let found = element(dtype, &planes, &layout, i / inputs, i % inputs);
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{dtype} {outputs} x {inputs}, element {i}"
                    );
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
        for row in 0..3 {
            for column in 33..64 {
                assert_eq!(element(dtype, &planes, &layout, row, column), 0.0);
            }
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

/// An element as the documentation of the planes says, computed in the order of operations of `quant`.
fn element(dtype: DType, planes: &[u8], layout: &PlaneLayout, row: usize, column: usize) -> f32 {
    let bytes = |plane: usize| &planes[layout.offsets[plane] + row * layout.row_bytes[plane]..];
    let bits = |plane: usize, width: usize| {
        let quads = 8 / width;
        let (quad, b) = (column % 32 / 4, column % 4);
        let group = &bytes(plane)[column / 32 * 4 * width..];
        group[4 * (quad / quads) + b] >> (width * (quad % quads)) & (u8::MAX >> (8 - width))
    };
    let half = |plane: usize, index: usize| {
        let at = &bytes(plane)[2 * index..];
        half::f16::from_le_bytes([at[0], at[1]]).to_f32()
    };
    let (group, block) = (column / 32, column / 256);
    let signed = |plane: usize, index: usize| f32::from(bytes(plane)[index] as i8);
    let k_scale = |plane: usize| {
        let (scale, minimum) = (bytes(plane)[2 * group], bytes(plane)[2 * group + 1]);
        (half(plane + 1, 2 * block) * f32::from(scale), half(plane + 1, 2 * block + 1) * f32::from(minimum))
    };
    let five = |high: usize| f32::from(bits(0, 4) | bits(high, 1) << 4);
    match dtype {
        DType::F32 => f32::from_le_bytes(bytes(0)[4 * column..][..4].try_into().unwrap()),
        DType::F16 => half(0, column),
        DType::BF16 => f32::from_le_bytes([0, 0, bytes(0)[2 * column], bytes(0)[2 * column + 1]]),
        DType::Q4_0 => half(1, group) * (f32::from(bits(0, 4)) - 8.0),
        DType::Q4_1 => half(1, 2 * group) * f32::from(bits(0, 4)) + half(1, 2 * group + 1),
        DType::Q5_0 => half(2, group) * (five(1) - 16.0),
        DType::Q5_1 => half(2, 2 * group) * five(1) + half(2, 2 * group + 1),
        DType::Q8_0 => signed(0, column) * half(1, group),
        DType::Q2_K => {
            let packed = bytes(1)[column / 16];
            let scale = half(2, 2 * block) * f32::from(packed & 15);
            scale * f32::from(bits(0, 2)) - half(2, 2 * block + 1) * f32::from(packed >> 4)
        }
        DType::Q3_K => {
            half(3, block) * signed(2, column / 16) * (f32::from(bits(0, 2) | bits(1, 1) << 2) - 4.0)
        }
        DType::Q4_K => {
            let (scale, minimum) = k_scale(1);
            scale * f32::from(bits(0, 4)) - minimum
        }
        DType::Q5_K => {
            let (scale, minimum) = k_scale(2);
            scale * five(1) - minimum
        }
        DType::Q6_K => {
            half(3, block) * signed(2, column / 16) * (f32::from(bits(0, 4) | bits(1, 2) << 4) - 32.0)
        }
        DType::Q8_K => {
            let d = bytes(1)[4 * block..][..4].try_into().unwrap();
            f32::from_le_bytes(d) * signed(0, column)
        }
        DType::IQ4_NL => half(1, group) * f32::from(IQ4_VALUES[usize::from(bits(0, 4))]),
        DType::IQ4_XS => half(2, block) * signed(1, group) * f32::from(IQ4_VALUES[usize::from(bits(0, 4))]),
        DType::MXFP4 => {
            let scale = quant::BlockMxfp4 { e: bytes(1)[group], qs: [0; 16] }.half_scale();
            scale * f32::from(E2M1_DOUBLED[usize::from(bits(0, 4))])
        }
    }
}
