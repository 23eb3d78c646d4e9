//! The instruction set that the kernels run on, chosen once at run time.

#[cfg(target_arch = "aarch64")]
use super::lanes::neon::Neon;
use super::lanes::{Lanes, portable::Portable};
#[cfg(target_arch = "x86_64")]
use super::lanes::{avx2::Avx2, avx512::Avx512Vnni};

/// The environment variable that overrides [`Isa::detect`].
pub const ISA_VARIABLE: &str = "FORGELLM_ISA";

/// An instruction set that this processor has.
///
/// The variants carry proof of that: a token that only the detection hands out. So every kernel is a safe call.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
    /// AVX-512 (F, BW, DQ, VL) with VNNI: 16 rows in a vector.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    /// AVX2 with FMA and F16C: 8 rows in a vector.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// NEON with the dot-product extension: 4 rows in a vector.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// Plain Rust on any processor.
    Portable(Portable),
}

impl Isa {
    /// The best instruction set of this processor, or the one that the variable `FORGELLM_ISA` names.
    pub fn detect() -> Result<Isa, IsaError> {
        match std::env::var(ISA_VARIABLE) {
            Ok(name) => Isa::from_name(&name),
            Err(std::env::VarError::NotPresent) => {
                Ok(Isa::available().next().unwrap_or(Isa::Portable(Portable)))
            }
            Err(std::env::VarError::NotUnicode(name)) => {
                Err(IsaError::Unknown(name.to_string_lossy().into_owned()))
            }
        }
    }

    /// The instruction set with this name: `avx512`, `avx2`, `neon` or `portable`.
    pub fn from_name(name: &str) -> Result<Isa, IsaError> {
        if !["avx512", "avx2", "neon", "portable"].contains(&name) {
            return Err(IsaError::Unknown(name.to_owned()));
        }
        Isa::available().find(|isa| isa.name() == name).ok_or_else(|| IsaError::Unavailable(name.to_owned()))
    }

    /// All that this processor has, the fastest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        let detected = [
            #[cfg(target_arch = "x86_64")]
            Avx512Vnni::detect().map(Isa::Avx512Vnni),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Isa::Avx2),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Isa::Neon),
            Some(Isa::Portable(Portable)),
        ];
        detected.into_iter().flatten()
    }

    /// The name that [`Isa::from_name`] takes.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
            Isa::Portable(_) => "portable",
        }
    }

    /// Runs `kernel`, compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(lanes) => lanes.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(lanes) => lanes.vectorize(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(lanes) => lanes.vectorize(kernel),
            Isa::Portable(lanes) => lanes.vectorize(kernel),
        }
    }
}

/// A piece of work that [`Isa::run`] compiles once per instruction set.
///
/// `run` and all that it calls in its inner loops must be `#[inline(always)]`: only code that ends up inside the
/// caller is compiled with the instruction set's features (plain loops are then vectorised for it, too).
pub trait Kernel {
    /// What it gives.
    type Output;

    /// Does the work.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// The instruction set that was asked for cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No such name.
    #[error("{ISA_VARIABLE}=`{0}` is not known; use avx512, avx2, neon or portable, or unset it")]
    Unknown(String),
    /// The processor lacks it.
    #[error("this processor has no {0}; unset {ISA_VARIABLE} to use the best that it has")]
    Unavailable(String),
}
