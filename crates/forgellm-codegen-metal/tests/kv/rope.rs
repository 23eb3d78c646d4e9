//! Rope and the way into the cache, against f64, with every access checked.

use crate::paged::{Gpu, Kv, PAGE, Random, Tables, download, nmse};
use forgellm_codegen_metal::device::kv_format::KvFormat;
use forgellm_codegen_metal::device::rope::{HeadNorm, Rope, RopeKv, RopeStyle, kv_write_launch, rope_needs};
use forgellm_codegen_metal::device::weights::Vector;

#[derive(Debug, Clone, Copy)]
pub struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    style: RopeStyle,
    scale: f32,
    q_norm: bool,
    k_norm: bool,
}

const CASES: &[Case] = &[
    Case::new(9, 3, 64, 64, RopeStyle::Interleaved),
    Case::new(14, 2, 64, 64, RopeStyle::HalfSplit),
    Case::new(4, 1, 256, 256, RopeStyle::HalfSplit),
    Case::new(4, 1, 256, 64, RopeStyle::Interleaved),
    Case::new(3, 3, 80, 32, RopeStyle::HalfSplit),
    Case::new(1, 1, 8, 8, RopeStyle::HalfSplit),
    Case::new(5, 1, 72, 2, RopeStyle::Interleaved),
    Case::new(2, 1, 128, 0, RopeStyle::HalfSplit),
];

/// (slot, position) of each row.
const ROWS: &[(usize, usize)] = &[(0, 0), (1, 31), (1, 32), (0, 1), (2, 5000), (3, 100)];

const EPS: f32 = 1e-5;

impl Case {
    /// Heads without norms.
    pub const fn new(
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        rotary_dim: usize,
        style: RopeStyle,
    ) -> Case {
        Case { heads, kv_heads, head_dim, rotary_dim, style, scale: 1.0, q_norm: false, k_norm: false }
    }

    pub fn rope(&self) -> Rope {
        let inv_freq = Vector { offset: 0, len: self.rotary_dim / 2 };
        Rope { style: self.style, inv_freq, scale: self.scale }
    }

    pub fn rope_kv(&self) -> RopeKv {
        let norm =
            |is: bool| is.then_some(HeadNorm { weight: Vector { offset: 0, len: self.head_dim }, eps: EPS });
        RopeKv {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            q_norm: norm(self.q_norm),
            k_norm: norm(self.k_norm),
            rope: self.rope(),
        }
    }

    pub fn frequencies(&self) -> Vec<f32> {
        // One more, so that there is something to bind if nothing turns.
        (0..self.rotary_dim / 2 + 1).map(|pair| 0.8f32.powi(pair as i32)).collect()
    }

    /// A head, normed if there is a weight, then turned.
    pub fn exact(&self, head: &[f32], norm: Option<&[f32]>, position: Option<usize>) -> Vec<f64> {
        let mut x: Vec<f64> = head.iter().map(|x| f64::from(*x)).collect();
        if let Some(weight) = norm {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            let factor = 1.0 / (mean + f64::from(EPS)).sqrt();
            x.iter_mut().zip(weight).for_each(|(x, weight)| *x *= factor * f64::from(*weight));
        }
        let Some(position) = position else { return x };
        let pairs = self.rotary_dim / 2;
        for (pair, frequency) in self.frequencies()[..pairs].iter().enumerate() {
            let angle = position as f64 * f64::from(*frequency);
            let (sin, cos) = (angle.sin() * f64::from(self.scale), angle.cos() * f64::from(self.scale));
            let (first, second) = match self.style {
                RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                RopeStyle::HalfSplit => (pair, pair + pairs),
            };
            let (a, b) = (x[first], x[second]);
            (x[first], x[second]) = (a * cos - b * sin, a * sin + b * cos);
        }
        x
    }
}

/// What the rows need of a step: page tables, positions, slots.
struct Step {
    tables: Tables,
    positions: Vec<u32>,
    slots: Vec<u32>,
}

