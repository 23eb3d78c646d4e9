//! Rows of the embedding table.

use forgellm_codegen_metal::device::embed::{EARLIER_RESULT as EARLIER, Embed, embed_needs};
use forgellm_codegen_metal::pack::format_of;
use forgellm_frontend::ir::DType;

use crate::paged::{Gpu, Random, download};
use crate::weights::Weights;

const VOCAB: usize = 19;

/// Runs it for these tokens and results (one of two words each) and compares.
fn check(dtype: DType, width: usize, scale: f32, tokens: &[u32], results: &[u32]) {
    let mut random = Random(width as u64);
    let table = Weights::random(dtype, VOCAB, width, &mut random);
    let gpu = Gpu::new(&embed_needs(format_of(dtype)));
    let (planes, y) = (gpu.upload(&table.packed), gpu.output(tokens.len() * width));
    let (token_buffer, result_buffer) = (gpu.upload(tokens), gpu.upload(results));
    let embed = Embed { format: format_of(dtype), vocab: VOCAB, width, scale };
    let words = [(results.len() / 2) as u32, 2].map(u32::to_le_bytes).concat();
    let buffers = vec![(0, &planes, 0), (1, &y, 0), (2, &token_buffer, 0), (3, &result_buffer, 0)];
    gpu.run(&[(embed.launch(tokens.len()), buffers, vec![(4, words)])]);

    let got = download::<f32>(&y);
    for (row, token) in got.chunks(width).zip(tokens) {
        let token = if token & EARLIER == 0 {
            *token
        } else {
            results.get(2 * (token & !EARLIER) as usize).copied().unwrap_or(u32::MAX)
        };
        for (column, got) in row.iter().enumerate() {
            let want = match token as usize {
                token if token < VOCAB => scale * table.numbers[token * width + column],
                _ => 0.0,
            };
            assert!(
                (got - want).abs() <= 1e-6 * want.abs(),
                "{dtype}, token {token}, column {column}: {got} {want}"
            );
        }
    }
}

#[test]
fn every_type() {
    for &dtype in DType::ALL {
        let width = 5 * dtype.block_elements().max(33);
        check(dtype, width - width % dtype.block_elements(), 1.0, &[0, 18, 7], &[0, 0]);
    }
}

#[test]
fn widths() {
    for width in [1, 3, 16, 17, 20, 1024, 1030] {
        check(DType::F16, width, 24.0, &[3, 18], &[0, 0]);
    }
    check(DType::Q8_0, 1056, 0.5, &[5; 9], &[0, 0]);
}

#[test]
fn tokens_of_the_step_before() {
    check(DType::Q4_0, 64, 1.0, &[EARLIER | 1, 4, EARLIER], &[9, 99, 18, 99]);
}

#[test]
fn what_is_no_token_reads_nothing() {
    let results = [19, 0, u32::MAX, 0];
    let tokens = [19, 20, EARLIER - 1, EARLIER, EARLIER | 1, EARLIER | 2, u32::MAX];
    check(DType::Q6_K, 256, 1.0, &tokens, &results);
    check(DType::F32, 33, 1.0, &tokens, &results);
}
