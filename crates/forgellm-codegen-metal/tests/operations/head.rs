//! The most likely tokens.

use forgellm_codegen_metal::device::head::{NAN_ID, Top, top_needs};

use crate::gpu::{Bound, Gpu, Random, download};

/// The `k` best `(id, logit)` of each row, from the GPU.
fn top(gpu: &Gpu, logits: &[f32], vocab: usize, k: usize) -> Vec<Vec<(u32, f32)>> {
    let wanted = logits.len() / vocab;
    let top = Top::new(vocab, k);
    let [lists, nans, end] = top.places(wanted);
    let (logits, scratch) = (gpu.upload(logits), gpu.device.buffer(end, "scratch").unwrap());
    let results = gpu.output(wanted * top.k() * 2);
    let list_arguments =
        vec![(0, Bound::Buffer(&logits)), (1, Bound::At(&scratch, lists)), (2, Bound::At(&scratch, nans))];
    let merge_arguments =
        vec![(0, Bound::At(&scratch, lists)), (1, Bound::At(&scratch, nans)), (2, Bound::Buffer(&results))];
    gpu.run(&[(top.lists(wanted), list_arguments), (top.merge(wanted), merge_arguments)]);
    let words: Vec<u32> = download(&results);
    words
        .chunks(top.k() * 2)
        .map(|row| row.chunks(2).map(|pair| (pair[0], f32::from_bits(pair[1]))).collect())
        .collect()
}

/// The same by sorting.
fn sorted(logits: &[f32], vocab: usize, k: usize) -> Vec<Vec<(u32, f32)>> {
    let row = |logits: &[f32]| {
        let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    };
    logits.chunks(vocab).map(row).collect()
}

fn check(gpu: &Gpu, logits: &[f32], vocab: usize, k: usize) {
    assert_eq!(top(gpu, logits, vocab, k), sorted(logits, vocab, k), "the {k} best of {vocab}");
}

#[test]
fn the_best_of_any_vocabulary() {
    let gpu = Gpu::new(&top_needs());
    let mut random = Random(9);
    for vocab in [1, 2, 32, 33, 127, 128, 2047, 2048, 2049, 4100, 32_003] {
        for k in [1, 2, 32, 33, 65, 256] {
            check(&gpu, &random.normals(2 * vocab), vocab, k);
        }
    }
    for (vocab, k) in [(49_152, 64), (151_936, 40), (262_144, 1), (262_144, 20)] {
        check(&gpu, &random.normals(vocab), vocab, k);
    }
}

#[test]
fn ties_go_to_the_lower_id() {
    let gpu = Gpu::new(&top_needs());
    let mut random = Random(3);
    for vocab in [40, 5000, 9001] {
        // Few different values, and both zeros.
        let logits: Vec<f32> = (0..3 * vocab)
            .map(|_| match random.bits() >> 61 {
                0 => 0.0,
                1 => -0.0,
                value => value as f32 - 7.0,
            })
            .collect();
        for k in [1, 5, 40, 100] {
            check(&gpu, &logits, vocab, k);
        }
        check(&gpu, &vec![f32::NEG_INFINITY; vocab], vocab, 7);
        check(&gpu, &vec![f32::INFINITY; vocab], vocab, 7);
        check(&gpu, &vec![-1.5; vocab], vocab, 33);
    }
}

#[test]
fn rising_and_falling_logits() {
    let gpu = Gpu::new(&top_needs());
    let rising: Vec<f32> = (0..6000).map(|id| id as f32 - 3000.0).collect();
    let falling: Vec<f32> = rising.iter().rev().copied().collect();
    for k in [1, 70] {
        check(&gpu, &rising, 6000, k);
        check(&gpu, &falling, 6000, k);
    }
}

#[test]
fn what_is_not_a_number_is_reported() {
    let gpu = Gpu::new(&top_needs());
    let mut random = Random(4);
    let vocab = 4500;
    for (at, nan) in [(0, f32::NAN), (2047, -f32::NAN), (4499, f32::from_bits(0x7f80_0001))] {
        for k in [1, 40] {
            let mut logits = random.normals(3 * vocab);
            logits[vocab + at] = nan;
            let got = top(&gpu, &logits, vocab, k);
            assert_eq!(got[1][0].0, NAN_ID, "a NaN at {at}, top {k}");
            // The other rows are as ever, and the rest of this one too.
            logits[vocab + at] = f32::NEG_INFINITY;
            let want = sorted(&logits, vocab, k);
            assert_eq!([&got[0], &got[2]], [&want[0], &want[2]]);
            assert_eq!(got[1][1..], want[1][1..]);
            assert_eq!(got[1][0].1, want[1][0].1);
        }
    }
}
