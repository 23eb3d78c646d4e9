//! How far from the exact value a right result may be.
//!
//! A kernel may add up in any order and contract what it likes, so no exact bits can be asked for. With n terms of sizes that add up to S, the
//! rounding errors of f32 stay below n · u · S, u = 2⁻²⁴, and, since they have either sign, nearly always below λ · √n · u · S (Higham and Mary
//! 2019, "A New Approach to Probabilistic Rounding Error Analysis"); λ = 8 leaves nothing to chance. A *size* is what was rounded on the way:
//! where a format has codes and minima, both parts of an element, which may cancel each other.

/// The relative error of a rounding to f32.
pub(super) const F32: f64 = 1.0 / (1u64 << 24) as f64;

/// The relative error of a rounding to f16.
pub(super) const F16: f64 = 1.0 / (1u64 << 11) as f64;

/// The error of a rounding to an f16 below the normal ones.
pub(super) const F16_SUBNORMAL: f64 = 1.0 / (1u64 << 25) as f64;

/// How many standard deviations of a sum of rounding errors are never passed.
const LAMBDA: f64 = 8.0;

/// Roundings of a result that are not those of its sum: factors, biases, divisions.
const OTHERS: f64 = 16.0;

/// The relative error of an f32 result of `terms` terms to their size.
pub(super) fn of_terms(terms: usize) -> f64 {
    let terms = terms as f64;
    (terms.min(LAMBDA * terms.sqrt()) + OTHERS) * F32
}

/// The relative error of exp(x) in fast arithmetic: 3 + |2x| units in the last place (Metal Shading Language Specification, "Relative error of
/// fast math functions"), where 3 are f32's, plus what the subtraction in x has.
pub(super) fn of_exp(x: f64) -> f64 {
    2.0 * F32 * (4.0 + 3.0 * x.abs())
}

/// An exact value, and how far from it a right result may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Approximate {
    pub value: f64,
    pub error: f64,
}

impl Approximate {
    /// A value that is stored as it is.
    pub fn exact(value: f64) -> Approximate {
        Approximate { value, error: 0.0 }
    }

    /// The sum with a stored number.
    pub fn plus(self, other: f64) -> Approximate {
        let value = self.value + other;
        Approximate { value, error: self.error + 2.0 * F32 * (self.value.abs() + other.abs()) }
    }

    /// The product.
    pub fn times(self, other: Approximate) -> Approximate {
        let value = self.value * other.value;
        let error =
            self.error * other.value.abs() + other.error * self.value.abs() + self.error * other.error;
        Approximate { value, error: error + 4.0 * F32 * value.abs() }
    }
}

/// A sum of products.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// Its value.
    pub value: f64,
    terms: usize,
    size: f64,
    squares: f64,
}

impl Sum {
    /// Adds a term that was rounded as a number of this size.
    pub fn add(&mut self, term: f64, size: f64) {
        self.value += term;
        self.terms += 1;
        self.size += size;
        self.squares += term * term;
    }

    /// The sum in f32.
    pub fn rounded(&self) -> Approximate {
        Approximate { value: self.value, error: of_terms(self.terms) * self.size }
    }

    /// The error of the sum if one factor of each term was rounded to f16 first: at most F16 times the sum of the terms' sizes, which is at most
    /// √n times the root of their squares.
    pub fn of_halves(&self) -> f64 {
        F16 * LAMBDA.min((self.terms as f64).sqrt()) * self.squares.sqrt()
    }
}
