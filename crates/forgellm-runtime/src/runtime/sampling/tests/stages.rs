use proptest::prelude::*;

use super::super::mass::{self, Scale, exp};
use super::super::stages::{
    Candidate, draw, draw_of_all, head_of_mass, keep_min_p, keep_top_p, keep_typical,
};
use super::*;

const NONE: f32 = f32::NEG_INFINITY;

#[test]
fn exp_is_exact_to_its_promise() {
    let mut x = 0f32;
    while x > -87.0 {
        let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
        assert!(error.abs() < 2.5e-7, "exp({x}) is wrong by {error}");
        x = x * 1.0001 - 1e-6;
    }
    assert_eq!(exp(0.0), 1.0);
    assert_eq!([exp(-87.1), exp(f32::MIN), exp(NONE)], [0.0; 3]);
}

#[test]
fn most_likely_are_the_best_and_of_equals_the_first() {
    #[track_caller]
    fn check(logits: &[f32], count: usize, expected: &[u32]) {
        let mut found = vec![Candidate { token: 77, logit: 0.0 }];
        most_likely(logits, count, &mut found);
        assert_eq!(found.iter().map(|c| c.token).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|c| logits[c.token as usize] == c.logit));
    }
    let logits = [1.0, 3.0, 1.0, 3.0, 2.0];
    check(&logits, 4, &[1, 3, 4, 0]);
    check(&logits, 1, &[1]);
    check(&logits, 0, &[]);
    check(&logits, 99, &[1, 3, 4, 0, 2]);
    check(&logits, usize::MAX, &[1, 3, 4, 0, 2]);
    check(&[NONE, 5.0, NONE], 2, &[1]);
    check(&[], 2, &[]);
    // Much more than are held at a time, in the order that is worst.
    let rising: Vec<f32> = (0..10_000).map(|i| (i / 2) as f32).collect();
    check(&rising, 3, &[9998, 9999, 9996]);
    check(&[7.0; 5000], 3, &[0, 1, 2]);
}

#[test]
fn best_and_bad_logits_are_found_wherever_they_stand() {
    assert_eq!(mass::best(&[]), None);
    assert_eq!(mass::best(&[NONE; 600]), None);
    for at in [0, 7, 8, 255, 256, 300, 599] {
        let mut logits = vec![-1e30; 600];
        logits[at] = 5.0;
        assert_eq!(mass::best(&logits), Some((at as u32, 5.0)));
        assert_eq!(mass::first_bad(&logits), None);
        for bad in [f32::NAN, f32::INFINITY] {
            logits[at] = bad;
            let found = mass::first_bad(&logits).unwrap();
            assert_eq!((found.0, found.1.to_bits()), (at as u32, bad.to_bits()));
        }
    }
    assert_eq!(mass::best(&[1.0; 600]), Some((0, 1.0)));
}

#[test]
fn top_p_keeps_the_token_that_crosses_the_threshold() {
    #[track_caller]
    fn check(probabilities: &[f32], p: f32, expected: &[u32]) {
        let mut left = candidates(probabilities);
        keep_top_p(&mut left, p);
        assert_eq!(tokens(&left), expected);
    }
    check(&[0.02, 0.95, 0.03], 0.9, &[1]);
    check(&[0.4, 0.35, 0.25], 0.5, &[0, 1]);
    check(&[0.4, 0.35, 0.25], 0.76, &[0, 1, 2]);
    check(&[0.4, 0.35, 0.25], 1e-9, &[0]);
    check(&[0.4, 0.35, 0.25], 1.0, &[0, 1, 2]);
    check(&[0.25, 0.25, 0.25, 0.25], 0.4, &[0, 1]);
    check(&[1.0], 0.1, &[0]);
    check(&[], 0.5, &[]);
}

#[test]
fn top_p_of_a_flat_vocabulary_keeps_as_many_as_reach_it() {
    // 3,000 equal tokens, of which the first are kept, behind two that are ruled out.
    let mut logits = vec![NONE; 2];
    logits.extend([1.5; 3000]);
    let scale = Scale::new(1.5, 0.7);
    let mut kept = Vec::new();
    for (target, count) in [(1.0, 1), (63.5, 64), (64.5, 65), (512.5, 513), (1999.5, 2000), (3001.0, 3000)] {
        head_of_mass(&logits, scale, target, &mut kept);
        assert_eq!(tokens(&kept), (2..2 + count).collect::<Vec<u32>>());
    }
}

#[test]
fn min_p_is_relative_to_the_best() {
    let mut left = candidates(&[0.5, 0.26, 0.14, 0.1]);
    keep_min_p(&mut left, 0.0);
    assert_eq!(left.len(), 4);
    keep_min_p(&mut left, 0.5);
    assert_eq!(tokens(&left), [0, 1]);
    keep_min_p(&mut left, 1.0);
    assert_eq!(tokens(&left), [0]);
    keep_min_p(&mut left, 1.0);
    assert_eq!(tokens(&left), [0]);
}

