//! The requests, line by line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::runtime::batch::BatchError;

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputLine {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Without the line end.
    pub bytes: Vec<u8>,
}

/// A file of requests.
pub(super) struct Input {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Input, BatchError> {
        let failed = |source| BatchError::Read { path: path.to_owned(), source };
        let reader = BufReader::new(File::open(path).map_err(failed)?);
        Ok(Input { path: path.to_owned(), reader, number: 0 })
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<InputLine>, BatchError> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let failed = |source| BatchError::Read { path: self.path.clone(), source };
            if self.reader.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let line = bytes.trim_ascii();
            if !line.is_empty() {
                return Ok(Some(InputLine { number: self.number, bytes: line.to_owned() }));
            }
        }
    }
}

/// Reads all lines; gives their number.
///
/// # Errors
/// When two have the same `custom_id`. Whatever else is wrong with a line is said in its line of output.
pub(super) fn check(path: &Path) -> Result<u64, BatchError> {
    #[derive(Deserialize)]
    struct Named {
        custom_id: String,
    }
    let mut input = Input::open(path)?;
    let mut known: HashMap<String, u64> = HashMap::new();
    let mut count = 0;
    while let Some(InputLine { number, bytes }) = input.next()? {
        count += 1;
        if let Ok(Named { custom_id: id }) = serde_json::from_slice(&bytes)
            && let Some(first) = known.insert(id.clone(), number)
        {
            return Err(BatchError::Duplicate { path: path.to_owned(), line: number, first, id });
        }
    }
    Ok(count)
}
