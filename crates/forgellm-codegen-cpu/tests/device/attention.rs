//! Attention with its way from the joint projection, over pages, windows and mixed sequences.

use std::collections::BTreeMap;

use forgellm_codegen_cpu::device::matrix::Isa;
use forgellm_codegen_cpu::device::{
    Attention, Buffer, CacheSpec, CpuEngine, HeadNorm, Rope, RopeKv, RopeStyle, Run, attention, kv_write,
    rope_kv, slice,
};
use forgellm_codegen_cpu::runtime::engine::{Engine, Row, SequenceId, Want};
use half::f16;

use crate::ops::turned;
use crate::program::{Program, TABLE, THREADS, f32_matrix, hidden, options, random, row};

/// Steps of a schedule: for each sequence, how many rows it adds.
type Schedule = &'static [&'static [(usize, usize)]];

/// A prompt in pieces, single rows, and three sequences mixed.
const MIXED: Schedule = &[
    &[(0, 1)],
    &[(0, 60), (1, 3)],
    &[(1, 61)],
    &[(0, 30), (1, 33)],
    &[(0, 64)],
    &[(2, 7), (0, 1), (1, 1)],
    &[(1, 63)],
    &[(0, 64)],
    &[(0, 50)],
    &[(0, 1), (1, 1), (2, 1)],
    &[(0, 1)],
    &[(2, 40), (0, 20)],
    &[(0, 1)],
];

/// The same rows, one sequence after the other.
const APART: Schedule = &[
    &[(0, 64)],
    &[(0, 27)],
    &[(0, 64)],
    &[(0, 65 - 1)],
    &[(0, 50)],
    &[(0, 1)],
    &[(0, 1)],
    &[(0, 20)],
    &[(0, 2)],
    &[(1, 64)],
    &[(1, 64)],
    &[(1, 34)],
    &[(2, 48)],
];

fn token(sequence: usize, position: usize) -> u32 {
    ((sequence * 31 + position * 17 + position / 5) % TABLE) as u32
}

/// Runs a schedule; gives the result of each row of each sequence.
fn results(engine: &mut impl Engine, schedule: Schedule) -> BTreeMap<(usize, usize), Vec<f32>> {
    let sequences: Vec<SequenceId> = (0..3).map(|_| engine.begin().expect("a sequence")).collect();
    let mut held = [0; 3];
    let mut results = BTreeMap::new();
    for step in schedule {
        let mut rows: Vec<Row> = Vec::new();
        let mut names = Vec::new();
        // Rows of the sequences of a step take turns.
        let longest = step.iter().map(|(_, count)| *count).max().unwrap_or(0);
        for turn in 0..longest {
            for (sequence, count) in *step {
                if turn < *count {
                    let position = held[*sequence];
                    held[*sequence] += 1;
                    rows.push(row(sequences[*sequence], position, token(*sequence, position), Want::Hidden));
                    names.push((*sequence, position));
                }
            }
        }
        for (name, result) in names.into_iter().zip(engine.step(&rows).expect("runs")) {
            results.insert(name, hidden(&result).to_vec());
        }
    }
    results
}

struct Case {
    window: Option<usize>,
    softcap: Option<f32>,
    sinks: bool,
    norms: bool,
    style: RopeStyle,
}

