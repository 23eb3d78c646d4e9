use super::*;

const NONE: f32 = f32::NEG_INFINITY;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found}, expected {expected}");
}

#[test]
fn closed_forms() {
    let equal = token_logprobs(&[2.5; 1000], 7, 3).unwrap();
    close(equal.chosen.logprob, -1000f64.ln());
    assert_eq!(equal.top.iter().map(|top| top.token).collect::<Vec<_>>(), [0, 1, 2]);
    // Two tokens: minus ln(1 + e^difference).
    let two = token_logprobs(&[1.0, 4.0], 0, 5).unwrap();
    close(two.chosen.logprob, -(3f64.exp().ln_1p()));
    assert_eq!(two.top.iter().map(|top| top.token).collect::<Vec<_>>(), [1, 0]);
    close(two.top[0].logprob, -((-3f64).exp().ln_1p()));
    assert_eq!(two.top[1], two.chosen);
    // Far beyond what exp can hold.
    let far = token_logprobs(&[1e30, 1e30, -1e30], 2, 1).unwrap();
    close(far.chosen.logprob, -2.0 * f64::from(1e30f32));
    assert_eq!(token_logprobs(&[-7.0], 0, 1).unwrap().chosen, Logprob { token: 0, logprob: 0.0 });
}

#[test]
fn tokens_that_are_ruled_out_are_not_among_the_best() {
    let found = token_logprobs(&[NONE, 1.0, NONE, 1.0], 0, 4).unwrap();
    assert_eq!(found.chosen.logprob, f64::NEG_INFINITY);
    assert_eq!(found.top.len(), 2);
    close(found.top[1].logprob, -2f64.ln());
    assert!(token_logprobs(&[1.0, 2.0], 0, 0).unwrap().top.is_empty());
}

#[test]
fn there_is_no_probability_of_nothing() {
    assert_eq!(token_logprobs(&[NONE; 3], 1, 2), Err(SamplingError::NoCandidate));
    let error = token_logprobs(&[1.0; 3], 3, 2).unwrap_err();
    assert_eq!(error, SamplingError::UnknownToken { token: 3, vocab: 3 });
    let error = token_logprobs(&[1.0, f32::NAN], 0, 2);
    assert!(matches!(error, Err(SamplingError::NotFinite { token: 1, .. })));
}

/// `make_logprobs.py` computed these with 60 digits.
#[test]
fn as_computed_with_many_digits() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/logprobs.json")).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let logits: Vec<f32> = numbers(&case["logits"]).into_iter().map(|logit| logit as f32).collect();
        let expected = numbers(&case["logprobs"]);
        close(log_sum_exp(&logits), case["logsumexp"].as_f64().unwrap());
        for (token, &expected) in (0..).zip(&expected) {
            close(token_logprobs(&logits, token, 0).unwrap().chosen.logprob, expected);
        }
        let top = token_logprobs(&logits, 0, 20).unwrap().top;
        let ids: Vec<f64> = top.iter().map(|top| f64::from(top.token)).collect();
        assert_eq!(ids, numbers(&case["top_20"]));
    }
}

#[test]
fn they_are_of_the_model_whatever_is_done_to_the_logits() {
    let params = SamplingParams {
        temperature: 0.1,
        top_k: 1,
        presence_penalty: 2.0,
        repetition_penalty: 3.0,
        ..SAMPLED
    };
    let bias = LogitBias::new([(2, 100.0)], 4).unwrap();
    let p = logits(&[0.1, 0.2, 0.3, 0.4]);
    let mut sampler = Sampler::new(params).unwrap().with_bias(bias);
    let found = sampler.sample_with_logprobs(&p, &[0, 1], &[2, 2], 2).unwrap();
    assert_eq!(found, token_logprobs(&p, 2, 2).unwrap());
    assert!((found.chosen.logprob - 0.3f64.ln()).abs() < 1e-6);
    assert_eq!(found.top.iter().map(|top| top.token).collect::<Vec<_>>(), [3, 2]);
}
