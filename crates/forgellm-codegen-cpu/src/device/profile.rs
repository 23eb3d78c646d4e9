//! Where the time of steps goes.

use std::time::Duration;

/// Time that thread 0 spent in each kind of work since the engine was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Profile {
    stages: [StageTime; Stage::ALL.len()],
}

impl Profile {
    /// Each kind of work with its time and the number of its calls.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, StageTime)> {
        Stage::ALL.into_iter().zip(self.stages)
    }

    /// The time of one kind of work.
    pub fn stage(&self, stage: Stage) -> StageTime {
        self.stages[stage as usize]
    }

    /// Adds another profile's times.
    pub(crate) fn merge(&mut self, other: &Profile) {
        for (total, more) in self.stages.iter_mut().zip(other.stages) {
            total.time += more.time;
            total.calls += more.calls;
        }
    }

    pub(crate) fn add(&mut self, stage: Stage, time: Duration) {
        let total = &mut self.stages[stage as usize];
        total.time += time;
        total.calls += 1;
    }
}

/// Time of a kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTime {
    /// All of it.
    pub time: Duration,
    /// In so many calls.
    pub calls: u64,
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Projections.
    Linear,
    /// Attention.
    Attention,
    /// Norms outside of projections.
    Norm,
    /// Rope and the cache write.
    Rope,
    /// Elementwise operations.
    Elementwise,
    /// Embedding and moved rows.
    Rows,
    /// Choosing the most likely tokens.
    Top,
    /// Waiting for other threads between operations.
    Barrier,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 8] = [
        Stage::Linear,
        Stage::Attention,
        Stage::Norm,
        Stage::Rope,
        Stage::Elementwise,
        Stage::Rows,
        Stage::Top,
        Stage::Barrier,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Linear => "linear",
            Stage::Attention => "attention",
            Stage::Norm => "norm",
            Stage::Rope => "rope",
            Stage::Elementwise => "elementwise",
            Stage::Rows => "rows",
            Stage::Top => "top",
            Stage::Barrier => "barrier",
        }
    }
}