#[test]
fn typical_keeps_what_surprises_about_as_much_as_expected() {
    #[track_caller]
    fn check(probabilities: &[f32], p: f32, expected: &[u32]) {
        let mut left = candidates(probabilities);
        keep_typical(&mut left, p);
        assert_eq!(tokens(&left), expected);
    }
    // Entropy in bits is 1.75; surprisals are 1, 2, 3, 3 bits, so the order is token 1 (0.25 away), 0 (0.75), then 2 and 3 (1.25).
    let powers = [0.5, 0.25, 0.125, 0.125];
    check(&powers, 0.2, &[1]);
    check(&powers, 0.26, &[0, 1]);
    check(&powers, 0.74, &[0, 1]);
    check(&powers, 0.76, &[0, 1, 2]);
    check(&powers, 0.9, &[0, 1, 2, 3]);
    check(&powers, 1.0, &[0, 1, 2, 3]);
    // Entropy is 0.486 nats, far from the surprisal of the rest (3.91) and near that of the first (0.105).
    check(&[0.9, 0.02, 0.02, 0.02, 0.02, 0.02], 0.5, &[0]);
    // 4.25 bits of entropy: 2.25 from the most likely one, which therefore comes last, and 0.75 from the 24 others.
    let mut probabilities = vec![0.25];
    probabilities.extend([1.0 / 32.0; 24]);
    check(&probabilities, 0.49, &(1..17).collect::<Vec<u32>>());
    check(&probabilities, 0.76, &(0..25).collect::<Vec<u32>>());
    // Equal ones: in the order of their ids.
    check(&[0.25; 4], 0.6, &[0, 1, 2]);
    check(&[1.0], 0.01, &[0]);
    check(&[], 0.5, &[]);
}

#[test]
fn typical_of_more_tokens_than_are_sorted_at_first() {
    // Uniform over 1,000, so that it keeps the first tokens until they reach the sum.
    let mut left = candidates(&[0.001; 1000]);
    keep_typical(&mut left, 0.7505);
    assert_eq!(tokens(&left), (0..751).collect::<Vec<u32>>());
}

#[test]
fn a_draw_finds_the_token_at_its_point() {
    let left = candidates(&[0.25, 0.5, 0.25]);
    let logits: Vec<f32> = [0.25f32, 0.5, 0.25].iter().map(|p| p.ln()).collect();
    let mut blocks = Vec::new();
    let scale = Scale::new(logits[1], 1.0);
    scale.masses(&logits, &mut blocks);
    // Candidates stand best first, a vocabulary in the order of ids.
    for (point, expected, of_all) in
        [(0.0, 1, 0), (0.2, 1, 0), (0.3, 1, 1), (0.6, 0, 1), (0.76, 2, 2), (1.0 - 1e-16, 2, 2)]
    {
        assert_eq!(draw(&left, point), Some(expected));
        assert_eq!(draw_of_all(&logits, scale, &blocks, point), Some(of_all));
    }
    assert_eq!(draw(&[], 0.5), None);
}

#[test]
fn a_draw_of_all_goes_through_blocks_and_never_takes_what_is_ruled_out() {
    // All mass in two tokens of different blocks, each at the end of what is possible.
    let mut logits = vec![NONE; 1000];
    (logits[300], logits[901]) = (2.0, 2.0);
    let scale = Scale::new(2.0, 0.3);
    let mut blocks = Vec::new();
    scale.masses(&logits, &mut blocks);
    let draw = |point| draw_of_all(&logits, scale, &blocks, point);
    assert_eq!([0.0, 0.49, 0.5, 0.999].map(draw), [300, 300, 901, 901].map(Some));
    // Rounding may lead past the end.
    assert_eq!(draw(1.0 + 1e-9), Some(901));
}

fn bias(entries: &[(u32, f32)], vocab: usize) -> LogitBias {
    LogitBias::new(entries.iter().copied(), vocab).unwrap()
}

/// Checks the logits behind bias and penalties.
#[track_caller]
fn check_adjusted(
    params: SamplingParams,
    entries: &[(u32, f32)],
    logits: &[f32],
    [prompt, answer]: [&[u32]; 2],
    expected: &[f32],
) {
    let mut adjusted = vec![9.0; 3];
    let bias = bias(entries, logits.len());
    adjust::adjust(&params, &bias, &mut Default::default(), logits, [prompt, answer], &mut adjusted);
    assert_eq!(adjusted, expected);
}

