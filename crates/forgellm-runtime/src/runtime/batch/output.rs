//! The answers, as far as they are there.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::runtime::batch::input::Input;
use crate::runtime::batch::{BatchError, Counts, Identity};

/// Where answers are written to.
pub(super) enum Output {
    /// A file that will get its name when it is complete. It is locked.
    Partial { file: File, path: PathBuf },
    /// All is there under its name.
    Complete,
}

/// What is looked at in a line of output.
#[derive(Deserialize)]
struct Written {
    id: String,
    response: Option<WrittenResponse>,
}

#[derive(Deserialize)]
struct WrittenResponse {
    status_code: u16,
    #[serde(rename = "body")]
    _body: IgnoredAny,
}

/// Finds out what of the output is there for so many requests.
pub(super) fn open(
    input: &Path,
    output: &Path,
    identity: &Identity<'_>,
    requests: u64,
) -> Result<(Output, Counts), BatchError> {
    match File::open(output) {
        Ok(file) => {
            let (counts, end) = compare(&file, output, input, identity)?;
            let length = file.metadata().map_err(read_error(output))?.len();
            if requests > counts.done || end < length {
                return Err(BatchError::Short { path: output.to_owned(), lines: counts.done, requests });
            }
            return Ok((Output::Complete, counts));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(BatchError::Read { path: output.to_owned(), source }),
    }
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    let path = PathBuf::from(name);
    let write_error = |source| BatchError::Write { path: path.clone(), source };
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(write_error)?;
    match file.try_lock() {
        // Whoever had it until now may have given it its name.
        Ok(()) if path.exists() => {}
        Ok(()) | Err(TryLockError::WouldBlock) => return Err(BatchError::Busy { path }),
        Err(TryLockError::Error(source)) => return Err(write_error(source)),
    }
    let (counts, end) = compare(&file, &path, input, identity)?;
    // What was being written when the work was stopped goes.
    file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(write_error)?;
    Ok((Output::Partial { file, path }, counts))
}

/// Compares whole lines with the requests that they answer; gives how many there are, and where they end.
fn compare(
    file: &File,
    path: &Path,
    input: &Path,
    identity: &Identity<'_>,
) -> Result<(Counts, u64), BatchError> {
    let mut lines = BufReader::new(file);
    let mut requests = Input::open(input)?;
    let (mut counts, mut end) = (Counts::default(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = lines.read_until(b'\n', &mut line).map_err(read_error(path))?;
        if !line.ends_with(b"\n") {
            return Ok((Counts { before: counts.done, ..counts }, end));
        }
        let foreign = || BatchError::Foreign { path: path.to_owned(), line: counts.done + 1 };
        let written: Written = serde_json::from_slice(&line).map_err(|_| foreign())?;
        let request = requests.next()?.ok_or_else(foreign)?;
        if written.id != identity.of(&request.bytes).line_id() {
            return Err(foreign());
        }
        counts.done += 1;
        counts.failed += u64::from(written.response.is_none_or(|response| response.status_code != 200));
        end += length as u64;
    }
}

fn read_error(path: &Path) -> impl Fn(io::Error) -> BatchError {
    |source| BatchError::Read { path: path.to_owned(), source }
}

impl Output {
    /// Adds a line, which is with the system when this comes back.
    pub(super) fn append(&mut self, line: &str) -> Result<(), BatchError> {
        match self {
            Output::Partial { file, path } => {
                let failed = |source| BatchError::Write { path: path.clone(), source };
                file.write_all(line.as_bytes()).map_err(failed)
            }
            Output::Complete => Ok(()),
        }
    }

    /// Gives the file its name, once it is on the disk.
    pub(super) fn finish(self, name: &Path) -> Result<(), BatchError> {
        match self {
            Output::Partial { file, path } => {
                let failed = |source| BatchError::Write { path: path.clone(), source };
                file.sync_all().and_then(|()| fs::rename(&path, name)).map_err(failed)
            }
            Output::Complete => Ok(()),
        }
    }
}
