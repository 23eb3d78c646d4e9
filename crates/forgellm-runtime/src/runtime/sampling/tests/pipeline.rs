use super::*;

/// Draws often, and compares the frequencies with the distribution by Pearson's chi-square statistic.
#[track_caller]
fn check_frequencies(params: SamplingParams, logits: &[f32], expected: &[f64]) {
    check_frequencies_of(&mut Sampler::new(params).unwrap(), logits, [&[], &[]], expected);
}

#[track_caller]
fn check_frequencies_of(
    sampler: &mut Sampler,
    logits: &[f32],
    [prompt, answer]: [&[u32]; 2],
    expected: &[f64],
) {
    const DRAWS: usize = 40_000;
    let mut counts = vec![0usize; logits.len()];
    for _ in 0..DRAWS {
        counts[sampler.sample(logits, prompt, answer).unwrap() as usize] += 1;
    }
    check_counts(&counts, expected);
}

#[track_caller]
fn check_counts(counts: &[usize], expected: &[f64]) {
    let draws: usize = counts.iter().sum();
    let mut statistic = 0.0;
    for (&count, &probability) in counts.iter().zip(expected) {
        if probability == 0.0 {
            assert_eq!(count, 0, "{counts:?}");
            continue;
        }
        let mean = probability * draws as f64;
        statistic += (count as f64 - mean).powi(2) / mean;
    }
    // The 99.9% quantile for up to five degrees of freedom is 20.5.
    assert!(statistic < 20.5, "chi-square {statistic}: {counts:?}, expected {expected:?}");
}

