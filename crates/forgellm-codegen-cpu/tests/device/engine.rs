//! The engine contract, with a small model whose results depend on the whole sequence.

use forgellm_codegen_cpu::device::matrix::Isa;
use forgellm_codegen_cpu::device::{
    Attention, Buffer, CacheSpec, CpuEngine, CpuOptions, Model, ModelSpec, OpenError, Rope, RopeKv,
    RopeStyle, Rows, Run, Stage, add, attention, rope_kv,
};
use forgellm_codegen_cpu::runtime::engine::{Engine, EngineError, Row, RowResult, SequenceId, Token, Want};

use crate::program::{Program, TABLE, f32_matrix, random, row};

const HEAD: usize = 16;
/// One query head, one key-value head.
const W: usize = 3 * HEAD;
const WINDOW: usize = 40;

static CACHES: [CacheSpec; 2] = [
    CacheSpec { heads: 1, kv_heads: 1, head_dim: HEAD, window: None },
    CacheSpec { heads: 1, kv_heads: 1, head_dim: HEAD, window: Some(WINDOW) },
];

/// Two layers of attention, one of them with a window; the logits are their sum.
fn engine(options: &CpuOptions) -> Result<CpuEngine<impl Model + use<>>, OpenError> {
    const X: Buffer<W> = Buffer::at(0);
    const Y: Buffer<HEAD> = Buffer::at(W);
    const Q: Buffer<HEAD> = Buffer::at(W + HEAD);
    const Z: Buffer<HEAD> = Buffer::at(W + 2 * HEAD);
    let inv_freq: &'static [f32] = vec![0.3; HEAD / 2].leak();
    let program = Program::<W, HEAD, _> {
        table: f32_matrix(&random(5, TABLE * W)),
        row_arena: W + 3 * HEAD,
        output: Y,
        caches: &CACHES,
        body: move |run: &Run<'_>| {
            let rope = Rope { style: RopeStyle::HalfSplit, inv_freq, scale: 1.0 };
            let fused = RopeKv { heads: 1, kv_heads: 1, head_dim: HEAD, q_norm: None, k_norm: None, rope };
            let how = Attention { scale: 2.0, softcap: None, sinks: None };
            for (cache, result) in [Y, Z].into_iter().enumerate() {
                rope_kv(run, X, &fused, cache, Q);
                run.barrier();
                attention(run, Q, &how, cache, result);
                run.barrier();
            }
            add(run, Y, Z, Y);
        },
    };
    CpuEngine::open(program, options)
}

/// A model whose hidden state is not kept.
struct WithoutHidden<M>(M);

// SAFETY: the operations are those of the model inside.
unsafe impl<M: Model> Model for WithoutHidden<M> {
    fn spec(&self) -> ModelSpec {
        ModelSpec { hidden: None, ..self.0.spec() }
    }

    fn layers(&self, run: &Run<'_>) {
        self.0.layers(run);
    }

    fn head(&self, run: &Run<'_>) {
        self.0.head(run);
    }
}

fn options(threads: usize) -> CpuOptions {
    CpuOptions { threads, sequences: 3, positions: Some(1000), rows: 300, ..CpuOptions::default() }
}

fn tokens(seed: usize, len: usize) -> Vec<u32> {
    (0..len).map(|at| ((seed * 13 + at * at + at / 3) % TABLE) as u32).collect()
}

fn rows(sequence: SequenceId, start: usize, tokens: &[u32]) -> Vec<Row> {
    (start..).zip(tokens).map(|(position, token)| row(sequence, position, *token, Want::Logits)).collect()
}

fn feed(engine: &mut impl Engine, sequence: SequenceId, start: usize, tokens: &[u32]) -> Vec<RowResult> {
    let pieces = tokens.chunks(300).enumerate();
    pieces
        .flat_map(|(piece, tokens)| engine.step(&rows(sequence, start + 300 * piece, tokens)).expect("runs"))
        .collect()
}

