use proptest::prelude::*;

use super::super::adjust::BAN;
use super::*;

prop_compose! {
    /// Every parameter over its range, and switched off about half of the time.
    fn any_params()(
        temperature in prop_oneof![Just(1f32), 0.05f32..5.0],
        top_k in prop_oneof![Just(0usize), 1usize..300],
        top_p in prop_oneof![Just(1f32), 0.001f32..1.0],
        min_p in prop_oneof![Just(0f32), 0f32..=1.0],
        typical_p in prop_oneof![Just(1f32), 0.001f32..1.0],
        repetition_penalty in prop_oneof![Just(1f32), 0.2f32..5.0],
        repetition_window in prop_oneof![Just(usize::MAX), 0usize..9],
        presence_penalty in prop_oneof![Just(0f32), -2f32..=2.0],
        frequency_penalty in prop_oneof![Just(0f32), -2f32..=2.0],
        seed in any::<u64>(),
    ) -> SamplingParams {
        SamplingParams {
            temperature, top_k, top_p, min_p, typical_p, repetition_penalty, repetition_window, presence_penalty,
            frequency_penalty, seed: Some(seed),
        }
    }
}

prop_compose! {
    /// A bias without forbidden repetition: of the tokens below 16.
    fn any_bias()(
        values in prop::collection::btree_map(
            0u32..16, prop_oneof![4 => -100f32..=100.0, 1 => Just(-100f32), 1 => Just(100f32)], 0..5,
        ),
    ) -> Vec<(u32, f32)> {
        values.into_iter().collect()
    }
}

fn text() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..40, 0..20)
}

fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![6 => -12f32..12.0, 3 => (-4i8..4).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY)]
}

fn sampler(params: SamplingParams, bias: &[(u32, f32)], vocab: usize) -> Sampler {
    let bias = LogitBias::new(bias.iter().copied(), vocab).unwrap();
    Sampler::new(params).unwrap().with_bias(bias)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_pipeline_keeps_what_the_obvious_one_keeps_and_draws_from_it(
        params in any_params(), bias in any_bias(), prompt in text(), answer in text(),
        logits in prop_oneof![prop::collection::vec(logit(), 16..60), prop::collection::vec(logit(), 300..700), prop::collection::vec(-1f32..1.0, 1500..2500)],
    ) {
        let expected = reference::kept(&params, &bias, &logits, [&prompt, &answer]);
        let mut first = sampler(params, &bias, logits.len());
        let mut second = first.clone();
        let token = first.sample(&logits, &prompt, &answer);
        prop_assert_eq!(&token, &second.sample(&logits, &prompt, &answer));
        prop_assert_eq!(&token, &sampler(params, &bias, logits.len()).sample(&logits, &prompt, &answer));
        let Some(expected) = expected else {
            return Ok(());
        };
        if expected.is_empty() {
            prop_assert_eq!(token, Err(SamplingError::NoCandidate));
            return Ok(());
        }
        let token = token.unwrap();
        prop_assert!(expected.iter().any(|(id, _)| *id == token), "{token} of {expected:?}");
        let is_truncated = params.top_k > 0 && params.top_k < logits.len()
            || params.top_p < 1.0 || params.min_p > 0.0 || params.typical_p < 1.0;
        if is_truncated {
            let expected: Vec<u32> = expected.iter().map(|(token, _)| *token).collect();
            prop_assert_eq!(tokens(first.kept()), expected);
        }
    }

    #[test]
    fn any_logits_give_a_possible_token_or_an_error(
        params in any_params(), is_greedy in any::<bool>(), bias in any_bias(), prompt in text(), answer in text(),
        logits in prop::collection::vec(prop_oneof![any::<f32>(), logit(), Just(f32::MAX), Just(f32::MIN)], 16..60),
        extreme in prop_oneof![Just(f32::MIN_POSITIVE), Just(f32::MAX), Just(1f32)],
    ) {
        let temperature = if is_greedy { 0.0 } else { params.temperature * extreme.min(1e30) };
        let params = SamplingParams { temperature, repetition_penalty: extreme, ..params };
        let bans = bias.iter().any(|(_, bias)| *bias == BAN);
        match sampler(params, &bias, logits.len()).sample_with_logprobs(&logits, &prompt, &answer, 3) {
            Ok(found) => {
                prop_assert!(logits[found.chosen.token as usize] > f32::NEG_INFINITY);
                prop_assert!(bias.iter().all(|(token, bias)| *token != found.chosen.token || *bias != BAN));
                prop_assert!(found.chosen.logprob <= 0.0 && found.top.len() <= 3);
            }
            Err(SamplingError::NoCandidate) => {
                prop_assert!(bans || logits.iter().all(|logit| *logit == f32::NEG_INFINITY));
            }
            Err(error) => {
                prop_assert!(matches!(error, SamplingError::NotFinite { .. }), "{}", error);
                prop_assert!(logits.iter().any(|logit| check_logit(0, *logit).is_err()));
            }
        }
    }
}
