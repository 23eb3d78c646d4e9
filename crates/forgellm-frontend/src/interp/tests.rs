//! Edges that the comparison with NumPy (`tests/interp_functions.rs`) does not reach.

use super::functions::{log_sum_exp, softcap, softmax};

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