/// What a new engine gives for these tokens.
fn alone(tokens: &[u32]) -> Vec<RowResult> {
    let mut engine = engine(&options(2)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    feed(&mut engine, sequence, 0, tokens)
}

#[test]
fn sequences_do_not_see_each_other() {
    let (a, b) = (tokens(1, 200), tokens(2, 150));
    let mut engine = engine(&options(3)).expect("opens");
    // The engines that have one sequence take their memory as they use it.
    engine.reserve().expect("there is so much");
    let (first, second) = (engine.begin().expect("a sequence"), engine.begin().expect("a sequence"));
    let mut got = (Vec::new(), Vec::new());
    for at in 0..200 {
        let mut step = rows(first, at, &a[at..at + 1]);
        if at < 150 {
            step.extend(rows(second, at, &b[at..at + 1]));
        }
        let mut results = engine.step(&step).expect("runs").into_iter();
        got.0.extend(results.next());
        got.1.extend(results.next());
    }
    assert!(got.0 == alone(&a));
    assert!(got.1 == alone(&b));
    // A new sequence in the pages of an ended one.
    engine.end(first).expect("ends");
    let third = engine.begin().expect("a sequence");
    assert_ne!(third, first);
    assert!(feed(&mut engine, third, 0, &b) == alone(&b));
}

#[test]
fn forks_share_their_beginning_only() {
    let (a, b) = (tokens(1, 130), tokens(2, 90));
    for shared in [0, 1, 64, 100, 130] {
        let mut engine = engine(&options(2)).expect("opens");
        let parent = engine.begin().expect("a sequence");
        feed(&mut engine, parent, 0, &a);
        let child = engine.fork(parent, shared).expect("forks");
        assert_eq!(engine.positions(child), Ok(shared));
        let of_child = feed(&mut engine, child, shared, &b);
        let of_parent = feed(&mut engine, parent, 130, &b);
        assert!(of_child == alone(&[&a[..shared], &b[..]].concat())[shared..], "{shared} shared");
        assert!(of_parent == alone(&[&a[..], &b[..]].concat())[130..], "{shared} shared");
    }
}

#[test]
fn a_truncated_sequence_goes_on_from_there() {
    let (a, b) = (tokens(1, 150), tokens(2, 60));
    let mut engine = engine(&options(2)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    feed(&mut engine, sequence, 0, &a);
    engine.truncate(sequence, 97).expect("cuts");
    assert_eq!(engine.positions(sequence), Ok(97));
    assert!(feed(&mut engine, sequence, 97, &b) == alone(&[&a[..97], &b[..]].concat())[97..]);
}

#[test]
fn what_left_the_window_cannot_be_cut_back_to() {
    let mut engine = engine(&options(2)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    let a = tokens(1, 900);
    let results = feed(&mut engine, sequence, 0, &a);
    assert!(results == alone(&a));
    for positions in [1, 100, 300] {
        assert!(matches!(engine.truncate(sequence, positions), Err(EngineError::CannotTruncate { .. })));
        assert!(matches!(engine.fork(sequence, positions), Err(EngineError::CannotTruncate { .. })));
    }
    assert!(matches!(engine.truncate(sequence, 901), Err(EngineError::CannotTruncate { .. })));
    assert_eq!(engine.positions(sequence), Ok(900));
    engine.truncate(sequence, 800).expect("the window is still there");
    let b = tokens(3, 30);
    assert!(feed(&mut engine, sequence, 800, &b) == alone(&[&a[..800], &b[..]].concat())[800..]);
}

#[test]
fn refused_steps_change_nothing() {
    let mut engine = engine(&CpuOptions { positions: Some(70), rows: 40, ..options(2) }).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    let other = engine.begin().expect("a sequence");
    let a = tokens(1, 70);
    feed(&mut engine, sequence, 0, &a[..40]);
    let good = row(other, 0, 1, Want::Logits);
    let unknown = SequenceId(77);
    let cases = [
        (row(unknown, 0, 1, Want::Nothing), EngineError::UnknownSequence(unknown)),
        (
            row(sequence, 41, 1, Want::Nothing),
            EngineError::PositionGap { sequence, expected: 40, position: 41 },
        ),
        (
            row(sequence, 39, 1, Want::Nothing),
            EngineError::PositionGap { sequence, expected: 40, position: 39 },
        ),
        (
            row(sequence, 40, TABLE as u32, Want::Nothing),
            EngineError::UnknownToken { token: TABLE as u32, vocab: TABLE },
        ),
        (
            Row { token: Token::ArgmaxOfRow(40), ..row(sequence, 40, 0, Want::Nothing) },
            EngineError::NoArgmax(40),
        ),
    ];
    for (bad, error) in cases {
        assert_eq!(engine.step(&[good.clone(), bad]), Err(error));
        assert_eq!((engine.positions(sequence), engine.positions(other)), (Ok(40), Ok(0)));
    }
    assert_eq!(
        engine.step(&rows(other, 0, &a[..41])),
        Err(EngineError::TooManyRows { rows: 41, capacity: 40 })
    );
    assert_eq!(
        engine.step(&rows(sequence, 40, &a[..31])),
        Err(EngineError::ContextFull { sequence, positions: 70 })
    );
    assert_eq!(engine.step(&[]), Ok(Vec::new()));
    assert!(engine.step(&rows(sequence, 40, &a[40..])).expect("runs") == alone(&a)[40..]);
    assert_eq!(
        engine.step(&rows(sequence, 70, &a[..1])),
        Err(EngineError::ContextFull { sequence, positions: 70 })
    );

    engine.begin().expect("a third sequence");
    assert_eq!(engine.begin(), Err(EngineError::TooManySequences(3)));
    engine.end(other).expect("ends");
    assert_eq!(engine.end(other), Err(EngineError::UnknownSequence(other)));
    assert_eq!(engine.positions(other), Err(EngineError::UnknownSequence(other)));
    assert_eq!(engine.truncate(other, 0), Err(EngineError::UnknownSequence(other)));
    assert_eq!(engine.fork(other, 0), Err(EngineError::UnknownSequence(other)));
}

#[test]
fn a_hidden_state_that_is_not_there_is_refused() {
    let program = Program::<W, W, _> {
        table: f32_matrix(&random(5, TABLE * W)),
        row_arena: W,
        output: Buffer::at(0),
        caches: &[],
        body: |_: &Run<'_>| {},
    };
    let mut engine = CpuEngine::open(WithoutHidden(program), &options(2)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    let step = [row(sequence, 0, 1, Want::Logits), row(sequence, 1, 2, Want::Hidden)];
    assert_eq!(engine.step(&step), Err(EngineError::NoHiddenState));
    assert_eq!(engine.positions(sequence), Ok(0));
    assert!(engine.step(&step[..1]).is_ok());
}

#[test]
fn each_row_gives_what_is_wanted() {
    let a = tokens(1, 60);
    let logits: Vec<Vec<f32>> = alone(&a)
        .into_iter()
        .map(|result| match result {
            RowResult::Logits(logits) => logits,
            other => panic!("{other:?}"),
        })
        .collect();
    let best = |row: usize, k: usize| {
        let mut all: Vec<(u32, f32)> = (0..).zip(logits[row].iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    };
    let mut engine = engine(&options(2)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    // More wanted rows than go through the head at a time.
    let wants = [Want::Nothing, Want::Top(1), Want::Logits, Want::Top(5), Want::Hidden, Want::Top(0)];
    let step: Vec<Row> = (0..60).map(|at| row(sequence, at, a[at], wants[at % wants.len()])).collect();
    for (at, result) in engine.step(&step).expect("runs").into_iter().enumerate() {
        let want = match wants[at % wants.len()] {
            Want::Nothing => RowResult::Nothing,
            Want::Top(k) => RowResult::Top(best(at, k)),
            Want::Logits => RowResult::Logits(logits[at].clone()),
            Want::Hidden => RowResult::Hidden(logits[at].clone()),
        };
        assert_eq!(result, want, "row {at}");
    }
    // Rows 0 and 4 have no most likely token; the others have, row 5 although nothing of it was asked for.
    let continued = |of| Row { token: Token::ArgmaxOfRow(of), ..row(sequence, 60, 0, Want::Logits) };
    assert_eq!(engine.step(&[continued(0)]), Err(EngineError::NoArgmax(0)));
    assert_eq!(engine.step(&[continued(4)]), Err(EngineError::NoArgmax(4)));
    let next = best(53, 1)[0].0;
    let got = engine.step(&[continued(53)]).expect("runs");
    assert!(got == alone(&[&a[..], &[next]].concat())[60..]);
}

#[test]
fn impossible_options_are_refused() {
    let refused = |options: CpuOptions| engine(&options).err();
    assert_eq!(
        refused(CpuOptions { positions: Some(5000), ..options(1) }),
        Some(OpenError::TooManyPositions { asked: 5000, model: 4096 })
    );
    assert!(matches!(refused(CpuOptions { positions: Some(0), ..options(1) }), Some(OpenError::Empty(_))));
    assert!(matches!(refused(CpuOptions { sequences: 0, ..options(1) }), Some(OpenError::Empty(_))));
    assert!(matches!(refused(CpuOptions { rows: 0, ..options(1) }), Some(OpenError::Empty(_))));
    assert_eq!(
        refused(CpuOptions { rows: usize::MAX / 8, ..options(1) }),
        Some(OpenError::NoMemory { rows: usize::MAX / 8 })
    );
}

#[test]
fn a_panic_in_a_step_loses_the_device_and_hangs_nobody() {
    let program = Program::<W, HEAD, _> {
        table: f32_matrix(&random(5, TABLE * W)),
        row_arena: W + HEAD,
        output: Buffer::at(W),
        caches: &[],
        body: |run: &Run<'_>| {
            // A buffer that lies outside of the arena.
            add::<HEAD, Rows>(run, Buffer::at(0), Buffer::at(0), Buffer::at(5000));
            run.barrier();
        },
    };
    let isa = Isa::available().next().expect("an instruction set");
    let mut engine = CpuEngine::open(program, &crate::program::options(3, isa)).expect("opens");
    let sequence = engine.begin().expect("a sequence");
    for _ in 0..2 {
        let position = engine.positions(sequence).expect("the sequence");
        let lost = engine.step(&[row(sequence, position, 1, Want::Top(1))]);
        assert!(
            matches!(&lost, Err(EngineError::DeviceLost(reason)) if reason.contains("arena")),
            "{lost:?}"
        );
    }
}

#[test]
fn time_is_measured_when_asked_for() {
    for profile in [false, true] {
        let mut engine = engine(&CpuOptions { profile, ..options(2) }).expect("opens");
        let sequence = engine.begin().expect("a sequence");
        feed(&mut engine, sequence, 0, &tokens(1, 30));
        feed(&mut engine, sequence, 30, &tokens(1, 30));
        let calls = engine.profile().stage(Stage::Attention).calls;
        assert_eq!(calls, if profile { 4 } else { 0 });
        assert_eq!(engine.profile().stage(Stage::Attention).time.is_zero(), !profile);
    }
}

#[test]
fn what_memory_is_read_and_reserved_is_told() {
    let mut engine = engine(&options(1)).expect("opens");
    // A key and a value of HEAD elements, in f16.
    let bytes = |positions: usize| (positions * 2 * HEAD * 2) as u64;
    for position in [0, 10, WINDOW - 1, WINDOW, 900] {
        let expected = bytes(position + 1) + bytes((position + 1).min(WINDOW));
        assert_eq!(engine.cache_bytes_read(position), Some(expected), "at {position}");
    }
    let memory = engine.memory().expect("told");
    // Three sequences at full length in the one layer, in pages of 64; of the other at least the windows and no more than everything.
    let whole = bytes(3 * 1024);
    assert!((whole + bytes(3 * WINDOW)..2 * whole).contains(&memory.cache), "{memory:?} {whole}");
    assert!(memory.step >= 300 * (W + 3 * HEAD) as u64 * 4, "{memory:?}");
    engine.reserve().expect("there is so much");
    engine.reserve().expect("it is there already");
}
