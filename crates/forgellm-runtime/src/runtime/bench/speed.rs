//! Tokens per second over several runs.

use std::time::Duration;

use serde::Serialize;

use crate::runtime::generate::per_second;

/// Tokens per second over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens of each run, in each sequence.
    pub tokens: usize,
    /// The middle run (the mean of the two middle ones).
    pub median: f64,
    /// The slowest run.
    pub min: f64,
    /// The fastest run.
    pub max: f64,
}

impl Speed {
    /// Of runs of `tokens` tokens that took these times.
    pub(super) fn of(tokens: usize, times: &[Duration]) -> Speed {
        let mut speeds: Vec<f64> = times.iter().map(|time| per_second(tokens, *time)).collect();
        speeds.sort_by(f64::total_cmp);
        let at = |index: usize| speeds.get(index).copied().unwrap_or(0.0);
        let count = speeds.len();
        Speed {
            tokens,
            median: (at(count.saturating_sub(1) / 2) + at(count / 2)) / 2.0,
            min: at(0),
            max: at(count.saturating_sub(1)),
        }
    }

    /// How far the fastest and the slowest run are apart, as a share of the middle one.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_run_counts() {
        let times = |milliseconds: &[u64]| -> Vec<Duration> {
            milliseconds.iter().map(|time| Duration::from_millis(*time)).collect()
        };
        let speed = Speed::of(100, &times(&[100, 50, 1000]));
        assert_eq!((speed.median, speed.min, speed.max), (1000.0, 100.0, 2000.0));
        assert_eq!(speed.spread(), 1.9);
        assert_eq!(Speed::of(100, &times(&[100, 50])).median, 1500.0);
        assert_eq!(Speed::of(100, &[]).spread(), 0.0);
    }
}
