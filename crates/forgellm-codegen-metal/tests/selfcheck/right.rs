//! Right kernels.

use std::collections::BTreeSet;

use forgellm_codegen_metal::device::{KvFormat, MetalEngine, MetalOptions, Model};
use forgellm_runtime::runtime::engine::{CheckEntry, Engine, EngineError, Row, Token, Want};

use crate::model::{VOCAB, engine, source};

/// Room for all steps.
pub fn options() -> MetalOptions {
    MetalOptions { sequences: 2, ..MetalOptions::default() }
}

/// The report of all steps.
pub fn check(engine: &mut MetalEngine<impl Model>) -> Vec<CheckEntry> {
    engine.self_check(&mut |_, _| true).unwrap().unwrap()
}

#[test]
fn right_kernels_pass() {
    for kv in [KvFormat::F16, KvFormat::Q8_0] {
        for entry in check(&mut engine(&source(), &MetalOptions { kv, ..options() })) {
            assert_eq!(entry.failure, None, "{kv:?} {}", entry.name);
            assert!(entry.values > 0 && entry.error <= entry.tolerance, "{kv:?} {entry:?}");
        }
    }
}

/// Whatever steps the engine runs, it dispatches no kernel that the check does not know.
#[test]
fn every_kernel_is_checked() {
    let options = MetalOptions { profile: true, ..options() };
    let mut engine = engine(&source(), &options);
    let mut position = 0;
    let sequence = engine.begin().unwrap();
    for (rows, want) in
        [(130, Want::Top(1)), (1, Want::Top(1)), (5, Want::Top(200)), (20, Want::Top(60)), (40, Want::Hidden)]
            .into_iter()
            .chain((1..19).map(|rows| (rows, Want::Logits)))
    {
        let rows: Vec<Row> = (0..rows)
            .map(|row| Row {
                token: Token::Id((row * 31 % VOCAB) as u32),
                position: position + row,
                sequence,
                want,
            })
            .collect();
        engine.step(&rows).unwrap();
        position += rows.len();
    }
    engine.end(sequence).unwrap();
    let dispatched: BTreeSet<String> = engine.profile().into_iter().map(|entry| entry.name).collect();
    let checked: BTreeSet<String> = check(&mut engine).into_iter().map(|entry| entry.name).collect();
    assert!(dispatched.len() > 40, "{dispatched:?}");
    assert_eq!(dispatched.difference(&checked).collect::<Vec<_>>(), [""; 0]);
    // The check is no step of anybody's.
    assert_eq!(engine.begin().and_then(|sequence| engine.positions(sequence)), Ok(0));
}

#[test]
fn it_ends_when_it_is_told_to() {
    let mut engine = engine(&source(), &options());
    let mut heard = Vec::new();
    let entries = engine.self_check(&mut |done, total| {
        heard.push((done, total));
        done < 1
    });
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[1].0 == 1 && heard[1].1 > 10, "{heard:?}");
    assert!(entries.unwrap().unwrap().iter().all(|entry| entry.failure.is_none()));
}

/// Small engines are checked as far as they go.
#[test]
fn an_engine_without_room_is_checked_nevertheless() {
    let options = MetalOptions { sequences: 1, positions: Some(20), rows: 4, ..MetalOptions::default() };
    let entries = check(&mut engine(&source(), &options));
    assert!(entries.iter().all(|entry| entry.failure.is_none()), "{entries:?}");
    assert!(entries.len() > 15, "{entries:?}");
    let mut full = engine(&source(), &MetalOptions { sequences: 1, ..MetalOptions::default() });
    full.begin().unwrap();
    let refused = full.self_check(&mut |_, _| true);
    assert_eq!(refused, Err(EngineError::TooManySequences(1)));
}