fn normalized(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[test]
fn greedy_takes_the_best_and_of_equals_the_first() {
    let mut sampler = Sampler::new(SamplingParams::GREEDY).unwrap();
    assert_eq!(sampler.sample(&[0.0, 2.0, -1.0, 2.0], &[], &[]), Ok(1));
    assert_eq!(sampler.sample(&[f32::NEG_INFINITY, -5.0], &[], &[]), Ok(1));
}

#[test]
fn plain_greedy_needs_no_logits_unless_they_are_changed() {
    let is_plain = |params| Sampler::new(params).unwrap().is_plain_greedy();
    let greedy = SamplingParams::GREEDY;
    assert!(is_plain(greedy));
    assert!(is_plain(SamplingParams { top_k: 3, top_p: 0.5, min_p: 0.1, typical_p: 0.5, ..greedy }));
    assert!(is_plain(SamplingParams { repetition_penalty: 1.1, repetition_window: 0, ..greedy }));
    assert!(!is_plain(SAMPLED));
    assert!(!is_plain(SamplingParams { repetition_penalty: 1.1, ..greedy }));
    assert!(!is_plain(SamplingParams { presence_penalty: 0.1, ..greedy }));
    assert!(!is_plain(SamplingParams { frequency_penalty: -0.1, ..greedy }));
    let with_bias = |entries: &[(u32, f32)]| {
        let bias = LogitBias::new(entries.iter().copied(), 9).unwrap();
        Sampler::new(greedy).unwrap().with_bias(bias).is_plain_greedy()
    };
    assert!(with_bias(&[]) && !with_bias(&[(3, 1.0)]));
}

#[test]
fn draws_follow_the_distribution() {
    let p = [0.5, 0.3, 0.15, 0.05];
    check_frequencies(SAMPLED, &logits(&p), &p.map(f64::from));
    check_frequencies(SAMPLED, &[-3.0], &[1.0]);
    check_frequencies(SAMPLED, &[f32::NEG_INFINITY, f32::NEG_INFINITY, -1e30], &[0.0, 0.0, 1.0]);
}

#[test]
fn first_draws_of_many_seeds_follow_the_distribution() {
    let p = [0.5, 0.3, 0.15, 0.05];
    for params in [SAMPLED, SamplingParams { top_k: 4, ..SAMPLED }] {
        let mut counts = [0; 4];
        for seed in 0..20_000 {
            let mut sampler = Sampler::new(SamplingParams { seed: Some(seed), ..params }).unwrap();
            counts[sampler.sample(&logits(&p), &[], &[]).unwrap() as usize] += 1;
        }
        check_counts(&counts, &p.map(f64::from));
    }
}

#[test]
fn temperature_flattens_and_sharpens() {
    // Probabilities to the power 1 / temperature, normalised.
    let hot = SamplingParams { temperature: 2.0, ..SAMPLED };
    let p = logits(&[0.64, 0.16, 0.16, 0.04]);
    check_frequencies(hot, &p, &normalized(&[4.0, 2.0, 2.0, 1.0]));
    let cold = SamplingParams { temperature: 0.5, ..SAMPLED };
    check_frequencies(cold, &logits(&[0.6, 0.3, 0.1]), &normalized(&[36.0, 9.0, 1.0]));
}

#[test]
fn a_tiny_temperature_is_greedy_not_an_error() {
    for (temperature, top_k) in [(f32::MIN_POSITIVE, 0), (f32::MIN_POSITIVE, 2), (1e-45, 0), (1e-45, 2)] {
        let params = SamplingParams { temperature, top_k, ..SAMPLED };
        check_frequencies(params, &[-1e30, 1e30, 0.0], &[0.0, 1.0, 0.0]);
    }
}

#[test]
fn truncations_together() {
    let p = logits(&[0.4, 0.3, 0.15, 0.1, 0.05]);
    let three = normalized(&[8.0, 6.0, 3.0, 0.0, 0.0]);
    let top_k = SamplingParams { top_k: 2, ..SAMPLED };
    check_frequencies(top_k, &p, &normalized(&[4.0, 3.0, 0.0, 0.0, 0.0]));
    check_frequencies(SamplingParams { top_k: 99, ..SAMPLED }, &p, &[0.4, 0.3, 0.15, 0.1, 0.05]);
    check_frequencies(SamplingParams { min_p: 0.3, ..SAMPLED }, &p, &three);
    check_frequencies(SamplingParams { top_p: 0.8, ..SAMPLED }, &p, &three);
    // Of the best four (0.95 in sum), 0.4 + 0.3 + 0.15 = 0.85 reaches 0.85 / 0.95, so the fourth goes.
    check_frequencies(SamplingParams { top_k: 4, top_p: 0.89, ..SAMPLED }, &p, &three);
    // Top-p leaves four and min-p three of them.
    check_frequencies(SamplingParams { top_p: 0.9, min_p: 0.3, ..SAMPLED }, &p, &three);
    // The entropy is 1.030, the surprisals are 0.693, 1.609 and 1.204: the last is nearest, then the first.
    let p = logits(&[0.5, 0.2, 0.3]);
    check_frequencies(SamplingParams { typical_p: 0.29, ..SAMPLED }, &p, &[0.0, 0.0, 1.0]);
    check_frequencies(SamplingParams { typical_p: 0.75, ..SAMPLED }, &p, &[0.625, 0.0, 0.375]);
    check_frequencies(SamplingParams { typical_p: 0.75, top_k: 3, ..SAMPLED }, &p, &[0.625, 0.0, 0.375]);
}

#[test]
fn temperature_comes_before_the_truncations() {
    // At 0.5 the probabilities are 36, 9 and 1 of 46; before it, top-p would keep two and min-p all.
    let p = logits(&[0.6, 0.3, 0.1]);
    let cold = SamplingParams { temperature: 0.5, ..SAMPLED };
    check_frequencies(SamplingParams { top_p: 0.75, ..cold }, &p, &[1.0, 0.0, 0.0]);
    check_frequencies(SamplingParams { min_p: 0.1, ..cold }, &p, &[0.8, 0.2, 0.0]);
}

#[test]
fn the_best_token_is_always_possible() {
    let params = SamplingParams { top_p: 0.9, ..SAMPLED };
    check_frequencies(params, &logits(&[0.97, 0.02, 0.01]), &[1.0, 0.0, 0.0]);
}

#[test]
fn bias_and_penalties_change_odds_by_their_exponential() {
    let p = logits(&[0.4, 0.4, 0.1, 0.1]);
    let (e, e2) = (1f64.exp(), 2f64.exp());
    let bias = LogitBias::new([(2, 2.0), (1, -1.0)], 4).unwrap();
    let mut sampler = Sampler::new(SAMPLED).unwrap().with_bias(bias);
    check_frequencies_of(&mut sampler, &p, [&[], &[]], &normalized(&[4.0, 4.0 / e, e2, 1.0]));

    let banned = LogitBias::new([(0, -100.0), (3, -100.0)], 4).unwrap();
    let mut sampler = Sampler::new(SAMPLED).unwrap().with_bias(banned);
    check_frequencies_of(&mut sampler, &p, [&[], &[]], &[0.0, 0.8, 0.2, 0.0]);
    let forced = LogitBias::new([(1, 100.0), (2, 100.0)], 4).unwrap();
    let mut sampler = Sampler::new(SAMPLED).unwrap().with_bias(forced);
    check_frequencies_of(&mut sampler, &p, [&[], &[]], &[0.0, 0.8, 0.2, 0.0]);

    // Token 1 occurs twice in the answer; what the prompt holds does not matter.
    let texts: [&[u32]; 2] = [&[0, 2, 2], &[1, 3, 1]];
    let frequency = SamplingParams { frequency_penalty: 1.0, ..SAMPLED };
    let expected = normalized(&[4.0, 4.0 / e2, 1.0, 1.0 / e]);
    check_frequencies_of(&mut Sampler::new(frequency).unwrap(), &p, texts, &expected);
    let presence = SamplingParams { presence_penalty: 1.0, ..SAMPLED };
    let expected = normalized(&[4.0, 4.0 / e, 1.0, 1.0 / e]);
    check_frequencies_of(&mut Sampler::new(presence).unwrap(), &p, texts, &expected);
}

#[test]
fn greedy_knows_bias_and_penalties() {
    let p = [3.0, 2.5, 1.0];
    let greedy = |params: SamplingParams, bias: &[(u32, f32)], answer: &[u32]| {
        let bias = LogitBias::new(bias.iter().copied(), 3).unwrap();
        let params = SamplingParams { temperature: 0.0, ..params };
        Sampler::new(params).unwrap().with_bias(bias).sample(&p, &[0, 0], answer)
    };
    assert_eq!(greedy(SAMPLED, &[(0, -0.6)], &[]), Ok(1));
    assert_eq!(greedy(SAMPLED, &[(2, 100.0)], &[]), Ok(2));
    assert_eq!(greedy(SAMPLED, &[(0, -100.0), (1, -100.0)], &[]), Ok(2));
    let all = [(0, -100.0), (1, -100.0), (2, -100.0)];
    assert_eq!(greedy(SAMPLED, &all, &[]), Err(SamplingError::NoCandidate));
    let presence = SamplingParams { presence_penalty: 0.4, ..SAMPLED };
    assert_eq!(greedy(presence, &[], &[0, 0]), Ok(0));
    let frequency = SamplingParams { frequency_penalty: 0.4, ..SAMPLED };
    assert_eq!(greedy(frequency, &[], &[0]), Ok(0));
    assert_eq!(greedy(frequency, &[], &[0, 0]), Ok(1));
}

#[test]
fn the_counts_follow_a_growing_answer() {
    let params = SamplingParams { frequency_penalty: 0.7, presence_penalty: 0.2, ..SamplingParams::GREEDY };
    let p: Vec<f32> = (0..20).map(|i| (i * 7 % 20) as f32 * 0.3).collect();
    let mut growing = Sampler::new(params).unwrap();
    let mut answer = Vec::new();
    for _ in 0..200 {
        let token = growing.sample(&p, &[], &answer).unwrap();
        assert_eq!(Sampler::new(params).unwrap().sample(&p, &[], &answer), Ok(token));
        answer.push(token);
    }
    // An answer that was cut is counted anew.
    answer.truncate(50);
    let expected = Sampler::new(params).unwrap().sample(&p, &[], &answer);
    assert_eq!(growing.sample(&p, &[], &answer), expected);
}

#[test]
fn the_repetition_penalty_looks_back_as_far_as_its_window() {
    let params = SamplingParams { repetition_penalty: 10.0, repetition_window: 2, ..SamplingParams::GREEDY };
    let mut sampler = Sampler::new(params).unwrap();
    assert_eq!(sampler.sample(&[3.0, 2.0, 1.0], &[0, 1, 2], &[]), Ok(0));
    assert_eq!(sampler.sample(&[3.0, 2.0, 1.0], &[2], &[1, 0]), Ok(2));
    assert_eq!(sampler.sample(&[3.0, 2.0, 1.0], &[2, 1], &[0]), Ok(2));
    assert_eq!(sampler.sample(&[3.0, 2.0, 1.0], &[0], &[]), Ok(1));
}

#[test]
fn bad_logits_are_errors() {
    let truncating = SamplingParams { top_k: 1, top_p: 0.5, min_p: 0.1, typical_p: 0.5, ..SAMPLED };
    let penalizing = SamplingParams { presence_penalty: 1.0, ..SAMPLED };
    for params in [SAMPLED, SamplingParams::GREEDY, truncating, penalizing] {
        let mut sampler = Sampler::new(params).unwrap();
        let error = sampler.sample(&[0.0, f32::NAN], &[], &[]);
        assert!(matches!(error, Err(SamplingError::NotFinite { token: 1, .. })));
        let error = sampler.sample(&[f32::INFINITY], &[], &[]);
        assert!(matches!(error, Err(SamplingError::NotFinite { token: 0, .. })));
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3], &[], &[]), Err(SamplingError::NoCandidate));
        assert_eq!(sampler.sample(&[], &[], &[]), Err(SamplingError::NoCandidate));
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY, f32::MIN, f32::NEG_INFINITY], &[], &[]), Ok(1));
    }
    assert!(matches!(check_logit(5, f32::NAN), Err(SamplingError::NotFinite { token: 5, .. })));
}

