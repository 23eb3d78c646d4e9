//! Each kind of mistake is found, at its line, thread and address; the corrected kernel beside it is clean.

use forgellm_metal_sim::sim::api::{Device, Encoder, GpuError, Options};
use forgellm_metal_sim::sim::shadow::{Access, Finding, FindingKind, Memory, Operation, Report};

use crate::{buffer, device, lent, run, sanitized, text};

/// The findings in `faulty` of a file, when its `corrected` has none.
fn findings(file: &str, bind: impl Fn(&Device, &mut Encoder<'_>), size: (usize, usize)) -> Vec<Finding> {
    let source = text(&format!("faulty/{file}.metal"));
    let device = sanitized();
    let size = ([size.0, 1, 1], [size.1, 1, 1]);
    let one = |kernel| run(&device, &source, kernel, &[], |encoder| bind(&device, encoder), size);
    one("corrected").unwrap();
    report(one("faulty").unwrap_err()).findings
}

fn report(error: GpuError) -> Report {
    match error {
        GpuError::Sanitizer { report, .. } => *report,
        other => panic!("{other}"),
    }
}

/// The line of a file that is marked with a comment.
fn line(file: &str, mark: &str) -> u32 {
    let text = text(&format!("faulty/{file}.metal"));
    let mark = format!("  // {mark}");
    let lines: Vec<usize> =
        (0..).zip(text.lines()).filter(|(_, line)| line.ends_with(&mark)).map(|(i, _)| i).collect();
    assert_eq!(lines.len(), 1, "{file}: {mark}");
    lines[0] as u32 + 1
}

/// Operation, bytes, threadgroup, thread, line.
fn of(access: &Access) -> (Operation, usize, u32, u32, u32) {
    assert!(access.line == 0 || access.file == "test.metal", "{access:?}");
    (access.operation, access.bytes, access.thread.threadgroup[0], access.thread.thread[0], access.line)
}

fn memory(index: usize, label: &str, offset: i64, length: usize) -> Option<Memory> {
    Some(Memory::Buffer { index, label: label.into(), offset, length })
}

fn threadgroup(name: &str, offset: i64, length: usize) -> Option<Memory> {
    Some(Memory::Threadgroup { name: name.into(), offset, length })
}

fn zeros(device: &Device, encoder: &mut Encoder<'_>, index: usize, label: &str, count: usize) {
    encoder.buffer(index, &buffer(device, label, &vec![0f32; count]), 0);
}

#[test]
fn a_load_one_past_the_end() {
    let file = "out_of_bounds_load";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "x", 80);
        zeros(device, encoder, 1, "y", 80);
    };
    let [finding] = &findings(file, bind, (2, 40))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::OutOfBounds);
    assert_eq!(of(&finding.access), (Operation::Load, 4, 1, 39, line(file, "access")));
    assert_eq!(finding.memory, memory(0, "x", 320, 320));
    assert_eq!(
        finding.to_string(),
        "out of bounds: byte 320 of buffer 0 'x', which has 320 bytes\n  \
         test.metal:7: load of 4 bytes by thread (39, 0, 0) of threadgroup (1, 0, 0) in kernel 'faulty'"
    );
}

#[test]
fn a_store_before_the_start_in_an_inlined_function() {
    let file = "out_of_bounds_store";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 32);
    let [finding] = &findings(file, bind, (1, 32))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::OutOfBounds);
    assert_eq!(of(&finding.access), (Operation::Store, 4, 0, 0, line(file, "access")));
    assert_eq!(finding.memory, memory(0, "y", -4, 128));
}

#[test]
fn what_lies_before_the_offset_of_a_binding_is_outside() {
    let file = "out_of_bounds_store";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        encoder.buffer(0, &buffer(device, "y", &[0f32; 64]), 128);
    };
    let [finding] = &findings(file, bind, (1, 32))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::OutOfBounds);
    assert_eq!(finding.memory, memory(0, "y", -4, 128));
}

#[test]
fn a_vector_across_the_end() {
    let file = "out_of_bounds_vector";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "x", 30);
        zeros(device, encoder, 1, "y", 8);
        encoder.bytes(2, &30u32.to_le_bytes());
    };
    let [finding] = &findings(file, bind, (1, 8))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::OutOfBounds);
    // The compiler may load it in pieces.
    let bytes = finding.access.bytes;
    assert_eq!(of(&finding.access), (Operation::Load, bytes, 0, 7, line(file, "access")));
    let outside = |offset: i64| {
        offset <= 120 && offset + bytes as i64 > 120 && finding.memory == memory(0, "x", offset, 120)
    };
    assert!((112..128).any(outside), "{finding}");
}

