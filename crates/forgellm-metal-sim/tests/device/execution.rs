//! What kernels compute, in every build and under every order of threads.

use forgellm_metal_sim::sim::api::{Constant, ConstantValue};

use crate::{buffer, devices, run, text, values};

/// Small whole numbers, so that sums of floats are exact in any order.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7 % 23) as f32 - 9.0).collect()
}

#[test]
fn sums_over_threadgroups_of_any_size() {
    let source = text("kernels/reductions.metal");
    for device in devices() {
        for (groups, threads, n) in [(1, 1, 5), (3, 32, 100), (2, 100, 1000), (5, 1024, 3000), (1, 33, 7)] {
            let x = numbers(groups * n);
            let (input, output) = (buffer(&device, "x", &x), buffer(&device, "y", &vec![0f32; groups]));
            run(
                &device,
                &source,
                "sum",
                &[],
                |encoder| {
                    encoder.buffer(0, &input, 0);
                    encoder.buffer(1, &output, 0);
                    encoder.bytes(2, &(n as u32).to_le_bytes());
                    encoder.threadgroup_memory(0, 128);
                },
                ([groups, 1, 1], [threads, 1, 1]),
            )
            .unwrap();
            let expected: Vec<f32> = x.chunks(n).map(|chunk| chunk.iter().sum()).collect();
            assert_eq!(values::<f32>(&output), expected, "{groups} {threads} {n}");
        }
    }
}

#[test]
fn trees_and_prefix_sums() {
    let source = text("kernels/reductions.metal");
    for device in devices() {
        let x = numbers(4 * 256);
        let (input, output) = (buffer(&device, "x", &x), buffer(&device, "y", &[0f32; 4]));
        let bind = |encoder: &mut forgellm_metal_sim::sim::api::Encoder<'_>| {
            encoder.buffer(0, &input, 0);
            encoder.buffer(1, &output, 0);
        };
        run(&device, &source, "tree", &[], bind, ([4, 1, 1], [256, 1, 1])).unwrap();
        let expected: Vec<f32> = x.chunks(256).map(|chunk| chunk.iter().sum()).collect();
        assert_eq!(values::<f32>(&output), expected);

        for threads in [1, 31, 32, 200, 1024] {
            let x: Vec<u32> = (0..threads as u32).map(|i| i * i % 11).collect();
            let (input, output) = (buffer(&device, "x", &x), buffer(&device, "y", &vec![0u32; threads]));
            let bind = |encoder: &mut forgellm_metal_sim::sim::api::Encoder<'_>| {
                encoder.buffer(0, &input, 0);
                encoder.buffer(1, &output, 0);
            };
            run(&device, &source, "prefix", &[], bind, ([1; 3], [threads, 1, 1])).unwrap();
            let mut sum = 0;
            let expected: Vec<u32> = x
                .iter()
                .map(|value| {
                    sum += value;
                    sum
                })
                .collect();
            assert_eq!(values::<u32>(&output), expected);
        }
    }
}

#[test]
fn the_last_simdgroup_may_be_partial() {
    let source = text("kernels/reductions.metal");
    for device in devices() {
        let y = buffer(&device, "y", &[0u32; 50]);
        run(&device, &source, "active", &[], |e| e.buffer(0, &y, 0), ([1; 3], [10, 5, 1])).unwrap();
        let expected: Vec<u32> = (0..50).map(|i| if i < 32 { 32 } else { 18 }).collect();
        assert_eq!(values::<u32>(&y), expected);
    }
}

#[test]
fn threads_know_their_place_in_three_dimensions() {
    let source = text("kernels/positions.metal");
    let (groups, size) = ([3, 2, 2], [4, 3, 5]);
    let total = [12, 6, 10];
    for device in devices() {
        let places = buffer(&device, "places", &[0u32; 22 * 12 * 6 * 10]);
        run(&device, &source, "places", &[], |e| e.buffer(0, &places, 0), (groups, size)).unwrap();
        for (i, place) in values::<u32>(&places).chunks(22).enumerate() {
            let grid = [i % total[0], i / total[0] % total[1], i / total[0] / total[1]];
            let mut expected: Vec<u32> = Vec::new();
            let axes = |value: &dyn Fn(usize) -> usize| [0, 1, 2].map(|axis| value(axis) as u32);
            expected.extend(axes(&|axis| grid[axis]));
            expected.extend(axes(&|axis| grid[axis] / size[axis]));
            expected.extend(axes(&|axis| grid[axis] % size[axis]));
            expected.extend(axes(&|axis| size[axis]));
            expected.extend(axes(&|axis| groups[axis]));
            expected.extend(axes(&|axis| total[axis]));
            let index = (grid[2] % 5 * 3 + grid[1] % 3) * 4 + grid[0] % 4;
            expected.extend([index as u32, index as u32 % 32, index as u32 / 32, 2]);
            assert_eq!(place, expected, "{i}");
        }
    }
}