#[test]
fn parameters_are_checked_and_errors_name_them() {
    let bad = [
        (SamplingParams { temperature: -0.1, ..SAMPLED }, "temperature is -0.1, it must be 0 or more"),
        (SamplingParams { temperature: f32::NAN, ..SAMPLED }, "temperature is NaN, it must be 0 or more"),
        (
            SamplingParams { temperature: f32::INFINITY, ..SAMPLED },
            "temperature is inf, it must be 0 or more",
        ),
        (SamplingParams { top_p: 0.0, ..SAMPLED }, "top_p is 0, it must be above 0, at most 1"),
        (SamplingParams { top_p: 1.1, ..SAMPLED }, "top_p is 1.1, it must be above 0, at most 1"),
        (SamplingParams { min_p: -0.1, ..SAMPLED }, "min_p is -0.1, it must be from 0 to 1"),
        (SamplingParams { min_p: f32::NAN, ..SAMPLED }, "min_p is NaN, it must be from 0 to 1"),
        (SamplingParams { typical_p: 0.0, ..SAMPLED }, "typical_p is 0, it must be above 0, at most 1"),
        (
            SamplingParams { repetition_penalty: 0.0, ..SAMPLED },
            "repetition_penalty is 0, it must be above 0",
        ),
        (
            SamplingParams { presence_penalty: 2.5, ..SAMPLED },
            "presence_penalty is 2.5, it must be from -2 to 2",
        ),
        (
            SamplingParams { frequency_penalty: f32::NAN, ..SAMPLED },
            "frequency_penalty is NaN, it must be from -2 to 2",
        ),
    ];
    for (params, message) in bad {
        let error = Sampler::new(params).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.parameter(), message.split(' ').next());
    }
    let bias = |entries: &[(u32, f32)]| LogitBias::new(entries.iter().copied(), 10).unwrap_err();
    let bad = [
        (
            bias(&[(3, 1.0), (10, 0.0)]),
            "logit_bias names token 10, which is not in the vocabulary of 10 tokens",
        ),
        (bias(&[(3, 100.5)]), "logit_bias of token 3 is 100.5, it must be from -100 to 100"),
        (bias(&[(3, f32::NAN)]), "logit_bias of token 3 is NaN, it must be from -100 to 100"),
        (bias(&[(3, 1.0), (4, 1.0), (3, 2.0)]), "logit_bias names token 3 twice; give it once"),
    ];
    for (error, message) in bad {
        assert_eq!(error.to_string(), message);
        assert_eq!(error.parameter(), Some("logit_bias"));
    }
    assert_eq!(SamplingError::NoCandidate.parameter(), None);
}