#[test]
fn an_address_from_nowhere() {
    let file = "wild_access";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "y", 1);
        encoder.bytes(1, &0x123458u64.to_le_bytes());
    };
    let [finding] = &findings(file, bind, (1, 1))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::WildAccess);
    assert_eq!(of(&finding.access), (Operation::Load, 4, 0, 0, line(file, "access")));
    assert_eq!(finding.memory, Some(Memory::Unknown { address: 0x123458 }));
}

#[test]
fn a_store_to_lent_memory() {
    let file = "read_only_store";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        encoder.buffer(0, &lent(device, "weights", &[1.0; 8]), 0);
        zeros(device, encoder, 1, "y", 8);
    };
    let [finding] = &findings(file, bind, (1, 8))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::ReadOnlyStore);
    assert_eq!(of(&finding.access), (Operation::Store, 4, 0, 3, line(file, "access")));
    assert_eq!(finding.memory, memory(0, "weights", 12, 32));
}

#[test]
fn threadgroup_memory_that_nobody_wrote() {
    let file = "uninitialised";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let [finding] = &findings(file, bind, (1, 64))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::UninitialisedThreadgroupMemory);
    assert_eq!(of(&finding.access), (Operation::Load, 4, 0, 0, line(file, "access")));
    assert_eq!(finding.memory, threadgroup("part", 252, 256));
    assert_eq!(finding.repeats, 31);
}

#[test]
fn past_the_end_of_threadgroup_memory() {
    let file = "threadgroup_out_of_bounds";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let [finding] = &findings(file, bind, (1, 64))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::OutOfBounds);
    assert_eq!(of(&finding.access), (Operation::Store, 4, 0, 32, line(file, "access")));
    assert_eq!(finding.memory, threadgroup("part", 128, 128));
}

#[test]
fn a_race_in_a_threadgroup() {
    let file = "race_in_threadgroup";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let found = findings(file, bind, (1, 64));
    // In ascending order thread 32 is the first whose partner has stored before.
    let race = found
        .iter()
        .find(|finding| finding.access.operation == Operation::Load && finding.kind == FindingKind::DataRace);
    let race = race.unwrap();
    assert_eq!(of(&race.access), (Operation::Load, 4, 0, 32, line(file, "access")));
    assert_eq!(of(race.other.as_ref().unwrap()), (Operation::Store, 4, 0, 31, line(file, "other")));
    assert_eq!(race.memory, threadgroup("part", 124, 256));
}

#[test]
fn a_barrier_for_other_memory() {
    let file = "race_flags";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let [finding] = &findings(file, bind, (1, 64))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::DataRace);
    assert_eq!(of(&finding.access), (Operation::Load, 4, 0, 0, line(file, "access")));
    assert_eq!(of(finding.other.as_ref().unwrap()), (Operation::Store, 4, 0, 63, line(file, "other")));
    assert_eq!((&finding.memory, finding.repeats), (&threadgroup("part", 252, 256), 63));
}

#[test]
fn a_simdgroup_barrier_between_simdgroups() {
    let file = "race_across_simdgroups";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let found = findings(file, bind, (1, 64));
    // In ascending order the first simdgroup has loaded before the second one stores.
    let race = found.iter().find(|finding| finding.access.operation == Operation::Store).unwrap();
    assert_eq!(race.kind, FindingKind::DataRace);
    assert_eq!(of(&race.access), (Operation::Store, 4, 0, 32, line(file, "other")));
    assert_eq!(of(race.other.as_ref().unwrap()), (Operation::Load, 4, 0, 0, line(file, "access")));
    assert_eq!(race.memory, threadgroup("part", 128, 256));
}

#[test]
fn a_race_within_a_simdgroup() {
    let file = "race_in_simdgroup";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let found = findings(file, bind, (1, 64));
    let race = found.iter().find(|finding| finding.access.operation == Operation::Store).unwrap();
    assert_eq!(race.kind, FindingKind::DataRace);
    // Thread 1 stores what thread 0 has loaded.
    assert_eq!(of(&race.access), (Operation::Store, 4, 0, 1, line(file, "access")));
    assert_eq!(of(race.other.as_ref().unwrap()), (Operation::Load, 4, 0, 0, line(file, "other")));
    assert_eq!(race.memory, threadgroup("part", 4, 256));
}

#[test]
fn a_race_between_threadgroups() {
    let file = "race_across_threadgroups";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "total", 1);
    let found = findings(file, bind, (3, 32));
    let race = found.iter().find(|finding| finding.access.operation == Operation::Load).unwrap();
    assert_eq!(race.kind, FindingKind::DataRace);
    assert_eq!(of(&race.access), (Operation::Load, 4, 1, 0, line(file, "access")));
    assert_eq!(of(race.other.as_ref().unwrap()), (Operation::Store, 4, 0, 0, line(file, "access")));
    assert_eq!(race.memory, memory(0, "total", 0, 4));
}