fn check<const HEADS: usize, const KV_HEADS: usize, const HEAD_DIM: usize, const W: usize, const Q: usize>(
    case: Case,
) {
    assert!(W == (HEADS + 2 * KV_HEADS) * HEAD_DIM && Q == HEADS * HEAD_DIM);
    let spec = CacheSpec { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD_DIM, window: case.window };
    let caches: &'static [CacheSpec] = vec![spec].leak();
    let values: Vec<f32> = random(9, TABLE * W).iter().map(|x| 2.0 * x).collect();
    let inv_freq: Vec<f32> = (0..HEAD_DIM / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
    let (q_norm, k_norm) = (random(1, HEAD_DIM), random(2, HEAD_DIM));
    let sinks = random(3, HEADS);
    let how = Attention { scale: 0.4, softcap: case.softcap, sinks: case.sinks.then_some(&sinks) };
    let rope = Rope { style: case.style, inv_freq: &inv_freq, scale: 1.0 };
    let norm = |weight| case.norms.then_some(HeadNorm { weight, eps: 1e-5 });
    let rope_how = RopeKv {
        heads: HEADS,
        kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        q_norm: norm(&q_norm),
        k_norm: norm(&k_norm),
        rope,
    };
    let exact = Exact {
        case: &case,
        heads: HEADS,
        kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        q_norm: &q_norm,
        k_norm: &k_norm,
        sinks: &sinks,
        inv_freq: &inv_freq,
    };

    for isa in Isa::available() {
        let mut first: Option<BTreeMap<(usize, usize), Vec<f32>>> = None;
        for threads in THREADS {
            for schedule in [MIXED, APART] {
                let q: Buffer<Q> = Buffer::at(W + Q);
                let program = Program::<W, Q, _> {
                    table: f32_matrix(&values),
                    row_arena: W + 2 * Q,
                    output: Program::<W, Q, ()>::Y,
                    caches,
                    body: |run: &Run<'_>| {
                        rope_kv(run, Program::<W, Q, ()>::X, &rope_how, 0, q);
                        run.barrier();
                        attention(run, q, &how, 0, Program::<W, Q, ()>::Y);
                    },
                };
                let mut engine = CpuEngine::open(program, &options(threads, isa)).expect("opens");
                let results = results(&mut engine, schedule);
                match &first {
                    // The same bits, whatever runs beside a row and however many threads there are.
                    Some(first) => assert!(results == *first, "{threads} threads, {}", isa.name()),
                    None => {
                        for ((sequence, position), got) in &results {
                            // All of the beginning, then samples: the reference is slow.
                            if *position < 8 || (position + sequence) % 13 == 0 {
                                let want = exact.row(&values, *sequence, *position);
                                for (got, want) in got.iter().zip(want) {
                                    assert!(
                                        (f64::from(*got) - want).abs() < 4e-3,
                                        "sequence {sequence}, position {position}: {got}, not {want} ({})",
                                        isa.name()
                                    );
                                }
                            }
                        }
                        first = Some(results);
                    }
                }
            }
        }
    }
}

/// The same in f64, but for the cache's rounding to f16.
struct Exact<'e> {
    case: &'e Case,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    q_norm: &'e [f32],
    k_norm: &'e [f32],
    sinks: &'e [f32],
    inv_freq: &'e [f32],
}

impl Exact<'_> {
    fn head(&self, values: &[f32], sequence: usize, position: usize, index: usize) -> Vec<f64> {
        let width = (self.heads + 2 * self.kv_heads) * self.head_dim;
        let at = token(sequence, position) as usize * width + index * self.head_dim;
        let mut head: Vec<f64> = values[at..][..self.head_dim].iter().map(|x| f64::from(*x)).collect();
        if index >= self.heads + self.kv_heads {
            return head;
        }
        if self.case.norms {
            let weight = if index < self.heads { self.q_norm } else { self.k_norm };
            let squares: f64 = head.iter().map(|x| x * x).sum();
            let factor = 1.0 / (squares / self.head_dim as f64 + 1e-5).sqrt();
            for (x, w) in head.iter_mut().zip(weight) {
                *x *= factor * f64::from(*w);
            }
        }
        turned(&head, self.case.style, self.inv_freq, 1.0, position)
    }

    fn row(&self, values: &[f32], sequence: usize, position: usize) -> Vec<f64> {
        let rounded =
            |head: Vec<f64>| head.into_iter().map(|x| f16::from_f64(x).to_f64()).collect::<Vec<_>>();
        let oldest = self.case.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let mut result = Vec::new();
        for head in 0..self.heads {
            let kv_head = head / (self.heads / self.kv_heads);
            let q = self.head(values, sequence, position, head);
            let scores: Vec<f64> = (oldest..=position)
                .map(|key| {
                    let k = rounded(self.head(values, sequence, key, self.heads + kv_head));
                    let score = 0.4 * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                    self.case.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                })
                .collect();
            let sink = self.case.sinks.then(|| f64::from(self.sinks[head]));
            let largest = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().copied().chain(sink).map(|score| (score - largest).exp()).sum();
            let mut output = vec![0.0; self.head_dim];
            for (key, score) in (oldest..=position).zip(scores) {
                let v = rounded(self.head(values, sequence, key, self.heads + self.kv_heads + kv_head));
                for (y, v) in output.iter_mut().zip(v) {
                    *y += (score - largest).exp() / sum * v;
                }
            }
            result.extend(output);
        }
        result
    }
}

