//! The largest of many logits.

use std::cmp::Ordering;

use super::matrix::Isa;
use super::simd::{Kernel, LANES, Simd, dispatch};

/// The `k` largest of `logits` as `(first_id + index, logit)`, best first; equal ones in the order of their ids. NaN stands with +∞ before
/// all others, so that whoever takes the best token sees that the model is damaged.
pub(crate) fn top(isa: Isa, logits: &[f32], first_id: u32, k: usize) -> Vec<(u32, f32)> {
    if k > LIST {
        let mut all: Vec<_> = (first_id..).zip(logits.iter().copied()).collect();
        if k < all.len() {
            all.select_nth_unstable_by(k, better);
            all.truncate(k);
        }
        all.sort_unstable_by(better);
        return all;
    }
    dispatch(isa, Scan { logits, first_id, k })
}

/// The `k` best of several lists.
pub(crate) fn merge(lists: impl IntoIterator<Item = Vec<(u32, f32)>>, k: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<_> = lists.into_iter().flatten().collect();
    all.sort_unstable_by(better);
    all.truncate(k);
    all
}

/// Up to so many are kept in a sorted list while the logits pass.
const LIST: usize = 64;

/// Logits that are skipped together if none of them is large enough.
const SKIP: usize = 4 * LANES;

struct Scan<'s> {
    logits: &'s [f32],
    first_id: u32,
    k: usize,
}

impl Kernel for Scan<'_> {
    type Output = Vec<(u32, f32)>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<(u32, f32)> {
        let mut best = Vec::with_capacity(self.k + 1);
        if self.k == 0 {
            return best;
        }
        let (skips, tail) = self.logits.as_chunks::<SKIP>();
        let mut id = self.first_id;
        let zero = simd.splat(0.0);
        // 0 until something that is not finite is added.
        let mut finite = zero;
        for logits in skips {
            let mut largest = simd.splat(f32::NEG_INFINITY);
            for vector in logits.as_chunks::<LANES>().0 {
                let vector = simd.load(vector);
                largest = simd.max(vector, largest);
                finite = simd.fma(vector, zero, finite);
            }
            if best.len() < self.k || best.last().is_some_and(|(_, least)| simd.largest(largest) > *least) {
                insert(&mut best, self.k, id, logits);
            }
            id += SKIP as u32;
        }
        if simd.sum(finite) != 0.0 {
            // The comparisons of vectors pass NaN over.
            best.clear();
            insert(&mut best, self.k, self.first_id, self.logits);
            return best;
        }
        insert(&mut best, self.k, id, tail);
        best
    }
}

fn insert(best: &mut Vec<(u32, f32)>, k: usize, first_id: u32, logits: &[f32]) {
    for (id, &logit) in (first_id..).zip(logits) {
        let place = place(logit);
        if best.len() == k && best.last().is_some_and(|(_, least)| place <= self::place(*least)) {
            continue;
        }
        let at = best.partition_point(|(_, other)| self::place(*other) >= place);
        best.insert(at, (id, logit));
        best.truncate(k);
    }
}

/// By what logits are ordered.
fn place(logit: f32) -> f32 {
    if logit.is_nan() { f32::INFINITY } else { logit }
}

fn better(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    place(b.1).total_cmp(&place(a.1)).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
        let mut all: Vec<_> = (7..).zip(logits.iter().copied()).collect();
        let place = |logit: f32| if logit.is_nan() { f32::INFINITY } else { logit };
        all.sort_by(|a, b| place(b.1).total_cmp(&place(a.1)).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    /// NaN is equal to itself here.
    fn bits(all: Vec<(u32, f32)>) -> Vec<(u32, u32)> {
        all.into_iter().map(|(id, logit)| (id, logit.to_bits())).collect()
    }

    #[test]
    fn the_best_come_first_and_ties_by_id() {
        for isa in Isa::available() {
            let mut state = 1u32;
            for len in [0, 1, 5, 63, 64, 65, 1000] {
                // Few different values make many ties.
                let mut logits: Vec<f32> = (0..len)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as f32 / 16.0 - 8.0
                    })
                    .collect();
                if len > 60 {
                    logits[3] = f32::NAN;
                    logits[60] = f32::NAN;
                    logits[10] = f32::NEG_INFINITY;
                }
                for k in [0, 1, 2, 10, 64, 65, 200, 2000] {
                    let want = bits(sorted(&logits, k));
                    assert_eq!(bits(top(isa, &logits, 7, k)), want, "{len} logits, top {k}");
                    let split = len / 3;
                    let halves =
                        [top(isa, &logits[..split], 7, k), top(isa, &logits[split..], 7 + split as u32, k)];
                    assert_eq!(bits(merge(halves, k)), want, "{len} logits in two parts, top {k}");
                }
            }
        }
    }

    #[test]
    fn one_nan_is_the_best_wherever_it_stands() {
        for isa in Isa::available() {
            for at in [0, 17, 63, 64, 199] {
                let mut logits = [1.0; 200];
                logits[at] = -f32::NAN;
                let best = top(isa, &logits, 0, 1);
                assert!(best[0].0 == at as u32 && best[0].1.is_nan(), "{}: {best:?}", isa.name());
            }
        }
    }

    #[test]
    fn all_nan_gives_as_many_as_asked_for() {
        for isa in Isa::available() {
            let ids: Vec<u32> = top(isa, &[f32::NAN; 200], 0, 3).into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids, [0, 1, 2]);
        }
    }
}
