//! What of a prompt another sequence has run already.

use crate::runtime::engine::{Engine, EngineError, SequenceId};
use crate::runtime::scheduler::{Scheduler, common_prefix};

/// An answer waits for another one's prompt if that spares it at least so many tokens; for fewer, sharing steps is as fast.
const WORTH_WAITING: usize = 16;

/// A sequence that begins like a prompt.
#[derive(Debug, Clone, Copy)]
struct Source {
    sequence: SequenceId,
    /// So many tokens of the prompt can be taken from it.
    common: usize,
    /// Set if it is idle: how many tokens it holds.
    idle: Option<usize>,
}

impl<E: Engine> Scheduler<'_, E> {
    /// Gives a sequence to every answer that has none, but for those that wait for another one's prompt.
    pub(super) fn attach_all(&mut self) -> Result<(), EngineError> {
        for index in 0..self.active.len() {
            if self.active[index].sequence.is_none() {
                match self.attach(index) {
                    Ok(()) => {}
                    Err(error @ EngineError::DeviceLost(_)) => return Err(error),
                    Err(error) => self.active[index].outcome = Some(Err(error.into())),
                }
            }
        }
        Ok(())
    }

    fn attach(&mut self, index: usize) -> Result<(), EngineError> {
        let embeds = self.active[index].embeds();
        let sources = if embeds { Vec::new() } else { self.sources(index) };
        let best = sources.first().map_or(0, |source| source.common);
        if !embeds && self.is_on_its_way(index, best + WORTH_WAITING) {
            return Ok(());
        }
        let mut started = None;
        for source in sources {
            started = self.start_from(source)?;
            if started.is_some() {
                break;
            }
        }
        let (sequence, reused) = match started {
            Some(started) => started,
            None => {
                self.make_room(None)?;
                (self.engine.begin()?, 0)
            }
        };
        self.counters.reused_tokens.add(reused);
        if reused > 0 { &self.counters.prefix_hits } else { &self.counters.prefix_misses }.add(1);
        let active = &mut self.active[index];
        (active.sequence, active.held, active.reused) = (Some(sequence), reused, reused);
        Ok(())
    }

    /// The sequences that begin like the prompt, those that spare most first; among equals, an idle one that holds nothing else.
    fn sources(&self, index: usize) -> Vec<Source> {
        let prompt = self.active[index].prompt();
        // The last token is always run: its row gives the first token of the answer.
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        let idle = self.kept.iter().map(|entry| Source {
            sequence: entry.sequence,
            common: common_prefix(&entry.tokens, wanted),
            idle: Some(entry.tokens.len()),
        });
        let running = self.active.iter().filter_map(|other| {
            let common = common_prefix(&other.tokens[..other.held], wanted);
            Some(Source { sequence: other.sequence?, common, idle: None })
        });
        let mut sources: Vec<Source> = idle.chain(running).filter(|source| source.common > 0).collect();
        sources.sort_by_key(|source| (usize::MAX - source.common, source.idle != Some(source.common)));
        sources
    }

    /// Whether an answer whose prompt is being run will soon hold at least `tokens` of this prompt.
    fn is_on_its_way(&self, index: usize, tokens: usize) -> bool {
        let prompt = self.active[index].prompt();
        self.active.iter().any(|other| {
            let common = common_prefix(other.prompt(), &prompt[..prompt.len().saturating_sub(1)]);
            other.sequence.is_some() && common >= tokens && other.held < common
        })
    }

    /// A sequence with the common tokens, and how many they are; `None` if they have left a window, so that they must be run again.
    fn start_from(&mut self, source: Source) -> Result<Option<(SequenceId, usize)>, EngineError> {
        let Source { sequence, common, idle } = source;
        let takes_over = match idle {
            // It had to make room for an attempt with another source.
            Some(_) if self.kept.iter().all(|entry| entry.sequence != sequence) => return Ok(None),
            Some(held) if held == common => true,
            Some(_) => !self.make_room(Some(sequence))?,
            None => {
                self.make_room(None)?;
                false
            }
        };
        let started = if takes_over {
            self.engine.truncate(sequence, common).map(|()| sequence)
        } else {
            self.engine.fork(sequence, common)
        };
        match started {
            Ok(started) => {
                if takes_over {
                    self.kept.take(sequence);
                } else {
                    self.kept.touch(sequence);
                }
                Ok(Some((started, common)))
            }
            Err(EngineError::CannotTruncate { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
