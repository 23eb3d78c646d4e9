//! Ctrl-C: ends the programs that were started, removes what is half written, and leaves with status 130.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The exit status of an interrupted run (128 + SIGINT), as shells expect it.
pub const EXIT_STATUS: i32 = 130;

/// What an interruption has to undo.
struct Pending {
    children: BTreeSet<u32>,
    paths: BTreeSet<PathBuf>,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { children: BTreeSet::new(), paths: BTreeSet::new() });

fn pending() -> MutexGuard<'static, Pending> {
    // The sets stay valid whatever a panicking holder did.
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles SIGINT, SIGTERM and SIGHUP from here on. Call once, at the start of the program.
///
/// # Errors
/// When the system does not let us install the handler.
pub fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        // The lock is never released: no thread can start or write anything more before the process is gone.
        let pending = pending();
        for &id in &pending.children {
            kill_group(id);
        }
        for path in &pending.paths {
            remove(path);
        }
        std::process::exit(EXIT_STATUS);
    })
}

/// Does `work`; an interruption waits until it is done. Only for what takes no noticeable time, and creates or drops no
/// [`TempPath`] or [`ChildGroup`].
pub fn uninterrupted<T>(work: impl FnOnce() -> T) -> T {
    let _held = pending();
    work()
}

/// A program in a process group of its own, which is ended with all its descendants when this is dropped before
/// it was waited for, or when the user interrupts.
pub struct ChildGroup {
    /// The program; use it for its pipes.
    pub child: Child,
    id: u32,
    running: bool,
}

impl ChildGroup {
    /// Starts `command`.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(command: &mut Command) -> io::Result<ChildGroup> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        // Held over the start, so that an interruption cannot fall between the start and the entry.
        let mut pending = pending();
        let child = command.spawn()?;
        let id = child.id();
        pending.children.insert(id);
        Ok(ChildGroup { child, id, running: true })
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// Those of [`Child::wait`].
    pub fn wait(mut self) -> io::Result<std::process::ExitStatus> {
        let status = self.child.wait();
        self.forget();
        status
    }

    fn forget(&mut self) {
        self.running = false;
        pending().children.remove(&self.id);
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        if self.running {
            kill_group(self.id);
            // A killed child ends; its status is of no interest.
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.forget();
        }
    }
}

#[cfg(unix)]
fn kill_group(id: u32) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    if let Ok(id) = i32::try_from(id) {
        // The group may be gone already.
        let _ = killpg(Pid::from_raw(id), Signal::SIGTERM);
    }
}

#[cfg(not(unix))]
fn kill_group(_id: u32) {
    // The console interrupts the whole group by itself.
}

/// A file or folder that is removed, with all that it holds, unless it is kept under its final name.
#[derive(Debug)]
pub struct TempPath {
    path: PathBuf,
}

impl TempPath {
    /// A name beside `target` (so that renaming stays within one file system) that no other process uses. Nothing is
    /// created yet.
    pub fn beside(target: &Path) -> TempPath {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = target.with_file_name(format!("{TEMP_PREFIX}{name}.{}.{number}", std::process::id()));
        pending().paths.insert(path.clone());
        TempPath { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its final name, atomically, replacing a file of that name.
    ///
    /// # Errors
    /// Those of [`fs::rename`]; it is removed then.
    pub fn keep_as(self, target: &Path) -> io::Result<()> {
        // Held over the renaming, so that an interruption sees the one name or the other.
        let mut pending = pending();
        let renamed = fs::rename(&self.path, target);
        if renamed.is_ok() {
            pending.paths.remove(&self.path);
        }
        drop(pending);
        renamed
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let mut pending = pending();
        if pending.paths.remove(&self.path) {
            remove(&self.path);
        }
    }
}

/// What the names of temporary files and folders begin with.
pub const TEMP_PREFIX: &str = ".forge-tmp-";

/// Removes what killed processes left in `folder`. Only for a folder whose lock is held.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
            remove(&entry.path());
        }
    }
}

/// Best effort: what cannot be removed is found again by [`remove_leftovers`]. Tries again where a thread that is interrupted puts
/// another file into a folder while it is removed.
fn remove(path: &Path) {
    const ATTEMPTS: usize = 20;
    for _ in 0..ATTEMPTS {
        match fs::symlink_metadata(path) {
            Err(_) => return,
            Ok(about) if about.is_dir() => _ = fs::remove_dir_all(path),
            Ok(_) => _ = fs::remove_file(path),
        }
    }
}
