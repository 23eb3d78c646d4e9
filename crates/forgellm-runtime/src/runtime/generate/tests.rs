use super::*;
use crate::runtime::engine::{Capacity, RunAhead};
use crate::runtime::tests::{Automaton, expected_continuation, logits};

const VOCAB: usize = 50;
const PROMPT: [u32; 7] = [3, 1, 4, 1, 5, 9, 2];
static NOT_INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn engine(positions: usize, rows: usize) -> Automaton {
    Automaton::new(VOCAB, Capacity { sequences: 8, positions, rows })
}

fn request(max_tokens: usize) -> Request<'static> {
    Request {
        held: &[],
        prompt: &PROMPT,
        max_tokens,
        sampling: SamplingParams::GREEDY,
        logit_bias: None,
        logprobs: None,
        end_ids: &[],
    }
}

fn run(engine: &mut Automaton, request: &Request<'_>) -> Result<Generation, GenerateError> {
    let sequence = engine.begin()?;
    let mut seen = Vec::new();
    let generation = generate(engine, sequence, request, &NOT_INTERRUPTED, |token| {
        seen.push(token);
        ControlFlow::Continue(())
    })?;
    assert_eq!(generation.ids, seen);
    assert_eq!(generation.stats.generated_tokens, seen.len());
    Ok(generation)
}

#[test]
fn greedy_follows_the_engine_however_the_prompt_is_cut() {
    for rows in [1, 2, 3, 7, 100] {
        let mut engine = engine(100, rows);
        let generation = run(&mut engine, &request(20)).unwrap();
        assert_eq!(generation.ids, expected_continuation(&PROMPT, 20, VOCAB));
        assert_eq!(generation.finish_reason, FinishReason::Length);
        assert_eq!(generation.stats.prompt_tokens, PROMPT.len());
        // The last token is chosen, but not run.
        assert_eq!(engine.steps.iter().sum::<usize>(), PROMPT.len() + 19);
    }
}

