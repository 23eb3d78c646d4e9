//! A result that a kernel must give.

use super::call::{Call, Unchecked};
use super::tolerance::Approximate;
use crate::runtime::engine::CheckEntry;

/// Numbers below the normal ones of f32 count as 0 on GPUs; products of a few of them are what such a 0 may be off by.
const UNDERFLOW: f64 = 1e-34;

/// A result: where it will be, what it must be, and how far from that it may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    place: Place,
    want: Approximate,
}

/// Where a result is: indices of buffers, and numbers of elements in them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// An f32.
    F32(usize, usize),
    /// An f16.
    F16(usize, usize),
    /// A u32.
    U32(usize, usize),
    /// An i8 code times an f16.
    Scaled { buffer: usize, code: usize, scale: usize },
    /// The quotient of an f32 of one buffer and an f32 of another.
    Quotient { of: (usize, usize), by: (usize, usize) },
    /// first + ln(second) of two consecutive f32.
    LogSum(usize, usize),
}

impl Expected {
    /// A result that may be off by what its value says.
    pub fn near(place: Place, want: Approximate) -> Expected {
        Expected { place, want: Approximate { error: want.error + UNDERFLOW, ..want } }
    }

    /// A result that is copied or counted.
    pub fn exactly(place: Place, value: f64) -> Expected {
        Expected { place, want: Approximate::exact(value) }
    }

    /// Compares it with what is there now, and notes it.
    pub fn compare(&self, call: &Call<'_>, entry: &mut CheckEntry) -> Result<(), Unchecked> {
        let Approximate { value: want, error: tolerance } = self.want;
        let got = self.place.read(call)?;
        let error = (got - want).abs();
        entry.values += 1;
        if !want.is_finite() || !tolerance.is_finite() {
            let message = || format!("its inputs are not finite, so {} must be {want}", self.place);
            entry.failure.get_or_insert_with(message);
            return Ok(());
        }
        // What is not a number is not within the tolerance either.
        let right = error <= tolerance;
        if !right {
            let message =
                || format!("{} is {got:e}, but must be {want:e} to within {tolerance:.1e}", self.place);
            entry.failure.get_or_insert_with(message);
        }
        let share = |error: f64, tolerance: f64| if error == 0.0 { 0.0 } else { error / tolerance };
        let worst = share(entry.error, entry.tolerance);
        let this = if error.is_nan() { f64::INFINITY } else { share(error, tolerance) };
        if this > worst || entry.values == 1 {
            entry.error = if error.is_nan() { f64::INFINITY } else { error };
            entry.tolerance = tolerance;
        }
        Ok(())
    }
}

impl Place {
    fn read(self, call: &Call<'_>) -> Result<f64, Unchecked> {
        match self {
            Place::F32(buffer, at) => call.float_at(buffer, at),
            Place::F16(buffer, at) => call.half_at(buffer, at),
            Place::U32(buffer, at) => Ok(call.one::<u32>(buffer, at)?.into()),
            Place::Scaled { buffer, code, scale } => {
                Ok(f64::from(call.one::<i8>(buffer, code)?) * call.half_at(buffer, scale)?)
            }
            Place::Quotient { of, by } => Ok(call.float_at(of.0, of.1)? / call.float_at(by.0, by.1)?),
            Place::LogSum(buffer, at) => Ok(call.float_at(buffer, at)? + call.float_at(buffer, at + 1)?.ln()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::F32(buffer, at) | Place::F16(buffer, at) | Place::U32(buffer, at) => {
                write!(f, "element {at} of buffer {buffer}")
            }
            Place::Scaled { buffer, code, .. } => {
                write!(f, "code {code} of buffer {buffer}, times its scale,")
            }
            Place::Quotient { of, by } => {
                write!(f, "element {} of buffer {} over its sum of weights in buffer {}", of.1, of.0, by.0)
            }
            Place::LogSum(buffer, at) => write!(f, "the logarithm of the weights at {at} of buffer {buffer}"),
        }
    }
}
