//! How programs that simply open a device are told to run it: the variable `METAL_SIM`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{GpuError, Options};
use crate::sim::shadow::Counts;

/// The variable. Its value is a list with commas: `sanitize`, `seed=N`, `orders=N`, `threads=N`, `count=FILE`.
pub const VARIABLE: &str = "METAL_SIM";

/// The options that the variable asks for, and the file that the counts of every dispatch are added to, a line of JSON each.
pub(super) fn options(text: &str) -> Result<(Options, Option<PathBuf>), GpuError> {
    let mut options = Options::default();
    let mut report = None;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let wrong = || GpuError::Environment { variable: VARIABLE, word: word.to_owned() };
        match word.split_once('=') {
            None if word == "sanitize" => options.sanitize = true,
            Some(("seed", number)) => options.seed = Some(number.parse().map_err(|_| wrong())?),
            Some(("orders", number)) => options.orders = number.parse().map_err(|_| wrong())?,
            Some(("threads", number)) => options.threads = number.parse().map_err(|_| wrong())?,
            Some(("count", file)) if !file.is_empty() => {
                options.count = true;
                report = Some(PathBuf::from(file));
            }
            _ => return Err(wrong()),
        }
    }
    options.threads = options.threads.max(1);
    Ok((options, report))
}

/// Adds the counts to the file.
pub(super) fn write(file: &Path, counts: &[Counts]) -> io::Result<()> {
    let mut text = Vec::new();
    for counts in counts {
        serde_json::to_writer(&mut text, counts)?;
        text.push(b'\n');
    }
    OpenOptions::new().create(true).append(true).open(file)?.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_options() {
        let (found, report) = options("sanitize, seed=3,orders=2,threads=0,count=x.json").unwrap();
        assert!(found.sanitize && found.count);
        assert_eq!((found.seed, found.orders, found.threads), (Some(3), 2, 1));
        assert_eq!(report, Some(PathBuf::from("x.json")));
        let (found, report) = options("").unwrap();
        assert!(!found.sanitize && !found.count && report.is_none());
        for wrong in ["fast", "seed=x", "count=", "sanitize=1"] {
            let error = options(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
