//! What is counted.

use std::process::Command;

use forgellm_metal_sim::sim::api::{Device, GpuError, Options};
use forgellm_metal_sim::sim::shadow::{BufferCounts, Counts};

use serde_json::Value;

use crate::{buffer, device, run, text};

fn counted(sanitize: bool) -> Device {
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

/// A serial encoder of two dispatches, then a concurrent one with barriers.
fn two_encoders(device: &Device) -> Result<(), GpuError> {
    let library = device.library(&text("kernels/reductions.metal"), "test.metal")?;
    let pipeline = device.pipeline(&library, "prefix", &[])?;
    let x = buffer(device, "x", &[1u32; 64]);
    let y: Vec<_> = (0..6).map(|_| buffer(device, "y", &[0u32; 64])).collect();
    let mut commands = device.queue()?.commands("test commands")?;
    let mut encoder = commands.encoder(false, "serial");
    encoder.pipeline(&pipeline);
    encoder.buffer(0, &x, 0);
    for y in &y[..2] {
        encoder.buffer(1, y, 0);
        encoder.dispatch([1; 3], [64, 1, 1]);
    }
    drop(encoder);
    let mut encoder = commands.encoder(true, "concurrent");
    encoder.pipeline(&pipeline);
    encoder.buffer(0, &x, 0);
    for (y, barriers) in y[2..].iter().zip([0, 1, 0, 2]) {
        for _ in 0..barriers {
            encoder.barrier();
        }
        encoder.buffer(1, y, 0);
        encoder.dispatch([1; 3], [64, 1, 1]);
    }
    encoder.barrier();
    drop(encoder);
    commands.commit().wait()?;
    Ok(())
}

/// Encoder, whether it is concurrent, number, barriers before.
const OF_TWO_ENCODERS: [(&str, bool, u64, u64); 6] = [
    ("serial", false, 0, 0),
    ("serial", false, 1, 0),
    ("concurrent", true, 0, 0),
    ("concurrent", true, 1, 1),
    ("concurrent", true, 2, 0),
    ("concurrent", true, 3, 2),
];

#[test]
fn barriers_between_dispatches() {
    for seed in [None, Some(3), Some(4)] {
        let device = device(Options { count: true, seed, ..Options::default() });
        two_encoders(&device).unwrap();
        let mut counts = device.counters();
        // A seed may change the order between barriers.
        counts.sort_by_key(|counts| (counts.concurrent, counts.number));
        let found: Vec<_> = counts
            .iter()
            .map(|counts| (&*counts.encoder, counts.concurrent, counts.number, counts.barriers_before))
            .collect();
        assert_eq!(found, OF_TWO_ENCODERS);
    }
}

#[test]
fn records_go_to_the_file_that_metal_sim_names() {
    // The variable is for whole programs: this test runs itself as one.
    if std::env::var_os("METAL_SIM").is_some() {
        return two_encoders(&Device::open().unwrap()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counts.json");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "counts::records_go_to_the_file_that_metal_sim_names"])
        .env("METAL_SIM", format!("count={}", file.display()))
        .env("FORGELLM_METAL_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/metal-sim"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let records: Vec<Value> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<_> = records
        .iter()
        .map(|record| {
            assert_eq!((&record["kernel"], &record["threadgroup_barriers"]), (&"prefix".into(), &7.into()));
            (
                record["encoder"].as_str().unwrap(),
                record["concurrent"].as_bool().unwrap(),
                record["number"].as_u64().unwrap(),
                record["barriers_before"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, OF_TWO_ENCODERS);
}
