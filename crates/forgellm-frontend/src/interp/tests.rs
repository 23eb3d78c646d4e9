//! Functions against numbers from elsewhere.

use super::functions::{activation, log_sum_exp, softcap, softmax};
use crate::ir::HiddenActivation;

/// Expected: Python's `math.exp`, `math.tanh` and `math.erfc`.
#[test]
fn activations_match_their_formulas() {
    let cases = [
        (HiddenActivation::Silu, 1.5, 1.226_361_714_290_47),
        (HiddenActivation::Silu, -20.0, -4.122_307_236_380_4e-8),
        (HiddenActivation::GeluTanh, 1.5, 1.399_571_576_980_23),
        (HiddenActivation::GeluTanh, -0.75, -0.170_039_444_834_38),
        (HiddenActivation::GeluErf, 1.5, 1.399_789_198_096_71),
        (HiddenActivation::GeluErf, -0.75, -0.169_970_514_282_65),
        (HiddenActivation::GeluErf, -4.0, -1.266_849_673_324_8e-4),
        (HiddenActivation::GeluErf, 3.0, 2.995_950_305_905_11),
    ];
    for (kind, x, expected) in cases {
        let error = (f64::from(activation(kind, x)) - expected).abs();
        assert!(error <= 3e-7 * expected.abs(), "{kind:?}({x}) is {}, not {expected}", activation(kind, x));
    }
}

#[test]
fn log_sum_exp_neither_overflows_nor_underflows() {
    assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-12);
    assert!((log_sum_exp(&[-1000.0, -1000.0]) - (-1000.0 + 2f64.ln())).abs() < 1e-12);
    assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
}

#[test]
fn a_sink_takes_its_share() {
    let mut x = [0.0, 2f32.ln()];
    softmax(&mut x, Some(0.0));
    assert!((x[0] - 0.25).abs() < 1e-6 && (x[1] - 0.5).abs() < 1e-6, "{x:?}");
}

#[test]
fn softcap_bends_towards_its_cap() {
    assert!((softcap(30.0, 30.0) - 22.847_825).abs() < 1e-4);
    assert!((softcap(-1e6, 30.0) + 30.0).abs() < 1e-4);
}
