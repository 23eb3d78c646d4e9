//! What passed its check.

use std::ops::Deref;

/// Something with rules that can be checked.
pub trait Verify {
    /// Which of several sets of rules.
    type Stage;
    /// The rule that does not hold.
    type Error;

    /// Checks every rule of a stage.
    fn verify(&self, stage: &Self::Stage) -> Result<(), Self::Error>;
}

/// A value that keeps its rules: it was checked, and cannot be changed since.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T>(T);

impl<T: Verify> Verified<T> {
    /// Checks `value`.
    pub fn new(value: T, stage: T::Stage) -> Result<Verified<T>, T::Error> {
        value.verify(&stage)?;
        Ok(Verified(value))
    }
}

impl<T> Verified<T> {
    /// The value, free to be changed again.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
