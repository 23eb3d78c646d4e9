use std::sync::atomic::AtomicBool;

use super::automaton::{Automaton, logits as logits_after};
use crate::runtime::engine::Capacity;
use crate::runtime::generate::GenerateError;
use crate::runtime::sampling::log_sum_exp;
use crate::runtime::score::{logits, perplexity};

const VOCAB: usize = 40;
const IDS: [u32; 9] = [2, 7, 1, 8, 2, 8, 1, 8, 2];
static NOT_INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn engine(positions: usize, rows: usize) -> Automaton {
    Automaton::new(VOCAB, Capacity { sequences: 1, positions, rows })
}

#[test]
fn log_sum_exp_has_known_values() {
    assert!((log_sum_exp(&[0.0; 8]) - 8f64.ln()).abs() < 1e-12);
    assert!((log_sum_exp(&[1e4, 1e4]) - (1e4 + 2f64.ln())).abs() < 1e-9);
    assert!((log_sum_exp(&[f32::NEG_INFINITY, 3.0]) - 3.0).abs() < 1e-12);
    assert_eq!(log_sum_exp(&[f32::NEG_INFINITY]), f64::NEG_INFINITY);
    assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
}

#[test]
fn perplexity_scores_every_token_but_the_first() {
    let nll = |position: usize| {
        let row = logits_after(&IDS[..=position], VOCAB);
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum.ln() - f64::from(row[IDS[position + 1] as usize])
    };
    let mean = (0..8).map(nll).sum::<f64>() / 8.0;
    for rows in [1, 3, 100] {
        // The last token is only predicted, so it needs no position.
        let mut engine = engine(8, rows);
        let result = perplexity(&mut engine, &IDS, &NOT_INTERRUPTED).unwrap();
        assert_eq!(result.tokens, 8);
        assert!((result.mean_nll - mean).abs() < 1e-9 && (result.perplexity - mean.exp()).abs() < 1e-6);
        assert_eq!(engine.open_sequences(), 0);
    }
}

#[test]
fn logits_are_those_of_each_position_best_first() {
    let positions = logits(&mut engine(9, 4), &IDS, 5, &NOT_INTERRUPTED).unwrap();
    assert_eq!(positions.len(), IDS.len());
    for (index, position) in positions.iter().enumerate() {
        let row = logits_after(&IDS[..=index], VOCAB);
        assert_eq!((position.position, position.ids.len()), (index, 5));
        assert!(position.logits.is_sorted_by(|a, b| a >= b));
        assert!(position.ids.iter().zip(&position.logits).all(|(&id, &logit)| row[id as usize] == logit));
        let least = position.logits[4];
        assert_eq!(row.iter().filter(|&&logit| logit > least).count(), 4);
        assert!((position.logsumexp - log_sum_exp(&row)).abs() < 1e-12);
    }
    let all = logits(&mut engine(9, 4), &IDS, 1000, &NOT_INTERRUPTED).unwrap();
    assert!(all.iter().all(|position| position.ids.len() == VOCAB));
    let none = logits(&mut engine(9, 4), &IDS, 0, &NOT_INTERRUPTED).unwrap();
    assert!(none.iter().all(|position| position.ids.is_empty()));
}

#[test]
fn what_cannot_be_scored_is_refused() {
    assert_eq!(perplexity(&mut engine(9, 4), &[1], &NOT_INTERRUPTED), Err(GenerateError::EmptyPrompt));
    assert_eq!(logits(&mut engine(9, 4), &[], 5, &NOT_INTERRUPTED), Err(GenerateError::EmptyPrompt));
    let too_long = GenerateError::PromptTooLong { tokens: 9, room: 8 };
    assert_eq!(logits(&mut engine(8, 4), &IDS, 5, &NOT_INTERRUPTED), Err(too_long));
    assert!(matches!(
        perplexity(&mut engine(9, 4), &[1, 99, 2], &NOT_INTERRUPTED),
        Err(GenerateError::Engine(_))
    ));
    let interrupted = AtomicBool::new(true);
    assert_eq!(perplexity(&mut engine(9, 4), &IDS, &interrupted), Err(GenerateError::Interrupted));
}