#[test]
fn a_race_with_an_atomic() {
    let file = "race_with_atomic";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "count", 1);
        zeros(device, encoder, 1, "y", 1);
    };
    let found = findings(file, bind, (1, 64));
    let race = found.iter().find(|finding| finding.access.operation == Operation::Load).unwrap();
    assert_eq!(race.kind, FindingKind::DataRace);
    assert_eq!(of(&race.access), (Operation::Load, 4, 0, 40, line(file, "access")));
    let other = race.other.as_ref().unwrap();
    assert_eq!((other.operation, other.line), (Operation::AtomicUpdate, line(file, "other")));
    assert_ne!(other.thread, race.access.thread);
    // And the update of thread 41 comes after the load of thread 40.
    let race = found.iter().find(|finding| finding.access.operation == Operation::AtomicUpdate).unwrap();
    assert_eq!(of(&race.access), (Operation::AtomicUpdate, 4, 0, 41, line(file, "other")));
    assert_eq!(of(race.other.as_ref().unwrap()), (Operation::Load, 4, 0, 40, line(file, "access")));
}

#[test]
fn a_race_for_one_byte() {
    let file = "race_of_bytes";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 16);
    let [finding] = &findings(file, bind, (2, 32))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::DataRace);
    assert_eq!(of(&finding.access), (Operation::Store, 1, 0, 1, line(file, "access")));
    assert_eq!(of(finding.other.as_ref().unwrap()), (Operation::Store, 1, 0, 0, line(file, "access")));
    assert_eq!((&finding.memory, finding.repeats), (&memory(0, "y", 0, 64), 31));
}

#[test]
fn a_race_between_dispatches_of_a_concurrent_encoder() {
    let file = "race_between_dispatches";
    let device = sanitized();
    let library = device.library(&text(&format!("faulty/{file}.metal")), "test.metal").unwrap();
    let pipeline = |name| device.pipeline(&library, name, &[]).unwrap();
    let (fill, reverse) = (pipeline("fill"), pipeline("reverse"));
    let run = |concurrent: bool, barrier: bool| {
        let (x, y) = (buffer(&device, "x", &[0f32; 64]), buffer(&device, "y", &[0f32; 64]));
        let mut commands = device.queue().unwrap().commands("both").unwrap();
        let mut encoder = commands.encoder(concurrent, "both");
        encoder.pipeline(&fill);
        encoder.buffer(0, &x, 0);
        encoder.dispatch([2, 1, 1], [32, 1, 1]);
        if barrier {
            encoder.barrier();
        }
        encoder.pipeline(&reverse);
        encoder.buffer(1, &y, 0);
        encoder.dispatch([2, 1, 1], [32, 1, 1]);
        drop(encoder);
        commands.commit().wait()
    };
    run(false, false).unwrap();
    run(true, true).unwrap();
    let report = report(run(true, false).unwrap_err());
    let [finding] = &report.findings[..] else { panic!("{report}") };
    assert_eq!(finding.kind, FindingKind::DataRace);
    assert_eq!(of(&finding.access), (Operation::Load, 4, 0, 0, line(file, "access")));
    assert_eq!(finding.access.kernel, "reverse");
    let other = finding.other.as_ref().unwrap();
    assert_eq!(of(other), (Operation::Store, 4, 1, 31, line(file, "other")));
    assert_eq!(other.kernel, "fill");
    assert_eq!((&finding.memory, finding.repeats), (&memory(0, "x", 252, 256), 63));
}

#[test]
fn a_barrier_that_some_threads_never_reach() {
    let file = "divergent_barrier";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "y", 64);
        encoder.bytes(1, &50u32.to_le_bytes());
    };
    let [finding] = &findings(file, bind, (1, 64))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::DivergentBarrier);
    assert_eq!(of(&finding.access), (Operation::Wait, 0, 0, 0, line(file, "access")));
    assert_eq!(of(finding.other.as_ref().unwrap()), (Operation::End, 0, 0, 50, 0));
}

#[test]
fn two_barriers_are_not_one() {
    let file = "divergent_barriers";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 64);
    let [finding] = &findings(file, bind, (1, 64))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::DivergentBarrier);
    assert_eq!(of(&finding.access), (Operation::Wait, 0, 0, 0, line(file, "access")));
    assert_eq!(of(finding.other.as_ref().unwrap()), (Operation::Wait, 0, 0, 32, line(file, "other")));
}

