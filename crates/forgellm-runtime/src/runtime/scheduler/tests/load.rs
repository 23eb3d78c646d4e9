//! Random jobs, arrivals, stops and departures, against each job alone.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::runtime::generate::{self, Request};

/// A job of the random test.
#[derive(Debug, Clone)]
struct Spec {
    prompt: Vec<u32>,
    max_tokens: usize,
    seed: Option<u64>,
    leaves_after: Option<usize>,
    stops_after: Option<usize>,
    /// It comes when all others together have got so many tokens.
    arrival: usize,
}

fn spec() -> impl Strategy<Value = Spec> {
    let few = || prop::option::weighted(0.2, 0usize..6);
    // Prompts with long common beginnings.
    let prompt = (0usize..45, prop::collection::vec(0u32..3, 1..4))
        .prop_map(|(length, tail)| [vec![5; length], tail].concat());
    (prompt, 0usize..15, prop::option::weighted(0.3, 0u64..9), few(), few(), 0usize..60).prop_map(
        |(prompt, max_tokens, seed, leaves_after, stops_after, arrival)| Spec {
            prompt,
            max_tokens,
            seed,
            leaves_after,
            stops_after: stops_after.map(|count| count + 1),
            arrival,
        },
    )
}

/// What the job gives alone.
fn alone(spec: &Spec, positions: usize) -> Result<(Vec<u32>, FinishReason), GenerateError> {
    let mut engine = engine(1, positions, 7);
    let sequence = engine.begin()?;
    let request = Request {
        held: &[],
        prompt: &spec.prompt,
        max_tokens: spec.max_tokens,
        sampling: sampling(spec),
        logit_bias: None,
        logprobs: None,
        end_ids: &[3],
    };
    let mut count = 0;
    let generation = generate::generate(&mut engine, sequence, &request, &AtomicBool::new(false), |_| {
        count += 1;
        if Some(count) == spec.stops_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((generation.ids, generation.finish_reason))
}

fn sampling(spec: &Spec) -> SamplingParams {
    match spec.seed {
        None => SamplingParams::GREEDY,
        Some(_) => SamplingParams { temperature: 1.0, seed: spec.seed, ..SamplingParams::GREEDY },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn under_any_load_each_answer_is_what_it_is_alone(
        mut specs in prop::collection::vec(spec(), 1..12),
        parallel in 1usize..6,
        more in 0usize..4,
        rows in 1usize..20,
        positions in 20usize..60,
        ahead in any::<bool>(),
        slack in prop::option::of(0usize..4),
    ) {
        specs.sort_by_key(|spec| spec.arrival);
        let desk = Desk::new(100);
        let mut engine = engine(parallel + more, positions, rows);
        if let Some(slack) = slack {
            engine = engine.that_forgets(slack.max(1));
        }
        if ahead {
            engine = engine.that_runs_ahead();
        }
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            let scheduler = Scheduler::new(&mut engine, desk.queue.clone(), desk.counters.clone(), parallel);
            let thread = scope.spawn(|| scheduler.run());
            for spec in &specs {
                let Spec { prompt, max_tokens, leaves_after, stops_after, .. } = spec;
                let (mut job, ears) = desk.job_that(prompt, *max_tokens, *leaves_after, *stops_after);
                (job.end_ids, job.sampling) = (vec![3], sampling(spec));
                heard.push(ears);
                let started = Instant::now();
                while desk.emitted.load(Ordering::SeqCst) < spec.arrival && started.elapsed().as_millis() < 2 {
                    std::thread::yield_now();
                }
                desk.queue.submit(vec![job]).unwrap();
            }
            desk.queue.close();
            thread.join().unwrap()
        }).unwrap();
        for (spec, heard) in specs.iter().zip(&heard) {
            let heard = heard.lock().unwrap();
            let expected = alone(spec, positions);
            match (&heard.outcome, expected) {
                (Some(Err(error)), Err(expected)) => prop_assert_eq!(error, &expected),
                (Some(Ok(finished)), Ok((tokens, reason))) => {
                    prop_assert_eq!(&heard.tokens, &tokens);
                    prop_assert_eq!(finished.reason, reason);
                    prop_assert!(finished.reused_tokens < spec.prompt.len());
                }
                (None, expected) => {
                    prop_assert!(spec.leaves_after.is_some());
                    if let Ok((tokens, _)) = expected {
                        prop_assert!(tokens.starts_with(&heard.tokens));
                        // Not one token later.
                        prop_assert!(heard.tokens.len() == spec.leaves_after.unwrap());
                    }
                }
                (outcome, expected) => prop_assert!(false, "{outcome:?}, and alone {expected:?}"),
            }
        }
        let counters = &desk.counters;
        prop_assert_eq!(engine.open_sequences(), 0);
        prop_assert_eq!(counters.running.get() + counters.kept.get(), 0);
        prop_assert!(engine.steps.iter().sum::<usize>() as u64 >= counters.rows.get());
        prop_assert!(engine.steps.iter().all(|&count| 0 < count && count <= rows));
    }
}
