//! What is counted.

use forgellm_metal_sim::sim::api::Options;
use forgellm_metal_sim::sim::shadow::{BufferCounts, Counts};

use crate::{buffer, device, run, text};

fn counted(sanitize: bool) -> forgellm_metal_sim::sim::api::Device {
    device(Options { count: true, sanitize, ..Options::default() })
}

#[test]
fn bytes_barriers_and_threads() {
    for sanitize in [false, true] {
        let device = counted(sanitize);
        let (x, y) = (buffer(&device, "x", &[1u32; 64]), buffer(&device, "y", &[0u32; 64]));
        run(
            &device,
            &text("kernels/reductions.metal"),
            "prefix",
            &[],
            |encoder| {
                encoder.buffer(0, &x, 0);
                encoder.buffer(1, &y, 0);
            },
            ([1; 3], [64, 1, 1]),
        )
        .unwrap();
        let counts = device.counters();
        // 6 steps: each thread loads its own number, all but 1, 2, 4, ... of them another one, and stores one.
        let loads = 6 * 64 + (0..6).map(|step| 64 - (1 << step)).sum::<u64>() + 64;
        let one = |index: usize, label: &str, loaded: u64, stored: u64| BufferCounts {
            index,
            label: label.into(),
            bytes_loaded: loaded,
            bytes_stored: stored,
            distinct_bytes_loaded: loaded,
            distinct_bytes_stored: stored,
        };
        let expected = Counts {
            commands: "test commands".into(),
            encoder: "test encoder".into(),
            kernel: "prefix".into(),
            threadgroups: 1,
            threads: 64,
            device_bytes_loaded: 256,
            device_bytes_stored: 256,
            threadgroup_bytes_loaded: 4 * loads,
            threadgroup_bytes_stored: 4 * 7 * 64,
            threadgroup_barriers: 7,
            buffers: vec![one(0, "x", 256, 0), one(1, "y", 0, 256)],
            ..Counts::default()
        };
        assert_eq!(counts, [expected]);
        assert_eq!(device.counters(), []);
    }
}

#[test]
fn matrices_and_how_often_a_byte_is_loaded() {
    let device = counted(true);
    let (inner, columns) = (24u32, 16u32);
    let a = buffer(&device, "a", &[1f32; 32 * 24]);
    let b = buffer(&device, "b", &[1f32; 24 * 16]);
    let c = buffer(&device, "c", &[0f32; 32 * 16]);
    run(
        &device,
        &text("kernels/matrices.metal"),
        "multiply",
        &[],
        |encoder| {
            for (index, buffer) in [&a, &b, &c].into_iter().enumerate() {
                encoder.buffer(index, buffer, 0);
            }
            encoder.bytes(3, &inner.to_le_bytes());
            encoder.bytes(4, &columns.to_le_bytes());
        },
        ([2, 2, 1], [64, 1, 1]),
    )
    .unwrap();
    let counts = device.counters().remove(0);
    // 8 tiles of the result, 3 steps each.
    assert_eq!((counts.matrix_loads, counts.matrix_stores, counts.matrix_multiplies), (48, 8, 24));
    let bytes = |index: usize| {
        let buffer = &counts.buffers[index];
        (buffer.bytes_loaded, buffer.distinct_bytes_loaded, buffer.bytes_stored, buffer.distinct_bytes_stored)
    };
    assert_eq!(bytes(0), (24 * 256, 32 * 24 * 4, 0, 0));
    assert_eq!(bytes(1), (24 * 256, 24 * 16 * 4, 0, 0));
    assert_eq!(bytes(2), (0, 0, 32 * 16 * 4, 32 * 16 * 4));
}