#[test]
fn a_sequence_can_be_continued() {
    let mut engine = engine(100, 4);
    let sequence = engine.begin().unwrap();
    let first = generate(&mut engine, sequence, &request(5), &NOT_INTERRUPTED, |_| ControlFlow::Continue(()));
    let ids = first.unwrap().ids;
    // What was chosen last was not run yet.
    let next = Request { prompt: &ids[4..], ..request(5) };
    let second =
        generate(&mut engine, sequence, &next, &NOT_INTERRUPTED, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!([ids, second.ids].concat(), expected_continuation(&PROMPT, 10, VOCAB));
}

#[test]
fn an_end_token_ends_and_does_not_belong_to_the_answer() {
    let expected = expected_continuation(&PROMPT, 20, VOCAB);
    let end = expected[6];
    let length = expected.iter().position(|&id| id == end).unwrap();
    let generation =
        run(&mut engine(100, 8), &Request { end_ids: &[VOCAB as u32, end], ..request(20) }).unwrap();
    assert_eq!((generation.finish_reason, &generation.ids[..]), (FinishReason::End, &expected[..length]));
}

#[test]
fn the_context_ends_an_answer_and_refuses_a_longer_prompt() {
    let generation = run(&mut engine(10, 4), &request(20)).unwrap();
    assert_eq!(generation.finish_reason, FinishReason::Context);
    // Three more tokens fit, and one is chosen after the last that fits.
    assert_eq!(generation.ids, expected_continuation(&PROMPT, 4, VOCAB));
    assert_eq!(run(&mut engine(7, 4), &request(20)).unwrap().ids.len(), 1);
    let error = run(&mut engine(6, 4), &request(20)).unwrap_err();
    assert_eq!(error, GenerateError::PromptTooLong { tokens: 7, room: 6 });
}

#[test]
fn nothing_asked_for_gives_nothing() {
    let generation = run(&mut engine(10, 4), &request(0)).unwrap();
    assert_eq!((generation.finish_reason, generation.ids), (FinishReason::Length, vec![]));
    let error = run(&mut engine(10, 4), &Request { prompt: &[], ..request(5) }).unwrap_err();
    assert_eq!(error, GenerateError::EmptyPrompt);
}

#[test]
fn the_caller_can_stop() {
    let mut engine = engine(100, 8);
    let sequence = engine.begin().unwrap();
    let mut count = 0;
    let generation = generate(&mut engine, sequence, &request(20), &NOT_INTERRUPTED, |_| {
        count += 1;
        if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let generation = generation.unwrap();
    assert_eq!((generation.finish_reason, generation.ids.len()), (FinishReason::Stop, 3));
}

#[test]
fn an_interrupt_ends_the_answer_where_it_is() {
    let mut engine = engine(100, 8);
    let interrupted = AtomicBool::new(false);
    let sequence = engine.begin().unwrap();
    let generation = generate(&mut engine, sequence, &request(20), &interrupted, |_| {
        interrupted.store(true, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    let generation = generation.unwrap();
    assert_eq!((generation.finish_reason, generation.ids.len()), (FinishReason::Interrupted, 1));

    let sequence = engine.begin().unwrap();
    let generation =
        generate(&mut engine, sequence, &request(20), &interrupted, |_| ControlFlow::Continue(()));
    assert_eq!(generation.unwrap().finish_reason, FinishReason::Interrupted);
    assert_eq!(engine.positions(sequence), Ok(0));
}

#[test]
fn sampling_repeats_with_its_seed_and_sees_the_answer() {
    let sampled = |seed| {
        let sampling = SamplingParams { temperature: 1.5, seed: Some(seed), ..SamplingParams::GREEDY };
        run(&mut engine(100, 8), &Request { sampling, ..request(30) }).unwrap().ids
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));

    let sampling =
        SamplingParams { repetition_penalty: 1e6, repetition_window: 100, ..SamplingParams::GREEDY };
    let mut ids = run(&mut engine(100, 8), &Request { sampling, ..request(30) }).unwrap().ids;
    ids.extend(PROMPT);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 30 + PROMPT.len() - 1, "a penalty this high leaves no repetition");
}

#[test]
fn a_bias_holds_for_the_whole_answer() {
    let forced = LogitBias::new([(11, 100.0)], VOCAB).unwrap();
    let generation = run(&mut engine(100, 8), &Request { logit_bias: Some(&forced), ..request(6) }).unwrap();
    assert_eq!(generation.ids, [11; 6]);
    let best = expected_continuation(&PROMPT, 1, VOCAB)[0];
    let banned = LogitBias::new([(best, -100.0)], VOCAB).unwrap();
    let generation = run(&mut engine(100, 8), &Request { logit_bias: Some(&banned), ..request(30) }).unwrap();
    assert!(!generation.ids.contains(&best));
}

#[test]
fn presence_looks_at_the_answer_and_not_at_the_prompt() {
    // A prompt that holds its most likely next token so often that the penalty is above all differences of logits.
    let prompts = (0..50).flat_map(|often| (0..50).map(move |last| [vec![often; 9], vec![last]].concat()));
    let prompt = prompts.into_iter().find(|prompt| expected_continuation(prompt, 1, VOCAB)[0] == prompt[0]);
    let prompt = prompt.unwrap();
    let sampling = SamplingParams { frequency_penalty: 2.0, presence_penalty: 2.0, ..SamplingParams::GREEDY };
    let answer = run(&mut engine(100, 8), &Request { prompt: &prompt, sampling, ..request(20) }).unwrap().ids;
    assert_eq!(answer[0], prompt[0]);
    assert!(answer.iter().filter(|id| **id == prompt[0]).count() < 9, "{answer:?}");
}

#[test]
fn log_probabilities_are_those_of_the_engine_for_each_token_of_the_answer() {
    let end = expected_continuation(&PROMPT, 9, VOCAB)[8];
    let sampled = SamplingParams { temperature: 0.3, top_k: 5, seed: Some(3), ..SamplingParams::GREEDY };
    for sampling in [SamplingParams::GREEDY, sampled] {
        for end_ids in [&[][..], &[end]] {
            let request = Request { sampling, logprobs: Some(3), end_ids, ..request(20) };
            let generation = run(&mut engine(100, 8), &request).unwrap();
            // They change nothing.
            let without = run(&mut engine(100, 8), &Request { logprobs: None, ..request }).unwrap();
            assert_eq!((&generation.ids, generation.finish_reason), (&without.ids, without.finish_reason));
            assert!(without.logprobs.is_empty());
            let mut tokens = PROMPT.to_vec();
            assert_eq!(generation.logprobs.len(), generation.ids.len());
            for (&id, found) in generation.ids.iter().zip(&generation.logprobs) {
                let expected = token_logprobs(&logits(&tokens, VOCAB), id, 3).unwrap();
                assert_eq!(found, &expected);
                tokens.push(id);
            }
        }
    }
}

#[test]
fn errors_of_the_engine_come_through() {
    let error = run(&mut engine(100, 8), &Request { prompt: &[1, 99], ..request(5) }).unwrap_err();
    assert_eq!(error, GenerateError::Engine(EngineError::UnknownToken { token: 99, vocab: VOCAB }));
    let sampling = SamplingParams { top_p: 2.0, ..SamplingParams::GREEDY };
    let error = run(&mut engine(100, 8), &Request { sampling, ..request(5) }).unwrap_err();
    assert!(matches!(error, GenerateError::Sampling(_)));
}

#[test]
fn sequences_together_are_equal_to_each_alone_and_share_steps() {
    let prompts: [&[u32]; 8] =
        [&[1], &PROMPT, &[9, 8, 7, 6, 5, 4, 3, 2, 1], &PROMPT, &[4, 4], &[2, 1, 2], &[5; 11], &[7; 6]];
    for (count, rows) in [(1, 4), (8, 8), (8, 3), (3, 100)] {
        let prompts = &prompts[..count];
        let mut engine = engine(20, rows);
        let answers = generate_together(&mut engine, prompts, 6, &NOT_INTERRUPTED).unwrap();
        let alone: Vec<_> = prompts.iter().map(|prompt| expected_continuation(prompt, 6, VOCAB)).collect();
        assert_eq!(answers, alone, "{count} sequences in steps of {rows} rows");
        assert_eq!(engine.open_sequences(), 0);
        let all = prompts.iter().map(|prompt| prompt.len() + 5).sum::<usize>();
        assert_eq!(engine.steps.iter().sum::<usize>(), all);
        if rows == 100 {
            assert_eq!(engine.steps, [17, 3, 3, 3, 3, 3]);
        }
    }
}

#[test]
fn sequences_that_do_not_fit_are_refused() {
    let together = |engine: &mut Automaton, prompt: &[u32], tokens, copies| {
        generate_together(engine, &vec![prompt; copies], tokens, &NOT_INTERRUPTED)
    };
    assert!(matches!(together(&mut engine(9, 4), &PROMPT, 4, 2), Err(GenerateError::PromptTooLong { .. })));
    assert!(together(&mut engine(9, 4), &PROMPT, 3, 2).is_ok());
    let error = together(&mut engine(9, 4), &PROMPT, 3, 9).unwrap_err();
    assert_eq!(error, GenerateError::Engine(EngineError::TooManySequences(8)));
    assert_eq!(together(&mut engine(9, 4), &[], 3, 1), Err(GenerateError::EmptyPrompt));
}

/// An engine that runs ahead gives the same, and its sequence ends where that of another engine does.
#[test]
fn running_ahead_changes_nothing() {
    let expected = expected_continuation(&PROMPT, 20, VOCAB);
    let ends = [expected[6]];
    let requests = [
        request(0),
        request(1),
        request(2),
        request(20),
        Request { end_ids: &ends, ..request(20) },
        Request { logprobs: Some(2), ..request(9) },
        Request {
            sampling: SamplingParams { temperature: 1.0, seed: Some(5), ..SamplingParams::GREEDY },
            ..request(9)
        },
    ];
    for positions in [PROMPT.len(), 9, 10, 100] {
        for request in &requests {
            for stop_at in [1, 3, usize::MAX] {
                let answer = |engine: &mut Automaton| {
                    let sequence = engine.begin().unwrap();
                    let mut count = 0;
                    let generation = generate(engine, sequence, request, &NOT_INTERRUPTED, |_| {
                        count += 1;
                        if count == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    let Generation { ids, finish_reason, .. } = generation.unwrap();
                    (ids, finish_reason, engine.positions(sequence))
                };
                let mut ahead = engine(positions, 4).that_runs_ahead();
                assert_eq!(answer(&mut ahead), answer(&mut engine(positions, 4)));
                assert_eq!(ahead.collect(), Ok(None), "everything is collected");
                let is_greedy = request.sampling == SamplingParams::GREEDY && request.logprobs.is_none();
                assert!(ahead.most_under_way <= if is_greedy { 2 } else { 1 });
            }
        }
    }
}

#[test]
fn the_step_after_is_under_way_while_a_token_is_chosen() {
    let mut engine = engine(100, 8).that_runs_ahead();
    run(&mut engine, &request(20)).unwrap();
    assert_eq!(engine.most_under_way, 2);
    // No step is run whose result nobody wants.
    assert_eq!(engine.steps.iter().sum::<usize>(), PROMPT.len() + 19);

    let mut engine = self::engine(100, 8).that_runs_ahead();
    let prompts: [&[u32]; 2] = [&PROMPT, &PROMPT[..3]];
    let answers = generate_together(&mut engine, &prompts, 9, &NOT_INTERRUPTED).unwrap();
    let expected = prompts.map(|prompt| expected_continuation(prompt, 9, VOCAB));
    assert_eq!(answers, expected);
    assert_eq!(engine.open_sequences(), 0);
}
