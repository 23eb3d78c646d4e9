mod load;
mod prefix;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::runtime::engine::Capacity;
use crate::runtime::sampling::{SamplingParams, TokenLogprobs, token_logprobs};
use crate::runtime::tests::{Automaton, expected_continuation, hidden, logits};

const VOCAB: usize = 50;

/// What came of a job.
#[derive(Default)]
struct Heard {
    tokens: Vec<u32>,
    logprobs: Vec<TokenLogprobs>,
    embedding: Option<Vec<f32>>,
    /// The scheduler's count of steps at each token.
    steps: Vec<u64>,
    outcome: Option<Result<Finished, GenerateError>>,
}

/// Listens, leaves or stops after some tokens.
struct Ear {
    heard: Arc<Mutex<Heard>>,
    counters: Arc<Counters>,
    emitted: Arc<AtomicUsize>,
    leaves_after: Option<usize>,
    stops_after: Option<usize>,
}

impl Listener for Ear {
    fn token(&mut self, chosen: Chosen) -> ControlFlow<()> {
        let mut heard = self.heard.lock().unwrap();
        heard.tokens.push(chosen.token);
        heard.logprobs.extend(chosen.logprobs);
        heard.steps.push(self.counters.steps.get());
        self.emitted.fetch_add(1, Ordering::SeqCst);
        if Some(heard.tokens.len()) == self.stops_after {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn embedding(&mut self, embedding: Vec<f32>) {
        self.heard.lock().unwrap().embedding = Some(embedding);
    }

    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        assert!(self.heard.lock().unwrap().outcome.replace(outcome).is_none());
    }

    fn is_gone(&self) -> bool {
        self.leaves_after.is_some_and(|count| self.heard.lock().unwrap().tokens.len() >= count)
    }
}

/// A queue with what its jobs need.
struct Desk {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    emitted: Arc<AtomicUsize>,
}

impl Desk {
    fn new(capacity: usize) -> Desk {
        Desk { queue: Arc::new(Queue::new(capacity)), counters: Arc::default(), emitted: Arc::default() }
    }

    fn job(&self, prompt: &[u32], max_tokens: usize) -> (Job, Arc<Mutex<Heard>>) {
        self.job_that(prompt, max_tokens, None, None)
    }

    fn job_that(
        &self,
        prompt: &[u32],
        max_tokens: usize,
        leaves_after: Option<usize>,
        stops_after: Option<usize>,
    ) -> (Job, Arc<Mutex<Heard>>) {
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let (counters, emitted) = (self.counters.clone(), self.emitted.clone());
        let listener = Ear { heard: heard.clone(), counters, emitted, leaves_after, stops_after };
        let sampling = SamplingParams::GREEDY;
        let prompt = prompt.to_vec();
        let (logit_bias, listener) = (Default::default(), Box::new(listener));
        (
            Job {
                prompt,
                max_tokens,
                sampling,
                logit_bias,
                logprobs: None,
                guide: None,
                embeds: false,
                end_ids: vec![],
                listener,
            },
            heard,
        )
    }

    fn submit(&self, prompt: &[u32], max_tokens: usize) -> Arc<Mutex<Heard>> {
        let (job, heard) = self.job(prompt, max_tokens);
        self.queue.submit(vec![job]).unwrap();
        heard
    }

