//! Matrix kernels of every format and instruction set against dot products in f64.

#[path = "matrix/blocks.rs"]
mod blocks;
#[path = "matrix/check.rs"]
mod check;

use blocks::{Fill, random_matrix};
use check::{check_shape, nmse};
use forgellm_codegen_cpu::device::matrix::format::*;
use forgellm_codegen_cpu::device::matrix::{Isa, IsaError, LayoutError, Matrix};
use forgellm_codegen_cpu::pack::{self, PackError};
use forgellm_frontend::ir::DType;

/// One test per format: shapes that pad the last panel or not, one block or an odd number of them.
macro_rules! format_tests {
    ($($test:ident: $format:ident, $dtype:ident, $($out:literal x $inputs:literal),+;)*) => {$(
        #[test]
        fn $test() {
            let mut exact = Vec::new();
            $(exact.extend(check_shape::<$format, $out, $inputs>(DType::$dtype));)+
            let error = nmse(&exact);
            assert!(error <= 1e-4, "against unquantised activations: NMSE {error:e}");
        }
    )*};
}

format_tests! {
    f32: F32, F32, 1 x 1, 15 x 7, 16 x 32, 17 x 100, 33 x 576, 48 x 33;
    f16: F16, F16, 1 x 1, 15 x 7, 16 x 32, 17 x 100, 33 x 576, 48 x 33;
    bf16: BF16, BF16, 1 x 1, 15 x 7, 16 x 32, 17 x 100, 33 x 576, 48 x 33;
    q4_0: Q4_0, Q4_0, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    q4_1: Q4_1, Q4_1, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    q5_0: Q5_0, Q5_0, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    q5_1: Q5_1, Q5_1, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    q8_0: Q8_0, Q8_0, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    q2_k: Q2_K, Q2_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    q3_k: Q3_K, Q3_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    q4_k: Q4_K, Q4_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    q5_k: Q5_K, Q5_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    q6_k: Q6_K, Q6_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    q8_k: Q8_K, Q8_K, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    iq4_nl: IQ4_NL, IQ4_NL, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
    iq4_xs: IQ4_XS, IQ4_XS, 1 x 256, 15 x 768, 16 x 512, 17 x 256, 33 x 1280, 48 x 256;
    mxfp4: MXFP4, MXFP4, 1 x 32, 15 x 96, 16 x 64, 17 x 160, 33 x 576, 48 x 32;
}

/// Rows as wide as the intermediate size of an 8B Llama: nothing in a kernel has a fixed width, and no narrow sum overflows on the way.
#[test]
fn rows_wider_than_8192() {
    let errors = [
        nmse(&check_shape::<F16, 17, 14_336>(DType::F16)),
        nmse(&check_shape::<BF16, 17, 14_336>(DType::BF16)),
        nmse(&check_shape::<F32, 17, 14_336>(DType::F32)),
        nmse(&check_shape::<Q4_0, 17, 14_336>(DType::Q4_0)),
        nmse(&check_shape::<Q4_1, 17, 14_336>(DType::Q4_1)),
        nmse(&check_shape::<Q5_0, 17, 14_336>(DType::Q5_0)),
        nmse(&check_shape::<Q5_1, 17, 14_336>(DType::Q5_1)),
        nmse(&check_shape::<Q8_0, 17, 14_336>(DType::Q8_0)),
        nmse(&check_shape::<Q2_K, 17, 14_336>(DType::Q2_K)),
        nmse(&check_shape::<Q3_K, 17, 14_336>(DType::Q3_K)),
        nmse(&check_shape::<Q4_K, 17, 14_336>(DType::Q4_K)),
        nmse(&check_shape::<Q5_K, 17, 14_336>(DType::Q5_K)),
        nmse(&check_shape::<Q6_K, 17, 14_336>(DType::Q6_K)),
        nmse(&check_shape::<Q8_K, 17, 14_336>(DType::Q8_K)),
        nmse(&check_shape::<IQ4_NL, 17, 14_336>(DType::IQ4_NL)),
        nmse(&check_shape::<IQ4_XS, 17, 14_336>(DType::IQ4_XS)),
        nmse(&check_shape::<MXFP4, 17, 14_336>(DType::MXFP4)),
    ];
    assert!(errors.iter().all(|error| *error <= 1e-4), "against unquantised activations: {errors:?}");
}

#[test]
fn packed_bytes_stay_within_five_percent() {
    for &dtype in DType::ALL {
        let (out, inputs) = (48, 3 * dtype.block_elements());
        let gguf = dtype.row_bytes(inputs).unwrap() * out;
        let packed = pack::packed_bytes(dtype, out, inputs).unwrap();
        assert!(packed as f64 <= 1.05 * gguf as f64, "{dtype}: {packed} of {gguf} bytes");
    }
}

#[test]
fn panels_packed_apart_equal_the_whole() {
    for &dtype in DType::ALL {
        let (out, inputs) = (49, 3 * dtype.block_elements());
        let gguf = random_matrix(dtype, out, inputs, Fill::Random, 5);
        let mut whole = vec![1; pack::packed_bytes(dtype, out, inputs).unwrap()];
        pack::pack(dtype, out, inputs, &gguf, &mut whole).unwrap();
        let panel = pack::panel_bytes(dtype, inputs).unwrap();
        let mut parts = vec![2; whole.len()];
        let (first, second) = parts.split_at_mut(3 * panel);
        pack::pack_panels(dtype, out, inputs, &gguf, 3..4, second).unwrap();
        pack::pack_panels(dtype, out, inputs, &gguf, 0..3, first).unwrap();
        assert!(whole == parts, "{dtype}");
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let gguf = random_matrix(DType::Q4_K, 16, 256, Fill::Random, 1);
    let mut packed = vec![0; pack::packed_bytes(DType::Q4_K, 16, 256).unwrap()];
    let pack = |inputs, gguf: &[u8], dst: &mut [u8]| pack::pack(DType::Q4_K, 16, inputs, gguf, dst);
    assert!(matches!(pack(255, &gguf, &mut packed), Err(PackError::Shape { inputs: 255, .. })));
    assert!(matches!(pack(256, &gguf[1..], &mut packed), Err(PackError::Source { found: 2303, .. })));
    assert!(matches!(pack(256, &gguf, &mut packed[1..]), Err(PackError::Destination { .. })));
    assert!(matches!(
        pack::pack_panels(DType::Q4_K, 16, 256, &gguf, 1..2, &mut packed),
        Err(PackError::Panels { found: 1, .. })
    ));
    assert_eq!(pack::packed_bytes(DType::Q4_K, usize::MAX, 256), None);
    assert_eq!(
        Matrix::<Q4_K, 16, 256>::new(&packed[1..]).map(|_| ()),
        Err(LayoutError { format: "Q4_K", out: 16, inputs: 256, expected: 2368, found: 2367 })
    );
}

#[test]
fn instruction_sets_have_names() {
    for isa in Isa::available() {
        assert_eq!(Isa::from_name(isa.name()).unwrap().name(), isa.name());
    }
    assert_eq!(Isa::from_name("sse9").map(Isa::name), Err(IsaError::Unknown("sse9".to_owned())));
    let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    assert_eq!(Isa::from_name(foreign).map(Isa::name), Err(IsaError::Unavailable(foreign.to_owned())));
}