#[test]
fn a_simdgroup_barrier_for_half_of_the_lanes() {
    let file = "divergent_simdgroup_barrier";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| zeros(device, encoder, 0, "y", 32);
    let [finding] = &findings(file, bind, (1, 32))[..] else { panic!() };
    assert_eq!((finding.kind, &*finding.detail), (FindingKind::DivergentBarrier, "simdgroup_barrier"));
    assert_eq!(of(&finding.access), (Operation::Wait, 0, 0, 0, line(file, "access")));
    assert_eq!(of(finding.other.as_ref().unwrap()), (Operation::End, 0, 0, 16, 0));
}

#[test]
fn the_plain_build_gives_an_error_where_it_would_hang() {
    let source = text("faulty/divergent_barrier.metal");
    let device = device(Options::default());
    let bind = |encoder: &mut Encoder<'_>| {
        zeros(&device, encoder, 0, "y", 64);
        encoder.bytes(1, &50u32.to_le_bytes());
    };
    let error = run(&device, &source, "faulty", &[], bind, ([1; 3], [64, 1, 1])).unwrap_err().to_string();
    assert_eq!(
        error,
        "commands 'test commands', kernel 'faulty', thread (0, 0, 0) of threadgroup (0, 0, 0): threadgroup_barrier \
         (test.metal:10) that not all threads reach: thread (50, 0, 0) of threadgroup (0, 0, 0) has ended"
    );
}

#[test]
fn a_matrix_operation_of_half_a_simdgroup() {
    let file = "divergent_matrix";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "x", 64);
        zeros(device, encoder, 1, "y", 64);
    };
    let found = findings(file, bind, (1, 32));
    let finding = found.last().unwrap();
    assert_eq!(finding.kind, FindingKind::DivergentMatrixOperation);
    let other = finding.other.as_ref().unwrap();
    assert!(finding.access.thread.lane < 16 && other.thread.lane >= 16, "{finding}");
}

#[test]
fn a_vector_at_an_odd_address() {
    let file = "misaligned";
    let bind = |device: &Device, encoder: &mut Encoder<'_>| {
        zeros(device, encoder, 0, "x", 8);
        zeros(device, encoder, 1, "y", 1);
    };
    let [finding] = &findings(file, bind, (1, 1))[..] else { panic!() };
    assert_eq!(finding.kind, FindingKind::Misaligned);
    assert_eq!(of(&finding.access), (Operation::Load, 16, 0, 0, line(file, "access")));
    assert_eq!(finding.memory, memory(0, "x", 4, 32));
}

#[test]
fn too_much_threadgroup_memory() {
    let source = text("faulty/threadgroup_too_large.metal");
    for device in [device(Options::default()), sanitized()] {
        let bind = |encoder: &mut Encoder<'_>| zeros(&device, encoder, 0, "y", 32);
        let size = ([1; 3], [32, 1, 1]);
        run(&device, &source, "corrected", &[], bind, size).unwrap();
        let error = run(&device, &source, "faulty", &[], bind, size).unwrap_err().to_string();
        assert!(error.contains("kernel 'faulty'"), "{error}");
        assert!(
            error.contains("more than 32 KiB of threadgroup memory (36864 bytes in 2 pieces)"),
            "{error}"
        );
    }
}

#[test]
fn a_result_that_depends_on_the_order() {
    let source = text("faulty/order_dependent.metal");
    let device = device(Options { sanitize: true, orders: 4, ..Options::default() });
    let y = buffer(&device, "y", &[0u32]);
    let one = |kernel| {
        run(&device, &source, kernel, &[], |encoder| encoder.buffer(0, &y, 0), ([4, 1, 1], [64, 1, 1]))
    };
    one("corrected").unwrap();
    assert_eq!(crate::values::<u32>(&y), [255]);
    let found = report(one("faulty").unwrap_err()).findings;
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::OrderDependent));
    assert_eq!(found[0].memory, memory(0, "y", 0, 4));
    // The buffer holds what the first order gives.
    assert_eq!(crate::values::<u32>(&y), [255]);
}

#[test]
fn every_order_finds_the_race() {
    let source = text("faulty/race_in_threadgroup.metal");
    for seed in 0..8 {
        let device = device(Options { sanitize: true, seed: Some(seed), ..Options::default() });
        let bind = |encoder: &mut Encoder<'_>| zeros(&device, encoder, 0, "y", 64);
        let found = report(run(&device, &source, "faulty", &[], bind, ([1; 3], [64, 1, 1])).unwrap_err());
        let race = found.findings.iter().any(|finding| finding.kind == FindingKind::DataRace);
        assert!(race, "seed {seed}: {found}");
    }
}
