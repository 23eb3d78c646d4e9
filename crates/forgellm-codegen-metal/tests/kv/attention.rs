//! Attention over the paged cache, against f64, with every access checked.

use crate::paged::{Gpu, Kv, PAGE, Random, Tables, Work, download, nmse};
use forgellm_codegen_metal::device::attention::{AttentionShape, RowRun, Tiling, attention_needs, row_runs};
use forgellm_codegen_metal::device::kv_format::KvFormat;

/// The rows of a step, in order: (slot, position of the first row, rows).
type Rows<'a> = &'a [(usize, usize, usize)];

fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape {
        heads,
        kv_heads,
        head_dim,
        page: PAGE,
        format: KvFormat::F16,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        window: None,
        sinks: false,
    }
}

/// Runs a case and compares; gives how it was cut.
fn check(gpu: &Gpu, shape: AttentionShape, rows: Rows<'_>) -> Tiling {
    let case = Case::new(shape, rows);
    let tiling = shape.tiling(&case.runs, case.tables.pages_per_sequence);
    let got = case.run(gpu, &tiling);
    let error = nmse(&got, &case.exact());
    // Unpacked q8_0 is rounded to f16, as an f16 cache is where it is written.
    let bound = if shape.format == KvFormat::F16 { 1e-9 } else { 1e-6 };
    assert!(error <= bound, "{shape:?}, {rows:?}: NMSE {error:e}");
    tiling
}

struct Case {
    shape: AttentionShape,
    runs: Vec<RowRun>,
    tables: Tables,
    q: Vec<f32>,
    keys: Kv,
    values: Kv,
    sinks: Vec<f32>,
}

impl Case {
    /// Random queries, keys and values; keys grow along the context, so that the largest score is found anew again and again. What no row sees is not a number; but where kernels may look in units of 8 positions, it is large.
    fn new(shape: AttentionShape, rows: Rows<'_>) -> Case {
        let AttentionShape { heads, kv_heads, head_dim, .. } = shape;
        let mut random = Random(heads as u64 + 100 * head_dim as u64);
        let each = |&(slot, position, count): &(usize, usize, usize)| {
            (0..count).map(move |row| (position + row, slot))
        };
        let runs = row_runs(rows.iter().flat_map(each));
        let slots = rows.iter().map(|(slot, ..)| slot + 1).max().unwrap();
        let of_slot = |slot| rows.iter().filter(move |row| row.0 == slot);
        let lengths: Vec<usize> =
            (0..slots).map(|slot| of_slot(slot).map(|row| row.1 + row.2).max().unwrap_or(0)).collect();
        let tables = Tables::new(&lengths, &mut random);
        let zeros = || Kv::zeros(shape.format, tables.pages, kv_heads, head_dim);
        let (mut keys, mut values) = (zeros(), zeros());
        for page in 0..tables.pages {
            for (place, kv_head) in (0..PAGE).flat_map(|place| (0..kv_heads).map(move |head| (place, head))) {
                keys.fill((page, place), kv_head, f32::NAN);
                values.fill((page, place), kv_head, f32::NAN);
            }
        }
        for (slot, length) in lengths.iter().enumerate() {
            let Some(first) = of_slot(slot).map(|row| row.1).min() else { continue };
            let oldest = shape.window.map_or(0, |window| (first + 1).saturating_sub(window));
            for position in oldest / 8 * 8..length.next_multiple_of(8) {
                let place = tables.place(slot, position);
                for kv_head in 0..kv_heads {
                    if (oldest..*length).contains(&position) {
                        let growth = 1.0 + 4.0 * position as f32 / *length as f32;
                        keys.draw(place, kv_head, growth, &mut random);
                        values.draw(place, kv_head, 1.0, &mut random);
                    } else {
                        keys.fill(place, kv_head, 60000.0);
                        values.fill(place, kv_head, 60000.0);
                    }
                }
            }
        }
        let total: usize = runs.iter().map(|run| run.rows).sum();
        let (q, sinks) = (random.normals(total * heads * head_dim), random.normals(heads));
        Case { shape, runs, tables, q, keys, values, sinks }
    }