#[test]
fn lanes_that_diverge_meet_again() {
    let source = text("kernels/divergence.metal");
    for device in devices() {
        let go = |kernel: &str, count: usize| {
            let y = buffer(&device, "y", &vec![0u32; count]);
            run(&device, &source, kernel, &[], |e| e.buffer(0, &y, 0), ([1; 3], [32, 1, 1])).unwrap();
            values::<u32>(&y)
        };
        let thirds = |rest: u32, base: u32| {
            (0..32).filter(|lane| lane % 3 == rest).map(|lane| base + lane).sum::<u32>()
        };
        let branch = (0..32).flat_map(|lane| match lane % 3 {
            0 => [thirds(0, 0), 32],
            1 => [thirds(1, 1000), 32],
            _ => [0, 32],
        });
        assert_eq!(go("branch", 64), branch.collect::<Vec<u32>>());
        // In turn t the lanes above t take part: 31 - t of them.
        let turns = (0..32).flat_map(|lane: u32| [(0..lane).map(|turn| 31 - turn).sum(), 32]);
        assert_eq!(go("loop", 64), turns.collect::<Vec<u32>>());
        assert_eq!(go("early", 32), (0..32).map(|lane| if lane < 20 { 20 } else { 0 }).collect::<Vec<u32>>());
    }
}

#[test]
fn atomics_lose_nothing() {
    let source = text("kernels/atomics.metal");
    let x: Vec<u8> = (0..20 * 128u32).map(|i| (i * i % 251) as u8).collect();
    for device in devices() {
        let input = buffer(&device, "x", &x);
        let (bins, total, most) = (
            buffer(&device, "bins", &[0u32; 16]),
            buffer(&device, "total", &[0f32]),
            buffer(&device, "most", &[0i32]),
        );
        run(
            &device,
            &source,
            "histogram",
            &[],
            |encoder| {
                for (index, buffer) in [&input, &bins, &total, &most].into_iter().enumerate() {
                    encoder.buffer(index, buffer, 0);
                }
            },
            ([20, 1, 1], [128, 1, 1]),
        )
        .unwrap();
        let expected: Vec<u32> =
            (0..16).map(|bin| x.iter().filter(|&&v| v % 16 == bin).count() as u32).collect();
        assert_eq!(values::<u32>(&bins), expected);
        assert_eq!(values::<f32>(&total), [x.iter().map(|&v| f32::from(v)).sum::<f32>()]);
        assert_eq!(values::<i32>(&most), [i32::from(*x.iter().max().unwrap())]);
    }
}

#[test]
fn function_constants_specialise_each_pipeline() {
    let source = text("kernels/constants.metal");
    for device in devices() {
        let x = buffer(&device, "x", &[1f32, 2.0, 3.0]);
        let scale = |factor: u32, negate: bool, offset: Option<f32>| {
            let y = buffer(&device, "y", &[0f32; 3]);
            let mut constants = vec![
                Constant { index: 0, value: ConstantValue::U32(factor) },
                Constant { index: 1, value: ConstantValue::Bool(negate) },
            ];
            constants.extend(offset.map(|value| Constant { index: 2, value: ConstantValue::F32(value) }));
            run(
                &device,
                &source,
                "scale",
                &constants,
                |encoder| {
                    encoder.buffer(0, &x, 0);
                    encoder.buffer(1, &y, 0);
                },
                ([1; 3], [3, 1, 1]),
            )
            .unwrap();
            values::<f32>(&y)
        };
        assert_eq!(scale(1, false, None), [2.0, 4.0, 6.0]);
        assert_eq!(scale(3, true, Some(0.5)), [-5.5, -11.5, -17.5]);
        assert_eq!(scale(1, false, None), [2.0, 4.0, 6.0]);
    }
}

#[test]
fn simdgroup_matrices_multiply_as_a_loop_does() {
    let source = text("kernels/matrices.metal");
    let (rows, inner, columns) = (32, 24, 16);
    let (a, b) = (numbers(rows * inner), numbers(inner * columns));
    let mut expected = vec![0f32; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            expected[row * columns + column] =
                (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum();
        }
    }
    for device in devices() {
        let (left, right) = (buffer(&device, "a", &a), buffer(&device, "b", &b));
        let c = buffer(&device, "c", &vec![0f32; rows * columns]);
        run(
            &device,
            &source,
            "multiply",
            &[],
            |encoder| {
                for (index, buffer) in [&left, &right, &c].into_iter().enumerate() {
                    encoder.buffer(index, buffer, 0);
                }
                encoder.bytes(3, &(inner as u32).to_le_bytes());
                encoder.bytes(4, &(columns as u32).to_le_bytes());
            },
            ([columns / 8, rows / 16, 1], [64, 1, 1]),
        )
        .unwrap();
        assert_eq!(values::<f32>(&c), expected);
    }
}
