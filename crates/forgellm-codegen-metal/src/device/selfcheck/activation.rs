//! Activation functions in f64.

use std::f64::consts::{PI, SQRT_2};

use super::tolerance::{Approximate, F32};
use crate::device::elementwise::Activation;

/// The activation of x.
pub fn exact(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        // ½(1 + tanh z) is 1 / (1 + e⁻²ᶻ), which does not cancel.
        Activation::GeluTanh => x / (1.0 + (-2.0 * (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).exp()),
        Activation::GeluErf => 0.5 * x * erfc(-x / SQRT_2),
    }
}

/// The activation that has this number in `activation.metal`.
pub(super) fn of_number(number: usize) -> Option<Activation> {
    [Activation::Silu, Activation::GeluTanh, Activation::GeluErf]
        .into_iter()
        .find(|known| known.number() == number)
}

/// The activation of a result. No activation is steeper than 1.2; what exp is off by counts most where it is about 1, and is below 16 units of x
/// there, as is the error of the polynomial of `gelu_erf`.
pub(super) fn activated(activation: Activation, x: Approximate) -> Approximate {
    let value = exact(activation, x.value);
    Approximate { value, error: 1.2 * x.error + 16.0 * F32 * x.value.abs() }
}

/// 1 - erf(x): by the series of erf where that is short, by a continued fraction where erfc is small.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - sum * 2.0 / PI.sqrt();
    }
    // x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …))), from the end on.
    let fraction = (1..=80).rev().fold(x, |rest, n| x + f64::from(n) / 2.0 / rest);
    (-x * x).exp() / (PI.sqrt() * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abramowitz and Stegun, tables 7.1 and 7.3.
    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, erfc_of_x) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_2),
            (1.0, 0.157_299_207_1),
            (1.9, 0.007_209_570_8),
            (2.0, 0.004_677_734_98),
            (3.0, 2.209_049_699_9e-5),
            (5.0, 1.537_459_794_4e-12),
        ] {
            let error = (erfc(x) - erfc_of_x).abs();
            assert!(error <= 1e-9 * erfc_of_x + 1e-10 * f64::from(x < 2.0), "erfc({x}) is off by {error:e}");
            assert!((erfc(-x) + erfc(x) - 2.0).abs() < 1e-15);
        }
        for x in [1.9999, 2.0001] {
            assert!((erfc(x) - 0.004_677_734_98).abs() < 3e-6);
        }
    }
}