const PLAIN: Case =
    Case { window: None, softcap: None, sinks: false, norms: false, style: RopeStyle::HalfSplit };

#[test]
fn tiny_heads() {
    check::<4, 2, 8, 64, 32>(PLAIN);
}

#[test]
fn heads_of_no_whole_vector_with_sinks() {
    check::<3, 1, 20, 100, 60>(Case { sinks: true, style: RopeStyle::Interleaved, ..PLAIN });
}

#[test]
fn many_queries_for_a_key_head() {
    check::<8, 1, 16, 160, 128>(Case { softcap: Some(3.0), ..PLAIN });
}

#[test]
fn heads_of_64_in_groups_of_three() {
    check::<6, 2, 64, 640, 384>(Case { norms: true, ..PLAIN });
}

#[test]
fn wide_heads_with_a_short_window() {
    check::<2, 1, 256, 1024, 512>(Case { window: Some(5), norms: true, softcap: Some(20.0), ..PLAIN });
}

#[test]
fn a_window_over_pages() {
    check::<2, 2, 24, 144, 48>(Case { window: Some(70), ..PLAIN });
}

#[test]
fn a_window_over_chunks() {
    check::<2, 1, 8, 32, 16>(Case { window: Some(260), sinks: true, ..PLAIN });
}

#[test]
fn writing_the_cache_apart_gives_the_same() {
    const HEAD: usize = 24;
    const W: usize = 4 * HEAD;
    const Q: usize = 2 * HEAD;
    const Y: Buffer<Q> = Buffer::at(W);
    const QS: Buffer<Q> = Buffer::at(W + Q);
    const K: Buffer<HEAD> = Buffer::at(W + 2 * Q);
    const V: Buffer<HEAD> = Buffer::at(W + 2 * Q + HEAD);
    static CACHES: [CacheSpec; 1] = [CacheSpec { heads: 2, kv_heads: 1, head_dim: HEAD, window: None }];
    let values = random(8, TABLE * W);
    let still = [0.0; HEAD / 2];
    let rope = Rope { style: RopeStyle::HalfSplit, inv_freq: &still, scale: 1.0 };
    let how = Attention { scale: 1.0, softcap: None, sinks: None };
    let fused = RopeKv { heads: 2, kv_heads: 1, head_dim: HEAD, q_norm: None, k_norm: None, rope };
    let mut all = Vec::new();
    for is_fused in [true, false] {
        let program = Program::<W, Q, _> {
            table: f32_matrix(&values),
            row_arena: W + 3 * Q,
            output: Y,
            caches: &CACHES,
            body: |run: &Run<'_>| {
                let x: Buffer<W> = Buffer::at(0);
                if is_fused {
                    rope_kv(run, x, &fused, 0, QS);
                } else {
                    slice(run, x, 0, QS);
                    slice(run, x, Q, K);
                    slice(run, x, Q + HEAD, V);
                    run.barrier();
                    kv_write(run, K, V, 0);
                }
                run.barrier();
                attention(run, QS, &how, 0, Y);
            },
        };
        let isa = Isa::available().next().expect("an instruction set");
        let mut engine = CpuEngine::open(program, &options(2, isa)).expect("opens");
        all.push(results(&mut engine, MIXED));
    }
    assert!(all[0] == all[1]);
}
