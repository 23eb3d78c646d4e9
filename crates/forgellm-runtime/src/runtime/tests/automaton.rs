//! An engine without a model: the logits of a row are a fixed function of all tokens of its sequence up to there. It honours the
//! engine contract and refuses what the contract forbids, so it shows what the code above an engine asks of one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use crate::runtime::engine::{
    Capacity, CheckEntry, Engine, EngineError, EngineMemory, Row, RowResult, RunAhead, SequenceId, Token,
    Want,
};

pub(crate) struct Automaton {
    capacity: Capacity,
    vocab: usize,
    sequences: BTreeMap<SequenceId, Vec<u32>>,
    next_sequence: u32,
    argmax: Vec<Option<u32>>,
    /// Rows of each step so far.
    pub(crate) steps: Vec<usize>,
    /// Results that were not collected, of an engine that runs ahead.
    submitted: Option<VecDeque<Vec<RowResult>>>,
    /// The most steps that were under way at a time.
    pub(crate) most_under_way: usize,
    /// By so many positions at most a sequence can be cut back, as with a sliding window.
    slack: Option<usize>,
    /// A step with this token fails in this way.
    poison: Option<(u32, EngineError)>,
    /// Each step waits until it may pass.
    gate: Option<Arc<Gate>>,
    /// What a self-check gives; without it, this is an engine that has none.
    pub(crate) checked: Option<Vec<CheckEntry>>,
}

/// Lets steps through one by one, so that a test knows what has happened before it looks.
#[derive(Default)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    /// Lets `steps` more steps through.
    pub(crate) fn open(&self, steps: usize) {
        let mut free = self.free.lock().unwrap();
        *free = free.saturating_add(steps);
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut free = self.opened.wait_while(self.free.lock().unwrap(), |free| *free == 0).unwrap();
        *free -= 1;
    }
}

impl Automaton {
    pub(crate) fn new(vocab: usize, capacity: Capacity) -> Automaton {
        Automaton {
            capacity,
            vocab,
            sequences: BTreeMap::new(),
            next_sequence: 0,
            argmax: Vec::new(),
            steps: Vec::new(),
            submitted: None,
            most_under_way: 0,
            slack: None,
            poison: None,
            gate: None,
            checked: None,
        }
    }

    /// The same, and takes a step before the results of the one before were collected.
    pub(crate) fn that_runs_ahead(self) -> Automaton {
        Automaton { submitted: Some(VecDeque::new()), ..self }
    }

    /// The same, and cuts a sequence back by at most `slack` positions.
    pub(crate) fn that_forgets(self, slack: usize) -> Automaton {
        Automaton { slack: Some(slack), ..self }
    }

    /// The same, and fails with `error` in each step that holds `token`.
    pub(crate) fn that_fails_at(self, token: u32, error: EngineError) -> Automaton {
        Automaton { poison: Some((token, error)), ..self }
    }

    /// The same, and each step waits at the gate.
    pub(crate) fn that_waits_at(self, gate: Arc<Gate>) -> Automaton {
        Automaton { gate: Some(gate), ..self }
    }

    fn sequence(&self, sequence: SequenceId) -> Result<&Vec<u32>, EngineError> {
        self.sequences.get(&sequence).ok_or(EngineError::UnknownSequence(sequence))
    }

    /// Sequences that were begun and not ended.
    pub(crate) fn open_sequences(&self) -> usize {
        self.sequences.len()
    }
}

/// The logits after `tokens`: numbers in (-8, 8) that depend on every one of them.
pub(crate) fn logits(tokens: &[u32], vocab: usize) -> Vec<f32> {
    let mix = |state: u64, value: u64| {
        let product = (state ^ value.wrapping_add(0x9e37_79b9)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        product ^ (product >> 29)
    };
    let state = tokens.iter().fold(1, |state, &token| mix(state, u64::from(token)));
    (0..vocab as u64).map(|id| (mix(mix(state, id), 3) >> 40) as f32 / (1 << 20) as f32 - 8.0).collect()
}

/// The hidden state after `tokens`, which depends on all of them.
pub(crate) fn hidden(tokens: &[u32]) -> Vec<f32> {
    logits(tokens, 5).into_iter().map(|logit| logit + 9.0).collect()
}

/// What greedy generation must give after `prompt`.
pub(crate) fn expected_continuation(prompt: &[u32], tokens: usize, vocab: usize) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for _ in 0..tokens {
        all.push(best(&logits(&all, vocab)));
    }
    all.split_off(prompt.len())
}

fn best(logits: &[f32]) -> u32 {
    sorted(logits).first().map_or(0, |&(id, _)| id)
}

fn sorted(logits: &[f32]) -> Vec<(u32, f32)> {
    let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    sorted
}

impl Engine for Automaton {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn vocab(&self) -> usize {
        self.vocab
    }

