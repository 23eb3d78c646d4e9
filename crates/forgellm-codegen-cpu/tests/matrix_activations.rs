//! Quantised activations: accuracy, sums, and the same bits on every instruction set.

use forgellm_codegen_cpu::device::matrix::{ActivationBlock, Isa, quantise_row};

#[test]
fn codes_are_the_nearest_and_sums_are_exact() {
    let x: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.37).collect();
    for isa in Isa::available() {
        for (block, values) in quantise(isa, &x).iter().zip(x.chunks_exact(32)) {
            let codes = codes(block);
            for (&code, &value) in codes.iter().zip(values) {
                let error = (f32::from(code) * block.scale - value).abs();
                assert!(error <= 0.501 * block.scale, "{}: {value} became {code}", isa.name());
            }
            assert_eq!(codes.iter().map(|code| code.unsigned_abs()).max(), Some(127), "{}", isa.name());
            let sum = |codes: &[i8]| codes.iter().map(|&code| i32::from(code)).sum::<i32>();
            let halves = [sum(&codes[..16]), sum(&codes[16..])];
            assert_eq!((block.half_sums, block.sum), (halves, halves[0] + halves[1]));
            assert_eq!(block.scaled_sum, block.scale * block.sum as f32);
            assert_eq!(block.scaled_half_sums, halves.map(|sum| block.scale * sum as f32));
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut state = 1u32;
    let mut x: Vec<f32> = Vec::new();
    for block in 0..200 {
        let size = 2.0f32.powi(block - 100);
        x.extend((0..32).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as i32 as f32 / 2.0f32.powi(31) * size
        }));
    }
    // Values half way between two codes: 127 is the scale.
    x.extend((0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 15.5 }));
    x.extend([0.0; 32]);
    x.extend([-0.0; 32]);
    x.extend([f32::from_bits(1); 32]);
    x.extend([f32::MAX; 32]);
    let expected = quantise(Isa::from_name("portable").unwrap(), &x);
    for isa in Isa::available() {
        let blocks = quantise(isa, &x);
        for (i, (block, expected)) in blocks.iter().zip(&expected).enumerate() {
            assert_eq!(block, expected, "{}: block {i}", isa.name());
        }
    }
}

#[test]
fn zeros_and_values_too_small_for_a_scale_are_zero() {
    for isa in Isa::available() {
        for value in [0.0, -0.0, 1e-40] {
            let block = quantise(isa, &[value; 32])[0];
            assert_eq!((codes(&block), block.sum), ([0; 32], 0), "{}: {value}", isa.name());
        }
    }
}

#[test]
fn values_that_are_not_finite_show_in_their_block_alone() {
    for isa in Isa::available() {
        for (at, value) in [(0, f32::NAN), (31, -f32::NAN), (3, f32::INFINITY), (9, f32::NEG_INFINITY)] {
            let mut x = [1.0; 64];
            x[at] = value;
            let blocks = quantise(isa, &x);
            assert_eq!(codes(&blocks[1]), [127; 32], "{}: the next block", isa.name());
            assert!(!blocks[0].scale.is_finite(), "{}: {value} is hidden", isa.name());
        }
    }
}

fn quantise(isa: Isa, x: &[f32]) -> Vec<ActivationBlock> {
    let mut blocks = vec![ActivationBlock::default(); x.len() / 32];
    quantise_row(isa, x, &mut blocks);
    blocks
}

fn codes(block: &ActivationBlock) -> [i8; 32] {
    bytemuck::cast(block.words.map(i32::to_le))
}
