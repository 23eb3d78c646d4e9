//! Requests of a file in the format of the OpenAI batch API, answered into another file, in order.
//!
//! Each line of the output has an id that follows from its request, the program and what else the answer depends on. So what is there tells
//! what is done: an output that was begun goes on where it ended, and one that belongs to something else is noticed. Nothing in a line tells
//! when it was made; the same input gives the same bytes, however often the work was stopped.

mod error;
mod identity;
mod input;
mod line;
mod output;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::runtime::engine::Engine;
use crate::runtime::server::{self, Model, OfflineItem};
pub use error::BatchError;
pub use identity::Identity;
use input::{Input, InputLine};
use line::Parsed;
use output::Output;

/// Which files, and how many requests at a time.
#[derive(Debug, Clone, Copy)]
pub struct BatchOptions<'a> {
    /// The requests.
    pub input: &'a Path,
    /// Where the answers go. While they are made, they are in a file beside it whose name ends with `.partial`.
    pub output: &'a Path,
    /// Answers that are worked on at a time.
    pub parallel: usize,
}

/// A batch that can be worked on.
pub struct Batch<'a> {
    options: BatchOptions<'a>,
    identity: Identity<'a>,
    output: Output,
    counts: Counts,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests altogether.
    pub requests: u64,
    /// Those that have a line of output.
    pub done: u64,
    /// Those of them that were done before this run.
    pub before: u64,
    /// Those of them that got an error.
    pub failed: u64,
}

impl<'a> Batch<'a> {
    /// Looks at the input and at what of the output is there.
    ///
    /// # Errors
    /// When a file cannot be read or written, two requests have the same `custom_id`, or the output is not of this input and program.
    pub fn open(options: BatchOptions<'a>, identity: Identity<'a>) -> Result<Batch<'a>, BatchError> {
        let requests = input::check(options.input)?;
        let (output, counts) = output::open(options.input, options.output, &identity, requests)?;
        Ok(Batch { options, identity, output, counts: Counts { requests, ..counts } })
    }

    /// How far it is.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether nothing is left to be computed.
    pub fn is_done(&self) -> bool {
        self.counts.done == self.counts.requests
    }

    /// Answers what is left; `progress` hears of each line. Ends early, with what was done so far, when it `is_to_end`.
    ///
    /// # Errors
    /// When the device is lost or a file cannot be read or written. What was done is kept.
    pub fn answer<E: Engine>(
        &mut self,
        engine: &mut E,
        model: Model,
        progress: &mut (dyn FnMut(Counts) + Send),
        is_to_end: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), BatchError> {
        let Batch { options, identity, output, counts } = self;
        let identity = &*identity;
        let mut input = Input::open(options.input)?;
        for _ in 0..counts.done {
            input.next()?;
        }
        // What is being answered, in order.
        let waiting = std::sync::Mutex::new(VecDeque::<(InputLine, Parsed)>::new());
        let mut next = || -> Result<Option<OfflineItem>, BatchError> {
            let Some(line) = input.next()? else { return Ok(None) };
            let parsed = line::parse(&line, identity);
            let item = parsed.item();
            lock(&waiting).push_back((line, parsed));
            Ok(Some(item))
        };
        let mut done = |answered| -> Result<(), BatchError> {
            let Some((line, parsed)) = lock(&waiting).pop_front() else { return Ok(()) };
            let (text, is_good) = line::output(&identity.of(&line.bytes), &line, parsed, answered)?;
            output.append(&text)?;
            counts.done += 1;
            counts.failed += u64::from(!is_good);
            progress(*counts);
            Ok(())
        };
        server::answer_offline(engine, model, options.parallel, &mut next, &mut done, is_to_end)??;
        Ok(())
    }

    /// Gives the output its name.
    pub fn finish(self) -> Result<PathBuf, BatchError> {
        self.output.finish(self.options.output)?;
        Ok(self.options.output.to_owned())
    }
}

/// No step leaves the list halfway changed.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