    /// Works until everything is done.
    fn run(&self, engine: &mut Automaton, parallel: usize) -> Result<(), EngineError> {
        self.queue.close();
        Scheduler::new(engine, self.queue.clone(), self.counters.clone(), parallel).run()
    }
}

fn engine(sequences: usize, positions: usize, rows: usize) -> Automaton {
    Automaton::new(VOCAB, Capacity { sequences, positions, rows })
}

#[track_caller]
fn check(heard: &Mutex<Heard>, prompt: &[u32], tokens: usize, reason: FinishReason) {
    let heard = heard.lock().unwrap();
    assert_eq!(heard.tokens, expected_continuation(prompt, tokens, VOCAB));
    let finished = heard.outcome.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((finished.reason, finished.generated_tokens), (reason, tokens));
    assert_eq!(finished.prompt_tokens, prompt.len());
}

#[test]
fn answers_share_steps_and_each_ends_for_its_own_reason() {
    for ahead in [false, true] {
        let desk = Desk::new(8);
        let long = [7; 25];
        let length = desk.submit(&[1, 2, 3], 6);
        let context = desk.submit(&long, 20);
        let (job, stop) = desk.job_that(&[4, 5], 20, None, Some(3));
        desk.queue.submit(vec![job]).unwrap();
        let (mut job, end) = desk.job(&[9], 20);
        let all = expected_continuation(&[9], 20, VOCAB);
        job.end_ids = vec![all[5]];
        desk.queue.submit(vec![job]).unwrap();
        let (mut wrong, error) = desk.job(&[1], 5);
        wrong.sampling.top_p = 2.0;
        let (unknown, error_2) = desk.job(&[1, 99], 5);
        let (long, error_3) = desk.job(&[1; 31], 5);
        let (empty, error_4) = desk.job(&[], 5);
        desk.queue.submit(vec![wrong, unknown, long, empty]).unwrap();
        let mut engine = engine(8, 30, 16);
        if ahead {
            engine = engine.that_runs_ahead();
        }
        desk.run(&mut engine, 8).unwrap();
        check(&length, &[1, 2, 3], 6, FinishReason::Length);
        // One token is chosen after the last position.
        check(&context, &[7; 25], 6, FinishReason::Context);
        check(&stop, &[4, 5], 3, FinishReason::Stop);
        let until = all.iter().position(|&id| id == all[5]).unwrap();
        check(&end, &[9], until, FinishReason::End);
        let errors = [error, error_2, error_3, error_4]
            .map(|heard| heard.lock().unwrap().outcome.take().unwrap().unwrap_err().to_string());
        for (error, part) in errors.iter().zip(["top_p", "token 99", "31 tokens", "empty"]) {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!((engine.open_sequences(), desk.counters.finished.get()), (0, 4));
        assert_eq!(desk.counters.failed.get(), 4);
        assert_eq!(engine.steps.iter().sum::<usize>() as u64, desk.counters.rows.get());
    }
}

#[test]
fn a_long_prompt_never_keeps_an_answer_waiting() {
    let desk = Desk::new(8);
    let long = [vec![7; 300], vec![1]].concat();
    let answers = [desk.submit(&[1], 40), desk.submit(&[2], 40)];
    let late = desk.submit(&long, 3);
    let short = desk.submit(&[3; 12], 3);
    let mut engine = engine(4, 400, 10);
    desk.run(&mut engine, 4).unwrap();
    for answer in &answers {
        let steps = &answer.lock().unwrap().steps;
        assert!(steps.windows(2).all(|pair| pair[1] == pair[0] + 1), "a token in each step: {steps:?}");
    }
    // A short prompt beside it gets its part, and is done long before.
    assert!(short.lock().unwrap().steps[0] <= 3);
    check(&late, &long, 3, FinishReason::Length);
    assert!(engine.steps[..30].iter().all(|&rows| rows == 10), "no room is wasted: {:?}", engine.steps);
}

#[test]
fn more_answers_than_rows_take_turns_and_a_prompt_still_goes_on() {
    let desk = Desk::new(8);
    let answers = [1, 2, 3, 4, 5].map(|token| desk.submit(&[token], 30));
    let prompt = desk.submit(&[9; 20], 1);
    let mut engine = engine(6, 400, 3);
    desk.run(&mut engine, 6).unwrap();
    let last = |heard: &Arc<Mutex<Heard>>| *heard.lock().unwrap().steps.last().unwrap();
    let ends = answers.each_ref().map(last);
    assert!(ends.iter().max().unwrap() - ends.iter().min().unwrap() <= 3, "{ends:?}");
    assert!(last(&prompt) <= 21);
}

#[test]
fn a_full_queue_takes_all_jobs_of_a_request_or_none() {
    let desk = Desk::new(3);
    let heard: Vec<_> = (0..2).map(|token| desk.submit(&[token], 2)).collect();
    let full = desk.queue.submit(vec![desk.job(&[1], 1).0, desk.job(&[1], 1).0]);
    assert_eq!(full, Err(SubmitError::Full { capacity: 3 }));
    assert_eq!(desk.queue.len(), 2);
    // Those who have left make room.
    let (gone, _) = desk.job_that(&[1], 1, Some(0), None);
    desk.queue.submit(vec![gone]).unwrap();
    assert_eq!(desk.queue.len(), 2);
    let third = desk.submit(&[2], 2);
    let mut engine = engine(2, 20, 4);
    desk.run(&mut engine, 1).unwrap();
    assert_eq!(desk.queue.submit(vec![desk.job(&[1], 1).0]), Err(SubmitError::Closed));
    for (token, heard) in (0..).zip(heard.iter().chain([&third])) {
        check(heard, &[token], 2, FinishReason::Length);
    }
}

#[test]
fn whoever_leaves_frees_the_sequence_before_the_next_step() {
    let desk = Desk::new(8);
    let (job, heard) = desk.job_that(&[1, 2], 50, Some(4), None);
    desk.queue.submit(vec![job]).unwrap();
    // With one answer at a time, the next can only start once the one before is gone.
    let next = desk.submit(&[3], 2);
    let mut engine = engine(1, 100, 8);
    desk.run(&mut engine, 1).unwrap();
    assert_eq!(heard.lock().unwrap().tokens.len(), 4);
    check(&next, &[3], 2, FinishReason::Length);
    assert_eq!(engine.steps, [2, 1, 1, 1, 1, 1]);
    assert_eq!((desk.counters.cancelled.get(), desk.counters.generated_tokens.get()), (1, 6));
}

#[test]
fn an_error_of_the_engine_ends_only_the_answer_whose_rows_cause_it() {
    let desk = Desk::new(8);
    let healthy = desk.submit(&[1, 2], 5);
    let ill = desk.submit(&[1, 47], 5);
    let mut engine = engine(3, 100, 8).that_fails_at(47, EngineError::NoHiddenState);
    desk.run(&mut engine, 3).unwrap();
    check(&healthy, &[1, 2], 5, FinishReason::Length);
    let outcome = ill.lock().unwrap().outcome.take().unwrap();
    assert_eq!(outcome, Err(EngineError::NoHiddenState.into()));
    assert_eq!(engine.open_sequences(), 0);
}

#[test]
fn a_lost_device_ends_all_with_its_error() {
    let lost = EngineError::DeviceLost("unplugged".into());
    let desk = Desk::new(8);
    let heard = [desk.submit(&[1, 2], 5), desk.submit(&[3, 47], 5), desk.submit(&[5], 5)];
    let mut engine = engine(3, 100, 8).that_fails_at(47, lost.clone());
    assert_eq!(desk.run(&mut engine, 2), Err(lost.clone()));
    for heard in heard {
        assert_eq!(heard.lock().unwrap().outcome.take().unwrap(), Err(lost.clone().into()));
    }
    assert_eq!(desk.queue.submit(vec![desk.job(&[1], 1).0]), Err(SubmitError::Lost(lost.clone())));
    assert_eq!(desk.queue.check(), Err(SubmitError::Lost(lost)));
}

#[test]
fn log_probabilities_are_the_models_own_and_change_no_answer() {
    for (temperature, ahead) in [(0.0, false), (0.0, true), (3.0, false)] {
        let desk = Desk::new(8);
        let sampling = SamplingParams { temperature, seed: Some(4), ..SamplingParams::GREEDY };
        let [with, without] = [Some(3), None].map(|logprobs| {
            let (job, heard) = desk.job(&[5, 6], 9);
            desk.queue.submit(vec![Job { sampling, logprobs, ..job }]).unwrap();
            heard
        });
        let mut engine = engine(3, 100, 8);
        if ahead {
            engine = engine.that_runs_ahead();
        }
        desk.run(&mut engine, 2).unwrap();
        let (with, without) = (with.lock().unwrap(), without.lock().unwrap());
        assert_eq!((&with.tokens, without.logprobs.len()), (&without.tokens, 0));
        let mut before = vec![5, 6];
        let expected = with.tokens.iter().map(|&token| {
            let told = token_logprobs(&logits(&before, VOCAB), token, 3).unwrap();
            before.push(token);
            told
        });
        assert_eq!(with.logprobs, expected.collect::<Vec<_>>());
    }
}

#[test]
fn the_mean_hidden_state_of_a_prompt_is_the_same_beside_answers() {
    let prompts: Vec<Vec<u32>> = vec![(0..30).collect(), vec![7], vec![3, 1, 4, 1, 5, 9, 2, 6]];
    let desk = Desk::new(8);
    let embed = |prompt: &Vec<u32>| {
        let (job, heard) = desk.job(prompt, 0);
        desk.queue.submit(vec![Job { embeds: true, ..job }]).unwrap();
        heard
    };
    let heard: Vec<_> = prompts.iter().map(embed).collect();
    let answer = desk.submit(&prompts[0], 6);
    let mut engine = engine(4, 100, 8);
    desk.run(&mut engine, 4).unwrap();
    check(&answer, &prompts[0], 6, FinishReason::Length);
    for (prompt, heard) in prompts.iter().zip(heard) {
        let heard = heard.lock().unwrap();
        let states: Vec<Vec<f32>> = (1..=prompt.len()).map(|length| hidden(&prompt[..length])).collect();
        let sum = |at: usize| states.iter().map(|state| f64::from(state[at])).sum::<f64>();
        let mean: Vec<f32> = (0..states[0].len()).map(|at| (sum(at) / prompt.len() as f64) as f32).collect();
        assert_eq!(heard.embedding.as_ref(), Some(&mean));
        let finished = heard.outcome.as_ref().unwrap().as_ref().unwrap();
        let counts = (finished.prompt_tokens, finished.reused_tokens, finished.generated_tokens);
        assert_eq!(counts, (prompt.len(), 0, 0));
    }
}

/// Aborts the queue at its first token.
struct Aborting(Arc<Queue>, Ear);

impl Listener for Aborting {
    fn token(&mut self, chosen: Chosen) -> ControlFlow<()> {
        self.0.abort();
        self.1.token(chosen)
    }

    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        Box::new(self.1).end(outcome);
    }

    fn is_gone(&self) -> bool {
        self.1.is_gone()
    }
}

#[test]
fn aborting_interrupts_what_runs_and_what_waits() {
    for ahead in [false, true] {
        let desk = Desk::new(8);
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let (counters, emitted) = (desk.counters.clone(), desk.emitted.clone());
        let ear = Ear { heard: heard.clone(), counters, emitted, leaves_after: None, stops_after: None };
        let (job, _) = desk.job(&[1], 50);
        let job = Job { listener: Box::new(Aborting(desk.queue.clone(), ear)), ..job };
        desk.queue.submit(vec![job]).unwrap();
        let waiting = desk.submit(&[2], 5);
        let mut engine = engine(3, 100, 8);
        if ahead {
            engine = engine.that_runs_ahead();
        }
        desk.run(&mut engine, 1).unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.outcome.as_ref().unwrap().as_ref().unwrap().reason, FinishReason::Interrupted);
        assert!(heard.tokens.len() <= 2);
        assert_eq!(waiting.lock().unwrap().outcome.take().unwrap(), Err(GenerateError::Interrupted));
        assert_eq!(engine.open_sequences(), 0);
    }
}

#[test]
fn greedy_answers_run_ahead_of_the_host_and_a_new_job_still_joins() {
    let desk = Desk::new(8);
    let first = desk.submit(&[1, 2, 3], 30);
    let second = desk.submit(&[4], 12);
    let mut engine = engine(4, 100, 8).that_runs_ahead();
    desk.run(&mut engine, 1).unwrap();
    check(&first, &[1, 2, 3], 30, FinishReason::Length);
    check(&second, &[4], 12, FinishReason::Length);
    assert_eq!(engine.most_under_way, 2);
}