#[test]
fn a_bias_is_added_bans_and_forces() {
    let check = |entries: &[(u32, f32)], logits: &[f32], expected: &[f32]| {
        check_adjusted(SAMPLED, entries, logits, [&[], &[]], expected);
    };
    check(&[(2, 1.5), (0, -99.5)], &[1.0, 2.0, 3.0, NONE], &[-98.5, 2.0, 4.5, NONE]);
    check(&[(1, -100.0)], &[1.0, 1e30, 3.0], &[1.0, NONE, 3.0]);
    // Forced tokens compete as the model sees them, and what else has a bias is out.
    check(&[(0, 100.0), (2, 100.0), (1, 99.0)], &[-1e30, 1e30, 3.0, 4.0], &[-1e30, NONE, 103.0, NONE]);
    // A forced token that is impossible forces nothing.
    check(&[(1, 100.0), (0, 1.0)], &[1.0, NONE, 3.0], &[2.0, NONE, 3.0]);
    check(&[(1, 100.0), (0, 100.0)], &[1.0, NONE, 3.0], &[101.0, NONE, NONE]);
    check(&[(0, 50.0), (1, -50.0)], &[f32::MAX, f32::MIN], &[f32::MAX, f32::MIN]);
}

#[test]
fn repeated_tokens_become_less_likely_once() {
    let params = SamplingParams { repetition_penalty: 2.0, repetition_window: 6, ..SAMPLED };
    let logits = [2.0, -2.0, 2.0, NONE, 6.0];
    check_adjusted(params, &[], &logits, [&[4, 0, 1, 1], &[0, 3, 99]], &[1.0, -4.0, 2.0, NONE, 6.0]);
    // The answer alone fills the window.
    let params = SamplingParams { repetition_window: 2, ..params };
    check_adjusted(params, &[], &logits, [&[4, 0, 1, 1], &[0, 2, 3]], &[2.0, -2.0, 1.0, NONE, 6.0]);
    let params = SamplingParams { repetition_window: 0, presence_penalty: 1.0, ..params };
    check_adjusted(params, &[], &logits, [&[4, 0, 1, 1], &[2]], &[2.0, -2.0, 1.0, NONE, 6.0]);
    // On top of the bias.
    let params = SamplingParams { repetition_penalty: 2.0, repetition_window: 9, ..SAMPLED };
    check_adjusted(params, &[(0, 4.0)], &logits, [&[0], &[0]], &[3.0, -2.0, 2.0, NONE, 6.0]);
    // No finite logit becomes infinite, so that nothing is ruled out or certain.
    let params = SamplingParams { repetition_penalty: 1e30, ..params };
    check_adjusted(params, &[], &[-1e30, 1.0], [&[0], &[]], &[f32::MIN, 1.0]);
    let params = SamplingParams { repetition_penalty: 1e-30, ..params };
    check_adjusted(params, &[], &[1e30, 1.0], [&[0], &[]], &[f32::MAX, 1.0]);
}

#[test]
fn frequency_counts_and_presence_does_not_and_neither_looks_at_the_prompt() {
    let both = SamplingParams { frequency_penalty: 0.5, presence_penalty: 0.25, ..SAMPLED };
    let answer = [1, 2, 1, 1, 3, 99];
    let logits = [1.0, 1.0, 1.0, NONE];
    check_adjusted(both, &[], &logits, [&[0, 0, 2], &answer], &[1.0, -0.75, 0.25, NONE]);
    let frequency = SamplingParams { presence_penalty: 0.0, ..both };
    check_adjusted(frequency, &[], &logits, [&[0, 0, 2], &answer], &[1.0, -0.5, 0.5, NONE]);
    let presence = SamplingParams { frequency_penalty: 0.0, presence_penalty: -2.0, ..both };
    check_adjusted(presence, &[], &logits, [&[0, 0, 2], &answer], &[1.0, 3.0, 3.0, NONE]);
    // Behind the repetition penalty: (1 - 2) / 2 would be another result.
    let all =
        SamplingParams { repetition_penalty: 2.0, frequency_penalty: 2.0, presence_penalty: 0.0, ..both };
    check_adjusted(all, &[], &[1.0, 1.0], [&[0], &[1]], &[0.5, -1.5]);
}

proptest! {
    #[test]
    fn most_likely_is_the_head_of_the_sorted_vocabulary(
        logits in prop::collection::vec(prop_oneof![-3i8..4, -100i8..100], 0..900),
        count in 0usize..400,
    ) {
        let logits: Vec<f32> = logits.into_iter().map(|l| if l == -3 { NONE } else { f32::from(l) }).collect();
        let mut found = Vec::new();
        most_likely(&logits, count, &mut found);
        let all = (0..).zip(&logits).filter(|(_, logit)| **logit > NONE);
        let mut all: Vec<Candidate> = all.map(|(token, &logit)| Candidate { token, logit }).collect();
        all.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token)));
        all.truncate(count);
        prop_assert_eq!(found, all);
    }
}