    fn run(&self, gpu: &Gpu, tiling: &Tiling) -> Vec<f32> {
        let shape = &self.shape;
        let output = gpu.output(self.q.len());
        let [q, sinks] = [&self.q, &self.sinks].map(|values| gpu.upload(values));
        let [keys, values] = [&self.keys, &self.values].map(|kv| gpu.upload(&kv.bytes));
        let tables = gpu.upload(&self.tables.entries);
        let scratch = gpu.output(shape.scratch_bytes(tiling).div_ceil(4).max(1));
        let stats = if tiling.partials > 0 { shape.sums_bytes(tiling) } else { 0 };
        let mut work: Vec<Work<'_>> = Vec::new();
        for items in tiling.items.chunks(128) {
            let buffers = vec![
                (0, &q, 0),
                (1, &keys, 0),
                (2, &values, 0),
                (3, &tables, 0),
                (5, &sinks, 0),
                (6, &output, 0),
                (7, &scratch, 0),
                (8, &scratch, stats),
            ];
            let bytes = vec![(4, bytemuck::cast_slice(items).to_vec())];
            work.push((shape.launch(tiling, items.len()), buffers, bytes));
        }
        for tiles in tiling.split_tiles.chunks(256) {
            let buffers = vec![(0, &scratch, 0), (1, &scratch, stats), (2, &sinks, 0), (3, &output, 0)];
            let queries = (tiling.queries as u32).to_le_bytes().to_vec();
            let bytes = vec![(4, bytemuck::cast_slice(tiles).to_vec()), (5, queries)];
            work.push((shape.combine_launch(tiling, tiles.len()), buffers, bytes));
        }
        gpu.run(&work);
        download(&output)
    }

    fn exact(&self) -> Vec<f64> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let mut out = Vec::with_capacity(self.q.len());
        for run in &self.runs {
            for row in 0..run.rows {
                for head in 0..heads {
                    let at = ((run.first_row + row) * heads + head) * head_dim;
                    let kv_head = head / (heads / kv_heads);
                    let place = |position| (self.tables.place(run.slot, position), kv_head);
                    out.extend(self.exact_head(&self.q[at..at + head_dim], run.position + row, head, place));
                }
            }
        }
        out
    }

    fn exact_head(
        &self,
        q: &[f32],
        position: usize,
        head: usize,
        place: impl Fn(usize) -> ((usize, usize), usize),
    ) -> Vec<f64> {
        let shape = &self.shape;
        let oldest = shape.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let score = |position| {
            let (at, kv_head) = place(position);
            let key = self.keys.get(at, kv_head);
            let dot: f64 = q.iter().zip(key).map(|(q, k)| f64::from(*q) * k).sum();
            let score = f64::from(shape.scale) * dot;
            shape.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
        };
        let scores: Vec<f64> = (oldest..=position).map(score).collect();
        let sink = shape.sinks.then(|| f64::from(self.sinks[head]));
        let largest = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
        let mut sum = sink.map_or(0.0, |sink| (sink - largest).exp());
        let mut out = vec![0.0; shape.head_dim];
        for (position, score) in (oldest..).zip(scores) {
            let weight = (score - largest).exp();
            sum += weight;
            let (at, kv_head) = place(position);
            for (out, value) in out.iter_mut().zip(self.values.get(at, kv_head)) {
                *out += weight * value;
            }
        }
        out.iter_mut().for_each(|out| *out /= sum);
        out
    }
}

#[test]
fn one_row_at_the_ends_of_pages_and_blocks() {
    let gpu = Gpu::new(&attention_needs(64));
    for context in [1, 2, 8, 9, 31, 32, 33, 127, 128, 129, 255, 256, 257, 1000] {
        check(&gpu, shape(9, 3, 64), &[(0, context - 1, 1)]);
    }
}

#[test]
fn a_long_context_is_split() {
    let gpu = Gpu::new(&attention_needs(64));
    let tiling = check(&gpu, shape(9, 3, 64), &[(0, 2999, 1)]);
    assert!(tiling.split_tiles[0].splits > 8, "{tiling:?}");
}

#[test]
fn all_head_sizes_and_ratios() {
    for (head_dim, heads, kv_heads) in [
        (8, 4, 4),
        (8, 7, 1),
        (64, 14, 2),
        (72, 3, 1),
        (80, 8, 1),
        (96, 5, 1),
        (128, 8, 2),
        (160, 2, 1),
        (256, 4, 1),
    ] {
        let gpu = Gpu::new(&attention_needs(head_dim));
        check(&gpu, shape(heads, kv_heads, head_dim), &[(0, 300, 1)]);
        check(&gpu, shape(heads, kv_heads, head_dim), &[(0, 40, 50)]);
    }
}

#[test]
fn more_query_heads_than_fit() {
    let gpu = Gpu::new(&attention_needs(16));
    for heads in [9, 16, 17, 32, 33, 71] {
        check(&gpu, shape(heads, 1, 16), &[(0, 50, 1)]);
        check(&gpu, shape(2 * heads, 2, 16), &[(0, 30, 3)]);
    }
    let gpu = Gpu::new(&attention_needs(136));
    check(&gpu, shape(20, 1, 136), &[(0, 300, 2)]);
}

#[test]
fn windows_softcap_and_sinks() {
    for head_dim in [64, 256] {
        let gpu = Gpu::new(&attention_needs(head_dim));
        for window in [Some(1), Some(31), Some(64), Some(500), None] {
            let shape = AttentionShape { window, ..shape(4, 2, head_dim) };
            let capped = AttentionShape { softcap: Some(1.5), sinks: true, ..shape };
            check(&gpu, shape, &[(0, 77, 20)]);
            check(&gpu, capped, &[(0, 0, 5)]);
            check(&gpu, capped, &[(0, 600, 1)]);
        }
    }
}