impl Step {
    fn new(random: &mut Random) -> Step {
        let length = |slot| ROWS.iter().filter(|row| row.0 == slot).map(|row| row.1 + 1).max().unwrap();
        Step {
            tables: Tables::new(&[length(0), length(1), length(2), length(3)], random),
            positions: ROWS.iter().map(|row| row.1 as u32).collect(),
            slots: ROWS.iter().map(|row| row.0 as u32).collect(),
        }
    }

    fn pages_per_sequence(&self) -> Vec<u8> {
        (self.tables.pages_per_sequence as u32).to_le_bytes().to_vec()
    }

    /// Checks that the cache holds the exact values where the rows lie, and nothing anywhere else.
    fn check_cache(&self, mut cache: Kv, exact: impl Fn(usize, usize) -> Vec<f64>) {
        for (row, (slot, position)) in ROWS.iter().enumerate() {
            let place = self.tables.place(*slot, *position);
            for kv_head in 0..cache.kv_heads {
                let want = exact(row, kv_head);
                let got = cache.get(place, kv_head);
                for (got, want) in got.chunks(32).zip(want.chunks(32)) {
                    // Half a step: of each number's own precision, or of the scale of the 32.
                    let largest = want.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
                    for (got, want) in got.iter().zip(want) {
                        let want = want.clamp(-65504.0, 65504.0);
                        let bound = match cache.format {
                            KvFormat::F16 => want.abs() / 2040.0 + 1e-6,
                            // The scale is rounded too, and 127 steps of it count.
                            KvFormat::Q8_0 => largest * (0.5 / 127.0 + 1.0 / 2040.0) + 1e-6,
                        };
                        assert!((got - want).abs() <= bound, "row {row}: {got}, not {want}");
                    }
                }
                cache.clear(place, kv_head);
            }
        }
        assert!(cache.bytes.iter().all(|byte| *byte == 0), "other places were written");
    }
}

#[test]
fn from_the_projection_to_queries_and_cache() {
    let gpu = Gpu::new(&rope_needs());
    for case in CASES {
        check_qkv(&gpu, *case, KvFormat::F16);
        check_qkv(&gpu, Case { q_norm: true, k_norm: true, scale: 1.2, ..*case }, KvFormat::F16);
        if case.head_dim.is_multiple_of(32) {
            check_qkv(&gpu, Case { k_norm: true, ..*case }, KvFormat::Q8_0);
        }
    }
    check_qkv(&gpu, Case { k_norm: true, ..CASES[0] }, KvFormat::F16);
}

fn check_qkv(gpu: &Gpu, case: Case, format: KvFormat) {
    let Case { heads, kv_heads, head_dim, .. } = case;
    let mut random = Random(head_dim as u64);
    let step = Step::new(&mut random);
    let all = heads + 2 * kv_heads;
    let mut qkv = random.normals(ROWS.len() * all * head_dim);
    // A value that f16 cannot hold.
    qkv[all * head_dim - 1] = 1e9;
    let (q_norm, k_norm) = (random.normals(head_dim), random.normals(head_dim));
    let q = gpu.output(ROWS.len() * heads * head_dim);
    let empty = || Kv::zeros(format, step.tables.pages, kv_heads, head_dim);
    let [keys, values] = [(), ()].map(|()| gpu.upload(&empty().bytes));
    let inputs = [&qkv, &q_norm, &k_norm, &case.frequencies()].map(|values| gpu.upload(values));
    let numbers = [&step.tables.entries, &step.positions, &step.slots].map(|values| gpu.upload(values));
    let buffers = vec![
        (0, &inputs[0], 0),
        (1, &q, 0),
        (2, &keys, 0),
        (3, &values, 0),
        (4, &numbers[0], 0),
        (5, &numbers[1], 0),
        (6, &numbers[2], 0),
        (7, &inputs[3], 0),
        (8, &inputs[1], 0),
        (9, &inputs[2], 0),
    ];
    let launch = case.rope_kv().launch(PAGE, format, ROWS.len());
    gpu.run(&[(launch, buffers, vec![(10, step.pages_per_sequence())])]);

    let head = |row: usize, head: usize| &qkv[(row * all + head) * head_dim..][..head_dim];
    let want: Vec<f64> = (0..ROWS.len() * heads)
        .flat_map(|item| {
            let (row, query) = (item / heads, item % heads);
            case.exact(head(row, query), case.q_norm.then_some(&q_norm), Some(ROWS[row].1))
        })
        .collect();
    let error = nmse(&download(&q), &want);
    assert!(error <= 1e-12, "{case:?}: NMSE {error:e}");
    step.check_cache(Kv { bytes: download(&keys), ..empty() }, |row, kv_head| {
        case.exact(head(row, heads + kv_head), case.k_norm.then_some(&k_norm), Some(ROWS[row].1))
    });
    step.check_cache(Kv { bytes: download(&values), ..empty() }, |row, kv_head| {
        case.exact(head(row, heads + kv_heads + kv_head), None, None)
    });
}

