//! When commands run, and in which order.

use std::time::Duration;

use forgellm_metal_sim::sim::api::{Buffer, Device, Encoder, GpuError, Options, Pipeline};

use crate::{buffer, device, values};

const SOURCE: &str = "
#include <metal_stdlib>
using namespace metal;
// Appends a digit.
kernel void digit(device uint *x [[buffer(0)]], constant uint &d [[buffer(1)]]) { x[0] = x[0] * 10 + d; }
kernel void set(device uint *x [[buffer(0)]], constant uint &d [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  x[i] = d;
}
";

struct Setup {
    device: Device,
    digit: Pipeline,
    x: Buffer,
}

fn setup(options: Options) -> Setup {
    let device = device(Options { patience: Duration::from_millis(50), ..options });
    let library = device.library(SOURCE, "queues.metal").unwrap();
    let digit = device.pipeline(&library, "digit", &[]).unwrap();
    let x = buffer(&device, "x", &[0u32]);
    Setup { device, digit, x }
}

impl Setup {
    fn append(&self, encoder: &mut Encoder<'_>, digit: u32) {
        encoder.pipeline(&self.digit);
        encoder.buffer(0, &self.x, 0);
        encoder.bytes(1, &digit.to_le_bytes());
        encoder.dispatch([1; 3], [1; 3]);
    }

    fn number(&self) -> u32 {
        values(&self.x)[0]
    }
}

#[test]
fn dispatches_and_encoders_run_in_order() {
    for sanitize in [false, true] {
        let setup = setup(Options { sanitize, ..Options::default() });
        let queue = setup.device.queue().unwrap();
        let mut commands = queue.commands("c").unwrap();
        let mut encoder = commands.encoder(false, "first");
        setup.append(&mut encoder, 1);
        setup.append(&mut encoder, 2);
        drop(encoder);
        let mut encoder = commands.encoder(true, "second");
        setup.append(&mut encoder, 3);
        encoder.barrier();
        setup.append(&mut encoder, 4);
        drop(encoder);
        let pending = commands.commit();
        let mut commands = queue.commands("d").unwrap();
        setup.append(&mut commands.encoder(false, "third"), 5);
        let last = commands.commit();
        // Nothing has run yet; a result that is read too early is not there.
        assert_eq!(setup.number(), 0);
        assert!(last.wait().unwrap().gpu_seconds >= 0.0);
        assert_eq!(setup.number(), 12345);
        pending.wait().unwrap();
    }
}

#[test]
fn concurrent_dispatches_run_in_any_order() {
    let numbers: std::collections::BTreeSet<u32> = (0..20)
        .map(|seed| {
            let setup = setup(Options { seed: Some(seed), ..Options::default() });
            let mut commands = setup.device.queue().unwrap().commands("c").unwrap();
            let mut encoder = commands.encoder(true, "e");
            for digit in 1..=3 {
                setup.append(&mut encoder, digit);
            }
            encoder.barrier();
            setup.append(&mut encoder, 9);
            drop(encoder);
            commands.commit().wait().unwrap();
            setup.number()
        })
        .collect();
    assert!(numbers.len() > 2, "{numbers:?}");
    assert!(numbers.iter().all(|number| (1000..10000).contains(number) && number % 10 == 9), "{numbers:?}");
}

/// What was committed after what somebody waits for may have run by then, or not.
#[test]
fn under_a_seed_the_device_may_be_further() {
    let setup = setup(Options { seed: Some(3), ..Options::default() });
    let queue = setup.device.queue().unwrap();
    let commit = |digit| {
        let mut commands = queue.commands("c").unwrap();
        setup.append(&mut commands.encoder(false, "e"), digit);
        commands.commit()
    };
    let mut seen = [commit(1), commit(2)].map(Some);
    let mut numbers = Vec::new();
    for digit in 3..7 {
        let waited = seen[digit as usize % 2].replace(commit(digit)).unwrap();
        waited.wait().unwrap();
        numbers.push(setup.number());
    }
    for (last, number) in (3..7).zip(numbers.iter().map(u32::to_string)) {
        let all: String = (1..=last).map(|digit| digit.to_string()).collect();
        assert!(all.starts_with(&number) && number.len() + 2 >= all.len(), "{number} of {all}");
    }
    let behind = numbers.iter().zip(3..7).filter(|(number, last)| number.to_string().len() < *last as usize);
    assert!((1..4).contains(&behind.count()), "{numbers:?}");
}

#[test]
fn events_order_queues() {
    let setup = setup(Options::default());
    let (first, second) = (setup.device.queue().unwrap(), setup.device.queue().unwrap());
    let event = setup.device.event().unwrap();
    let mut commands = first.commands("waits").unwrap();
    setup.append(&mut commands.encoder(false, "e"), 1);
    commands.signal(&event, 1);
    commands.wait_for(&event, 2);
    setup.append(&mut commands.encoder(false, "e"), 3);
    let waits = commands.commit();
    let mut commands = second.commands("signals").unwrap();
    commands.wait_for(&event, 1);
    setup.append(&mut commands.encoder(false, "e"), 2);
    commands.signal(&event, 2);
    let signals = commands.commit();
    waits.wait().unwrap();
    assert_eq!((setup.number(), event.value()), (123, 2));
    signals.wait().unwrap();
}

#[test]
fn an_event_that_never_comes_is_an_error() {
    let setup = setup(Options::default());
    let queue = setup.device.queue().unwrap();
    let event = setup.device.event().unwrap();
    let mut commands = queue.commands("blocked").unwrap();
    commands.wait_for(&event, 7);
    let _blocked = commands.commit();
    let error = queue.commands("behind").unwrap().commit().wait().unwrap_err();
    assert_eq!(
        error.to_string(),
        "commands 'behind' cannot run: 'blocked' waits for an event to reach 7, it is at 0 and nothing that is \
         committed will signal it"
    );
}

#[test]
fn another_thread_may_signal_later() {
    let setup = setup(Options::default());
    let device = device(Options::default());
    let event = device.event().unwrap();
    let (first, second) = (device.queue().unwrap(), device.queue().unwrap());
    let mut commands = first.commands("waits").unwrap();
    commands.wait_for(&event, 1);
    let waits = commands.commit();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            let mut commands = second.commands("signals").unwrap();
            commands.signal(&event, 1);
            commands.commit().wait().unwrap();
        });
        waits.wait().unwrap();
    });
    assert_eq!(setup.number(), 0);
}

#[test]
fn a_failure_stops_its_commands_but_signals_its_events() {
    let setup = setup(Options::default());
    let queue = setup.device.queue().unwrap();
    let event = setup.device.event().unwrap();
    let mut commands = queue.commands("fails").unwrap();
    let mut encoder = commands.encoder(false, "e");
    setup.append(&mut encoder, 1);
    encoder.dispatch([0; 3], [1; 3]);
    drop(encoder);
    commands.signal(&event, 1);
    let fails = commands.commit();
    let mut commands = queue.commands("goes on").unwrap();
    commands.wait_for(&event, 1);
    setup.append(&mut commands.encoder(false, "e"), 2);
    commands.commit().wait().unwrap();
    // Commands with a mistake do not run at all.
    assert_eq!(setup.number(), 2);
    assert!(matches!(fails.wait(), Err(GpuError::Argument { .. })));
}
