//! Prompts that begin like what another sequence holds.

use super::*;

/// Runs prompts one after the other and gives how many tokens of each were reused.
fn reused(engine: &mut Automaton, prompts: &[&[u32]]) -> Vec<usize> {
    let desk = Desk::new(8);
    let heard: Vec<_> = prompts.iter().map(|prompt| desk.submit(prompt, 3)).collect();
    desk.run(engine, 1).unwrap();
    for (heard, prompt) in heard.iter().zip(prompts) {
        check(heard, prompt, 3, FinishReason::Length);
    }
    let reused: Vec<usize> = heard
        .iter()
        .map(|heard| heard.lock().unwrap().outcome.as_ref().unwrap().as_ref().unwrap().reused_tokens)
        .collect();
    assert_eq!(desk.counters.reused_tokens.get() as usize, reused.iter().sum::<usize>());
    assert_eq!(desk.counters.prefix_hits.get() as usize, reused.iter().filter(|&&count| count > 0).count());
    assert_eq!(desk.counters.prefix_hits.get() + desk.counters.prefix_misses.get(), prompts.len() as u64);
    reused
}

#[test]
fn the_next_turn_of_a_chat_runs_only_what_is_new() {
    let first: &[u32] = &[1, 2, 3, 4];
    let answer = expected_continuation(first, 3, VOCAB);
    let second = [first, &answer, &[9, 9]].concat();
    for sequences in [1, 2] {
        // The last token of the answer was chosen and not run.
        assert_eq!(reused(&mut engine(sequences, 100, 8), &[first, &second]), [0, 6]);
        // The window has not moved on for a prompt that goes on where the sequence ends.
        assert_eq!(reused(&mut engine(sequences, 100, 8).that_forgets(1), &[first, &second]), [0, 6]);
    }
    // The same prompt again: its last token is run.
    assert_eq!(reused(&mut engine(2, 100, 8), &[first, first, first]), [0, 3, 3]);
    assert_eq!(reused(&mut engine(2, 100, 8).that_forgets(1), &[first, first]), [0, 0]);
}

#[test]
fn the_longest_common_prefix_wins_and_the_least_recently_used_is_dropped() {
    let (a, b, c): (&[u32], &[u32], &[u32]) = (&[1, 1, 1, 1, 1], &[1, 1, 2, 2, 2], &[3, 3, 3, 3, 3]);
    let like_b: &[u32] = &[1, 1, 2, 2, 4];
    assert_eq!(reused(&mut engine(3, 100, 8), &[a, b, like_b]), [0, 2, 4]);
    // Two sequences: `c` takes the place of `a`, which was not used since; then nothing is like `a` but the two tokens of `b`.
    assert_eq!(reused(&mut engine(2, 100, 8), &[a, b, c, a]), [0, 2, 0, 2]);
    // One sequence: it is cut back, or begun anew.
    assert_eq!(reused(&mut engine(1, 100, 8), &[a, b, c, a]), [0, 2, 0, 0]);
}

#[test]
fn answers_to_one_prompt_run_it_once() {
    let desk = Desk::new(8);
    let prompt: Vec<u32> = (0..40).collect();
    let jobs: Vec<_> = (0..4).map(|_| desk.job(&prompt, 5)).collect();
    let (jobs, heard): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
    desk.queue.submit(jobs).unwrap();
    let mut engine = engine(4, 100, 64);
    desk.run(&mut engine, 4).unwrap();
    heard.iter().for_each(|heard| check(heard, &prompt, 5, FinishReason::Length));
    assert_eq!(desk.counters.reused_tokens.get(), 3 * 39);
    assert_eq!(engine.steps.iter().sum::<usize>(), 40 + 3 + 4 * 4);
}

#[test]
fn an_answer_does_not_wait_for_a_prompt_that_was_given_up() {
    let desk = Desk::new(8);
    let prompt: Vec<u32> = (0..40).collect();
    let (leader, _) = desk.job_that(&prompt, 5, Some(0), None);
    let leader = Job { listener: Box::new(Late(leader.listener, AtomicUsize::new(0))), ..leader };
    let (follower, heard) = desk.job(&prompt, 5);
    desk.queue.submit(vec![leader, follower]).unwrap();
    let mut engine = engine(2, 100, 8);
    desk.run(&mut engine, 2).unwrap();
    check(&heard, &prompt, 5, FinishReason::Length);
    assert_eq!(desk.counters.cancelled.get(), 1);
}

/// Is gone only after it was asked a few times: in the middle of its prompt.
struct Late(Box<dyn Listener>, AtomicUsize);

impl Listener for Late {
    fn token(&mut self, chosen: Chosen) -> ControlFlow<()> {
        self.0.token(chosen)
    }

    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        self.0.end(outcome);
    }

    fn is_gone(&self) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed) > 5
    }
}
