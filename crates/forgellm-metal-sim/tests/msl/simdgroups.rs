//! Functions between the lanes of a simdgroup and of a quad.

use crate::per_lane;

fn inputs(threads: usize) -> Vec<f32> {
    (0..threads).map(|i| (i * 7 % 13) as f32 - 5.0).collect()
}

/// What a lane should have: from the values of its simdgroup (or what there is of one) and its place in it.
type Expected<'e> = &'e dyn Fn(&[f32], usize) -> f32;

/// Checks float expressions in simdgroups of several sizes.
fn check(cases: &[(&str, Expected<'_>)]) {
    check_groups(32, cases);
}

/// The same within quads.
fn check_quads(cases: &[(&str, Expected<'_>)]) {
    check_groups(4, cases);
}

fn check_groups(size: usize, cases: &[(&str, Expected<'_>)]) {
    let expressions: Vec<&str> = cases.iter().map(|(expression, _)| *expression).collect();
    for threads in [32, 64, 20, 5] {
        let x = inputs(threads);
        for ((expression, expected), values) in cases.iter().zip(per_lane("", &expressions, &x, threads)) {
            for (i, value) in values.iter().enumerate() {
                let first = i / size * size;
                let expected = expected(&x[first..threads.min(first + size)], i - first);
                assert!(
                    *value == expected || (expected.is_nan() && value.is_nan()),
                    "{expression}: thread {i} of {threads} has {value}, not {expected}"
                );
            }
        }
    }
}

fn least(x: &[f32]) -> f32 {
    x.iter().copied().fold(f32::INFINITY, f32::min)
}

fn greatest(x: &[f32]) -> f32 {
    x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[test]
fn reductions() {
    check(&[
        ("simd_sum(x[lane])", &|x, _| x.iter().sum()),
        ("simd_min(x[lane])", &|x, _| least(x)),
        ("simd_max(x[lane])", &|x, _| greatest(x)),
        ("simd_product(x[lane] < 0 ? 2.0f : 1.0f)", &|x, _| {
            x.iter().map(|v| if *v < 0.0 { 2.0 } else { 1.0 }).product()
        }),
        ("float(simd_and(int(x[lane]) | 8))", &|x, _| x.iter().fold(-1, |a, v| a & (*v as i32 | 8)) as f32),
        ("float(simd_or(int(x[lane])))", &|x, _| x.iter().fold(0, |a, v| a | *v as i32) as f32),
        ("float(simd_xor(int(x[lane])))", &|x, _| x.iter().fold(0, |a, v| a ^ *v as i32) as f32),
        ("simd_sum(half(x[lane]))", &|x, _| x.iter().sum()),
        ("simd_sum(float4(x[lane], 1, 2, 3)).x + simd_sum(int2(1, 2)).y", &|x, _| {
            x.iter().sum::<f32>() + 2.0 * x.len() as f32
        }),
        ("simd_sum(x[lane] > 0)", &|x, _| x.iter().filter(|v| **v > 0.0).count() as f32),
    ]);
    check_quads(&[
        ("quad_sum(x[lane])", &|x, _| x.iter().sum()),
        ("quad_max(x[lane])", &|x, _| greatest(x)),
        ("quad_min(x[lane])", &|x, _| least(x)),
        ("quad_product(x[lane])", &|x, _| x.iter().product()),
    ]);
}

/// A sum is a tree over lanes, whatever the order in which threads run: these numbers tell trees apart.
#[test]
fn sums_add_in_the_order_of_a_butterfly() {
    let x: Vec<f32> = (0..32).map(|i| if i % 3 == 0 { 1e8 } else { 1.0 + i as f32 }).collect();
    let mut tree = x.clone();
    for width in [16, 8, 4, 2, 1] {
        for i in 0..width {
            tree[i] += tree[i + width];
        }
    }
    assert_eq!(per_lane("", &["simd_sum(x[lane])"], &x, 32), [vec![tree[0]; 32]]);
    assert_ne!(tree[0], x.iter().sum::<f32>());
}

#[test]
fn prefix_sums() {
    let factor = |v: &f32| if *v < 0.0 { 2.0 } else { 1.0 };
    check(&[
        ("simd_prefix_inclusive_sum(x[lane])", &|x, lane| x[..=lane].iter().sum()),
        ("simd_prefix_exclusive_sum(x[lane])", &|x, lane| x[..lane].iter().sum()),
        ("simd_prefix_inclusive_product(x[lane] < 0 ? 2.0f : 1.0f)", &|x, lane| {
            x[..=lane].iter().map(factor).product()
        }),
        ("simd_prefix_exclusive_product(x[lane] < 0 ? 2.0f : 1.0f)", &|x, lane| {
            x[..lane].iter().map(factor).product()
        }),
    ]);
    check_quads(&[
        ("quad_prefix_inclusive_sum(x[lane])", &|x, lane| x[..=lane].iter().sum()),
        ("quad_prefix_exclusive_sum(x[lane])", &|x, lane| x[..lane].iter().sum()),
    ]);
}

/// A lane that is not there gives NaN: its value is undefined.
fn at(x: &[f32], lane: usize) -> f32 {
    x.get(lane).copied().unwrap_or(f32::NAN)
}

#[test]
fn shuffles() {
    check(&[
        ("simd_broadcast(x[lane], 3)", &|x, _| x[3]),
        ("simd_broadcast_first(x[lane])", &|x, _| x[0]),
        ("simd_shuffle(x[lane], 31 - lane % 32)", &|x, lane| at(x, 31 - lane)),
        ("simd_shuffle_xor(x[lane], 5)", &|x, lane| at(x, lane ^ 5)),
        ("simd_shuffle_down(x[lane], 3)", &|x, lane| if lane + 3 < 32 { at(x, lane + 3) } else { x[lane] }),
        ("simd_shuffle_up(x[lane], 3)", &|x, lane| if lane >= 3 { x[lane - 3] } else { x[lane] }),
        ("simd_shuffle_rotate_down(x[lane], 3)", &|x, lane| at(x, (lane + 3) % 32)),
        ("simd_shuffle_rotate_up(x[lane], 3)", &|x, lane| at(x, (lane + 29) % 32)),
        ("simd_shuffle_xor(half2(x[lane], 1), 1).x", &|x, lane| at(x, lane ^ 1)),
    ]);
    check_quads(&[
        ("quad_broadcast(x[lane], 0)", &|x, _| x[0]),
        ("quad_shuffle(x[lane], 3 - lane % 4)", &|x, lane| at(x, 3 - lane)),
        ("quad_shuffle_xor(x[lane], 2)", &|x, lane| at(x, lane ^ 2)),
        ("quad_shuffle_down(x[lane], 1)", &|x, lane| if lane < 3 { at(x, lane + 1) } else { x[lane] }),
        ("quad_shuffle_rotate_up(x[lane], 1)", &|x, lane| at(x, (lane + 3) % 4)),
    ]);
}

#[test]
fn shuffle_and_fill() {
    let fill = |x: &[f32], lane: usize| at(x, lane) + 100.0;
    check(&[
        ("simd_shuffle_and_fill_up(x[lane], x[lane] + 100, 3)", &|x, lane| {
            if lane >= 3 { x[lane - 3] } else { fill(x, lane + 29) }
        }),
        ("simd_shuffle_and_fill_down(x[lane], x[lane] + 100, 3)", &|x, lane| {
            if lane + 3 < 32 { at(x, lane + 3) } else { fill(x, lane - 29) }
        }),
        ("simd_shuffle_and_fill_down(x[lane], x[lane] + 100, 3, 8)", &|x, lane| {
            let (base, place) = (lane / 8 * 8, lane % 8);
            if place + 3 < 8 { at(x, base + place + 3) } else { fill(x, base + place - 5) }
        }),
    ]);
}

#[test]
fn votes() {
    check(&[
        ("simd_all(x[lane] > -6) ? 1.0f : 0.0f", &|_, _| 1.0),
        ("simd_all(lane % 32 != 3) ? 1.0f : 0.0f", &|_, _| 0.0),
        ("simd_any(lane % 32 == 3) ? 1.0f : 0.0f", &|_, _| 1.0),
        ("simd_any(lane > 1000) ? 1.0f : 0.0f", &|_, _| 0.0),
        ("float(ulong(simd_ballot(lane % 32 < 4)))", &|_, _| 15.0),
        ("popcount(ulong(simd_active_threads_mask()))", &|x, _| x.len() as f32),
        ("simd_is_first() ? 1.0f : 0.0f", &|_, lane| if lane == 0 { 1.0 } else { 0.0 }),
    ]);
    check_quads(&[
        ("float(ushort(quad_ballot(lane % 2 == 0)))", &|x, _| if x.len() > 2 { 5.0 } else { 1.0 }),
        ("quad_all(lane % 4 != 3) ? 1.0f : 0.0f", &|x, _| if x.len() == 4 { 0.0 } else { 1.0 }),
        ("quad_any(lane % 4 == 0) ? 1.0f : 0.0f", &|_, _| 1.0),
        ("quad_is_first() ? 1.0f : 0.0f", &|_, lane| if lane == 0 { 1.0 } else { 0.0 }),
    ]);
}

/// Only the lanes that come to the same place take part.
#[test]
fn divergent_lanes_meet_at_their_own_place() {
    let definitions = "static float f(float v, uint lane) {
        if (lane % 2 == 0) { return simd_sum(v); } else { return 100 + simd_sum(v); } }";
    let x = vec![1f32; 32];
    let expected: Vec<f32> = (0..32).map(|i| if i % 2 == 0 { 16.0 } else { 116.0 }).collect();
    assert_eq!(per_lane(definitions, &["f(x[lane], lane)"], &x, 32), [expected]);
    // The same text in both branches, joined or not by the compiler.
    let after = "static float g(float v, uint lane) {
        float s = v; if (lane < 8) { s = v * 2; } else { s = v * 3; } return simd_sum(s); }";
    assert_eq!(per_lane(after, &["g(x[lane], lane)"], &x, 32), [vec![8.0 * 2.0 + 24.0 * 3.0; 32]]);
    // Loops of different lengths: later rounds have fewer lanes.
    let loops = "static float h(uint lane) {
        float s = 0; for (uint i = 0; i <= lane % 4; ++i) s += simd_sum(1.0f); return s; }";
    let expected: Vec<f32> = (0..32).map(|i| [32.0, 56.0, 72.0, 80.0][i % 4]).collect();
    assert_eq!(per_lane(loops, &["h(lane)"], &x, 32), [expected]);
}