#[test]
fn a_seed_gives_the_same_tokens_everywhere() {
    let draw = |params: SamplingParams, seed| {
        let mut sampler = Sampler::new(SamplingParams { seed: Some(seed), ..params }).unwrap();
        (0..12).map(|_| sampler.sample(&[0.0; 10], &[], &[]).unwrap()).collect::<Vec<u32>>()
    };
    // Written down from one run: another platform or version must give the same.
    let expected = [8, 1, 4, 7, 3, 5, 3, 7, 1, 4, 0, 0];
    assert_eq!(draw(SAMPLED, 1), expected);
    assert_ne!(draw(SAMPLED, 2), expected);
    // Equal tokens stand in the order of their ids after a truncation, too.
    assert_eq!(draw(SamplingParams { min_p: 1.0, ..SAMPLED }, 1), expected);
    assert_eq!(draw(SamplingParams { top_p: 0.9999, ..SAMPLED }, 1), expected);
}

#[test]
fn without_a_seed_runs_differ_and_name_their_seed() {
    let unseeded = || Sampler::new(SamplingParams { seed: None, ..SAMPLED }).unwrap();
    let (mut first, second) = (unseeded(), unseeded());
    assert_ne!(first.seed(), second.seed());
    let mut again = Sampler::new(SamplingParams { seed: Some(first.seed()), ..SAMPLED }).unwrap();
    for _ in 0..20 {
        assert_eq!(first.sample(&[0.0; 50], &[], &[]), again.sample(&[0.0; 50], &[], &[]));
    }
}