#[test]
fn mixed_sequences() {
    let gpu = Gpu::new(&attention_needs(32));
    for window in [None, Some(40)] {
        let shape = AttentionShape { window, sinks: true, ..shape(6, 2, 32) };
        check(&gpu, shape, &[(0, 0, 1), (1, 700, 1), (2, 31, 1), (3, 32, 1)]);
        check(&gpu, shape, &[(2, 5, 30), (0, 400, 1), (1, 63, 2), (2, 35, 3), (3, 0, 33)]);
    }
}

#[test]
fn many_rows_after_a_long_context() {
    let gpu = Gpu::new(&attention_needs(64));
    let tiling = check(&gpu, shape(3, 1, 64), &[(0, 2500, 12)]);
    assert!(tiling.queries == 32 && tiling.partials > 0, "{tiling:?}");
}

#[test]
fn more_items_than_a_dispatch_takes() {
    let gpu = Gpu::new(&attention_needs(8));
    let rows: Vec<(usize, usize, usize)> = (0..150).map(|slot| (slot, slot % 40, 1)).collect();
    let tiling = check(&gpu, shape(2, 2, 8), &rows);
    assert!(tiling.items.len() > 128);
}

/// Sums are rescaled in later blocks of a split, whatever their size.
#[test]
fn large_scores() {
    let gpu = Gpu::new(&attention_needs(64));
    for heads in [3, 12, 20] {
        for scale in [5.0, 40.0] {
            check(&gpu, AttentionShape { scale, ..shape(heads, 1, 64) }, &[(0, 255, 1)]);
            check(&gpu, AttentionShape { scale, ..shape(heads, 1, 64) }, &[(0, 90, 60)]);
        }
    }
}

#[test]
fn q8_0_caches() {
    for (heads, kv_heads, head_dim) in [(9, 3, 64), (4, 1, 256), (20, 2, 32), (3, 1, 96)] {
        let gpu = Gpu::new(&attention_needs(head_dim));
        let shape = AttentionShape { format: KvFormat::Q8_0, ..shape(heads, kv_heads, head_dim) };
        check(&gpu, shape, &[(0, 300, 1), (1, 32, 1), (2, 0, 1)]);
        check(&gpu, shape, &[(0, 99, 30), (1, 500, 2)]);
        check(&gpu, AttentionShape { window: Some(50), sinks: true, ..shape }, &[(0, 99, 4), (1, 150, 1)]);
    }
}

/// Each element of keys and values is loaded once for all query heads, and partial results move few bytes beside them.
#[test]
fn traffic_of_a_decode_row() {
    for (heads, kv_heads, head_dim, position, window) in [
        (9, 3, 64, 2999, None),
        (14, 2, 64, 2999, None),
        (4, 1, 256, 2999, None),
        (4, 1, 256, 2999, Some(512)),
        (32, 8, 128, 1000, None),
        (9, 3, 64, 100, None),
    ] {
        let gpu = Gpu::new(&attention_needs(head_dim));
        let shape = AttentionShape { window, ..shape(heads, kv_heads, head_dim) };
        let case = Case::new(shape, &[(0, position, 1)]);
        let tiling = shape.tiling(&case.runs, case.tables.pages_per_sequence);
        case.run(&gpu, &tiling);
        let counts = gpu.device.counters();
        let of = |kernel: usize, index: usize| {
            let buffer = counts[kernel].buffers.iter().find(|buffer| buffer.index == index);
            buffer.map_or(0, |buffer| buffer.bytes_loaded + buffer.bytes_stored)
        };
        let seen = window.map_or(position + 1, |window| window.min(position + 1));
        let least = (2 * seen * kv_heads * head_dim * 2) as f64;
        let kv = (of(0, 1) + of(0, 2)) as f64;
        let partial: u64 = of(0, 7) + of(0, 8) + if counts.len() > 1 { of(1, 0) + of(1, 1) } else { 0 };
        let all: u64 = counts.iter().map(|count| count.device_bytes_loaded + count.device_bytes_stored).sum();
        println!(
            "{heads}/{kv_heads} heads of {head_dim}, {seen} positions, {} threadgroups: keys and values {:.4} of the least, partial results {:.4}, \
             all {:.4}",
            counts[0].threadgroups,
            kv / least,
            partial as f64 / least,
            all as f64 / least
        );
        // Up to 7 positions too many at both ends.
        assert!(kv <= least * (seen + 14) as f64 / seen as f64, "{kv} of {least}");
        assert!(partial as f64 <= least / 12.0, "{partial} beside {least}");
    }
}