#[test]
fn rope_alone_and_in_place() {
    let gpu = Gpu::new(&rope_needs());
    for case in CASES {
        let Case { heads, head_dim, .. } = *case;
        let mut random = Random(head_dim as u64);
        let step = Step::new(&mut random);
        let x = random.normals(ROWS.len() * heads * head_dim);
        let want: Vec<f64> = x
            .chunks(head_dim)
            .enumerate()
            .flat_map(|(index, head)| case.exact(head, None, Some(ROWS[index / heads].1)))
            .collect();
        let (input, output) = (gpu.upload(&x), gpu.output(x.len()));
        let [positions, frequencies] = [gpu.upload(&step.positions), gpu.upload(&case.frequencies())];
        for output in [&output, &input] {
            let launch = case.rope().launch(heads, head_dim, ROWS.len());
            let buffers = vec![(0, &input, 0), (1, output, 0), (2, &positions, 0), (3, &frequencies, 0)];
            gpu.run(&[(launch, buffers, vec![])]);
            let error = nmse(&download(output), &want);
            assert!(error <= 1e-12, "{case:?}: NMSE {error:e}");
        }
    }
}

#[test]
fn keys_and_values_into_the_cache() {
    let gpu = Gpu::new(&rope_needs());
    for (kv_heads, head_dim, format) in [
        (3, 64, KvFormat::F16),
        (1, 256, KvFormat::F16),
        (5, 8, KvFormat::F16),
        (2, 80, KvFormat::F16),
        (3, 64, KvFormat::Q8_0),
        (1, 32, KvFormat::Q8_0),
        (2, 96, KvFormat::Q8_0),
    ] {
        let mut random = Random(head_dim as u64);
        let step = Step::new(&mut random);
        let width = kv_heads * head_dim;
        let (mut k, v) = (random.normals(ROWS.len() * width), random.normals(ROWS.len() * width));
        // Nothing to scale by.
        k[..width].fill(0.0);
        let inputs = [&k, &v].map(|values| gpu.upload(values));
        let empty = || Kv::zeros(format, step.tables.pages, kv_heads, head_dim);
        let caches = [(), ()].map(|()| gpu.upload(&empty().bytes));
        let numbers = [&step.tables.entries, &step.positions, &step.slots].map(|values| gpu.upload(values));
        let buffers = vec![
            (0, &inputs[0], 0),
            (1, &inputs[1], 0),
            (2, &caches[0], 0),
            (3, &caches[1], 0),
            (4, &numbers[0], 0),
            (5, &numbers[1], 0),
            (6, &numbers[2], 0),
        ];
        let launch = kv_write_launch(kv_heads, head_dim, PAGE, format, ROWS.len());
        gpu.run(&[(launch, buffers, vec![(7, step.pages_per_sequence())])]);
        for (cache, x) in caches.iter().zip([&k, &v]) {
            step.check_cache(Kv { bytes: download(cache), ..empty() }, |row, kv_head| {
                let at = row * width + kv_head * head_dim;
                x[at..at + head_dim].iter().map(|x| f64::from(*x)).collect()
            });
        }
    }
}