    fn begin(&mut self) -> Result<SequenceId, EngineError> {
        if self.sequences.len() >= self.capacity.sequences {
            return Err(EngineError::TooManySequences(self.capacity.sequences));
        }
        let sequence = SequenceId(self.next_sequence);
        self.next_sequence += 1;
        self.sequences.insert(sequence, Vec::new());
        Ok(sequence)
    }

    fn fork(&mut self, parent: SequenceId, positions: usize) -> Result<SequenceId, EngineError> {
        let tokens = self.sequence(parent)?.clone();
        if positions > tokens.len() || self.slack.is_some_and(|slack| positions + slack < tokens.len()) {
            return Err(EngineError::CannotTruncate { sequence: parent, positions, reason: "it is gone" });
        }
        let child = self.begin()?;
        self.sequences.insert(child, tokens);
        self.truncate(child, positions)?;
        Ok(child)
    }

    fn truncate(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        let tokens = self.sequences.get_mut(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
        if positions > tokens.len() {
            return Err(EngineError::CannotTruncate { sequence, positions, reason: "it is shorter" });
        }
        if self.slack.is_some_and(|slack| positions + slack < tokens.len()) {
            return Err(EngineError::CannotTruncate { sequence, positions, reason: "it is gone" });
        }
        tokens.truncate(positions);
        Ok(())
    }

    fn end(&mut self, sequence: SequenceId) -> Result<(), EngineError> {
        self.sequences.remove(&sequence).map(|_| ()).ok_or(EngineError::UnknownSequence(sequence))
    }

    fn positions(&self, sequence: SequenceId) -> Result<usize, EngineError> {
        Ok(self.sequence(sequence)?.len())
    }

    fn step(&mut self, rows: &[Row]) -> Result<Vec<RowResult>, EngineError> {
        if rows.len() > self.capacity.rows {
            return Err(EngineError::TooManyRows { rows: rows.len(), capacity: self.capacity.rows });
        }
        let mut after = self.sequences.clone();
        let mut results = Vec::new();
        let mut argmax = Vec::new();
        for row in rows {
            let token = match row.token {
                Token::Id(id) => id,
                Token::ArgmaxOfRow(index) => {
                    self.argmax.get(index).copied().flatten().ok_or(EngineError::NoArgmax(index))?
                }
            };
            if let Some((_, error)) = self.poison.as_ref().filter(|(poison, _)| *poison == token) {
                return Err(error.clone());
            }
            if token as usize >= self.vocab {
                return Err(EngineError::UnknownToken { token, vocab: self.vocab });
            }
            let sequence = row.sequence;
            let tokens = after.get_mut(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
            if row.position != tokens.len() {
                let (expected, position) = (tokens.len(), row.position);
                return Err(EngineError::PositionGap { sequence, expected, position });
            }
            if row.position >= self.capacity.positions {
                return Err(EngineError::ContextFull { sequence, positions: self.capacity.positions });
            }
            tokens.push(token);
            let logits = logits(tokens, self.vocab);
            argmax.push((row.want != Want::Nothing).then(|| best(&logits)));
            results.push(match row.want {
                Want::Nothing => RowResult::Nothing,
                Want::Top(count) => RowResult::Top(sorted(&logits).into_iter().take(count).collect()),
                Want::Logits => RowResult::Logits(logits),
                Want::Hidden => RowResult::Hidden(hidden(tokens)),
            });
        }
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.sequences = after;
        self.argmax = argmax;
        self.steps.push(rows.len());
        Ok(results)
    }

    fn memory(&self) -> Option<EngineMemory> {
        let Capacity { sequences, positions, rows } = self.capacity;
        Some(EngineMemory { cache: (sequences * positions) as u64 * 4, step: rows as u64 * 4 })
    }

    fn cache_bytes_read(&self, position: usize) -> Option<u64> {
        Some(position as u64 * 4 + 4)
    }

    fn run_ahead(&mut self) -> Option<&mut dyn RunAhead> {
        self.submitted.is_some().then_some(self as &mut dyn RunAhead)
    }

    fn self_check(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Vec<CheckEntry>>, EngineError> {
        // An engine takes two sequences.
        let both = [self.begin()?, self.begin()?];
        both.into_iter().try_for_each(|sequence| self.end(sequence))?;
        Ok(if progress(0, 2) { self.checked.clone() } else { Some(Vec::new()) })
    }
}

impl RunAhead for Automaton {
    fn submit(&mut self, rows: &[Row]) -> Result<(), EngineError> {
        let results = self.step(rows)?;
        if let Some(submitted) = &mut self.submitted {
            submitted.push_back(results);
            self.most_under_way = self.most_under_way.max(submitted.len());
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<Option<Vec<RowResult>>, EngineError> {
        Ok(self.submitted.as_mut().and_then(VecDeque::pop_front))
    }
}
