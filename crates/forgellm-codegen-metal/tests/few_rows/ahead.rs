//! Steps that are submitted before the results of those before are there give what they give one after the other.

use forgellm_codegen_metal::device::{MetalEngine, MetalOptions, Model};
use forgellm_runtime::runtime::engine::{Engine, Row, RowResult, RunAhead, SequenceId, Token, Want};

use crate::engine::engine;

/// An engine whose steps are collected so many steps later.
struct Late<E> {
    engine: E,
    /// Steps that may be under way; with none, tokens are named by their ids.
    behind: usize,
    submitted: usize,
    results: Vec<Vec<RowResult>>,
}

impl<M: Model> Late<MetalEngine<M>> {
    /// The next rows of sequences: each sequence, the row of the step before that it continues (or a token), and what is wanted.
    fn step(&mut self, rows: &[(SequenceId, Result<usize, u32>, Want)]) {
        let mut step: Vec<Row> = Vec::new();
        for &(sequence, from, want) in rows {
            let before = step.iter().filter(|row| row.sequence == sequence).count();
            let position = self.engine.positions(sequence).unwrap() + before;
            let token = match from {
                Err(id) => Token::Id(id),
                Ok(row) if self.behind > 0 => Token::ArgmaxOfRow(row),
                Ok(row) => Token::Id(most_likely(&self.results.last().unwrap()[row])),
            };
            step.push(Row { token, position, sequence, want });
        }
        if self.behind == 0 {
            return self.results.push(self.engine.step(&step).unwrap());
        }
        self.engine.submit(&step).unwrap();
        self.submitted += 1;
        self.collect(self.behind);
    }

    /// Collects until at most so many are under way.
    fn collect(&mut self, left: usize) {
        while self.results.len() + left < self.submitted {
            self.results.push(self.engine.collect().unwrap().unwrap());
        }
    }
}

fn most_likely(result: &RowResult) -> u32 {
    match result {
        RowResult::Top(top) => top[0].0,
        RowResult::Logits(logits) => {
            (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).unwrap().0
        }
        other => panic!("{other:?} has no most likely token"),
    }
}

/// The results of a life of several sequences: prompts, many wanted rows, logits, a fork in the middle of a page, more pages than the cache began
/// with, sequences that end and begin.
fn life<M: Model>(engine: MetalEngine<M>, behind: usize) -> Vec<Vec<RowResult>> {
    let mut late = Late { engine, behind, submitted: 0, results: Vec::new() };
    let [a, b] = [(); 2].map(|()| late.engine.begin().unwrap());
    let best = Want::Top(1);
    let prompt = |sequence, rows: u32, want| {
        (0..rows).map(move |row| (sequence, Err(row * 7 % 96), want)).collect::<Vec<_>>()
    };
    // Row 24 is in the second group of wanted rows.
    late.step(&[prompt(a, 5, best), prompt(b, 20, Want::Top(2))].concat());
    late.step(&[(a, Ok(4), best), (b, Ok(24), best)]);
    for _ in 0..4 {
        late.step(&[(b, Ok(1), best), (a, Ok(0), best)]);
        late.step(&[(a, Ok(1), best), (b, Ok(0), best)]);
    }
    // Of two waits, one lets the GPU run the step after, too.
    late.step(&[(a, Ok(0), Want::Logits), (b, Ok(1), Want::Hidden)]);
    late.step(&[(a, Ok(0), Want::Logits), (b, Err(8), Want::Hidden)]);
    late.step(&[(a, Ok(0), best), (b, Err(3), Want::Nothing)]);
    late.step(&[]);
    late.step(&[(a, Err(11), best)]);
    let held = late.engine.positions(a).unwrap();
    let fork = late.engine.fork(a, held).unwrap();
    late.step(&[(fork, Err(9), best), (a, Ok(0), best)]);
    for _ in 0..40 {
        late.step(&[(fork, Ok(0), best), (a, Ok(1), best)]);
    }
    late.engine.truncate(fork, 33).unwrap();
    late.step(&[(fork, Ok(1), best)]);
    late.engine.end(a).unwrap();
    let c = late.engine.begin().unwrap();
    late.step(&[prompt(c, 30, Want::Nothing), vec![(fork, Ok(0), best)]].concat());
    late.step(&prompt(c, 32, best));
    late.step(&[(c, Ok(31), Want::Top(300)), (fork, Ok(0), best)]);
    let others = [(); 2].map(|()| late.engine.begin().unwrap());
    late.step(&[(c, Ok(0), best), (others[0], Err(1), best), (others[1], Err(2), best)]);
    late.step(&prompt(others[0], 32, best));
    late.step(&[(others[0], Ok(31), best), (others[1], Ok(2), best)]);
    // The cache grows here, and what was written last is read right after.
    for _ in 0..40 {
        late.step(&[(others[0], Ok(0), best), (others[1], Ok(1), best)]);
    }
    late.collect(0);
    assert!(late.behind == 0 || late.engine.collect() == Ok(None));
    late.results
}

#[test]
fn submitted_ahead_and_one_by_one() {
    let options = MetalOptions { rows: 32, sequences: 5, ..MetalOptions::default() };
    let one_by_one = life(engine(true, &options), 0);
    for behind in [1, 2, 4] {
        let ahead = life(engine(true, &options), behind);
        assert_eq!(ahead.len(), one_by_one.len());
        for (step, (ahead, one_by_one)) in ahead.iter().zip(&one_by_one).enumerate() {
            assert_eq!(ahead, one_by_one, "step {step}, collected {behind} later");
        }
    }
    let profiled = MetalOptions { profile: true, ..options };
    assert_eq!(life(engine(true, &profiled), 1), one_by_one);
}

/// What is wrong is said at once, and the steps under way stay what they are.
#[test]
fn a_wrong_step_is_refused_and_those_before_go_on() {
    let options = MetalOptions { rows: 32, ..MetalOptions::default() };
    let mut engine = engine(true, &options);
    let sequence = engine.begin().unwrap();
    let row = |token, position| Row { token, position, sequence, want: Want::Top(1) };
    engine.submit(&[row(Token::Id(5), 0)]).unwrap();
    for wrong in [row(Token::ArgmaxOfRow(1), 1), row(Token::ArgmaxOfRow(0), 0), row(Token::Id(96), 1)] {
        engine.submit(&[wrong]).unwrap_err();
    }
    engine.submit(&[row(Token::ArgmaxOfRow(0), 1)]).unwrap();
    assert_eq!(engine.positions(sequence), Ok(2));
    let results = [(); 2].map(|()| engine.collect().unwrap().unwrap());
    assert_eq!(engine.collect(), Ok(None));

    let other = engine.begin();
    assert!(other.is_err(), "there is one sequence");
    engine.truncate(sequence, 0).unwrap();
    let again = engine.step(&[row(Token::Id(5), 0)]).unwrap();
    let then = engine.step(&[row(Token::Id(most_likely(&again[0])), 1)]).unwrap();
    assert_eq!(results, [again, then]);
}
