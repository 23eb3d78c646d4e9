//! What was typed in earlier chats.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// So many messages are recalled.
const RECALLED: usize = 1000;
/// With so many, the file is cut down to those that are recalled.
const MOST: usize = 2 * RECALLED;

/// A file of messages, a JSON string a line, which only its owner may read. Nothing about it is worth an error: without it, nothing is recalled.
pub(super) struct HistoryFile {
    path: PathBuf,
    messages: Vec<String>,
}

impl HistoryFile {
    /// The user's.
    pub(super) fn of_user() -> Option<HistoryFile> {
        Some(HistoryFile::open(state_folder()?.join("forgellm").join("chat-history")))
    }

    fn open(path: PathBuf) -> HistoryFile {
        let text = fs::read(&path).unwrap_or_default();
        let lines = text.split(|&byte| byte == b'\n');
        let mut messages: Vec<String> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        if messages.len() > MOST {
            messages.drain(..messages.len() - RECALLED);
            let _ = rewrite(&path, &messages);
        }
        messages.drain(..messages.len().saturating_sub(RECALLED));
        HistoryFile { path, messages }
    }

    /// The messages that are recalled, the oldest first.
    pub(super) fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Remembers a message, unless it was the last one too.
    pub(super) fn add(&mut self, message: &str) {
        if self.messages.last().is_none_or(|last| last != message) {
            self.messages.push(message.to_owned());
            let _ = append(&self.path, message);
        }
    }
}

/// In one write, so that the lines of two chats do not mix.
fn append(path: &Path, message: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        create_private_folder(folder)?;
    }
    private().append(true).open(path)?.write_all(line(message).as_bytes())
}

fn rewrite(path: &Path, messages: &[String]) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let text: String = messages.iter().map(|message| line(message)).collect();
    let mut file: File = private().write(true).truncate(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

fn line(message: &str) -> String {
    format!("{}\n", serde_json::Value::from(message))
}

/// Options that create a file for its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Where programs of this system keep what they remember for a user.
fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        return folder("LOCALAPPDATA");
    }
    let home = || folder("HOME");
    if cfg!(target_os = "macos") {
        return Some(home()?.join("Library/Application Support"));
    }
    folder("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local/state")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_only_to_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/chat-history");
        let mut history = HistoryFile::open(path.clone());
        assert!(history.messages().is_empty());
        for message in ["one", "two\nlines \"é\"", "two\nlines \"é\"", "one"] {
            history.add(message);
        }
        assert_eq!(HistoryFile::open(path.clone()).messages(), ["one", "two\nlines \"é\"", "one"]);
        #[cfg(unix)]
        for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        // Damage costs the lines that it hits.
        let text = [b"\xff\n{}\n\n".as_slice(), &fs::read(&path).unwrap()].concat();
        fs::write(&path, text).unwrap();
        assert_eq!(HistoryFile::open(path).messages().len(), 3);
    }

    #[test]
    fn a_long_history_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat-history");
        let mut history = HistoryFile::open(path.clone());
        for number in 0..=MOST {
            history.add(&number.to_string());
        }
        let history = HistoryFile::open(path.clone());
        assert_eq!(
            (history.messages().len(), history.messages().last()),
            (RECALLED, Some(&MOST.to_string()))
        );
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), RECALLED);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
