//! Ctrl-C.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::program::error::EXIT_INTERRUPTED;

static TOLD: AtomicBool = AtomicBool::new(false);
static IS_HELD_OFF: AtomicBool = AtomicBool::new(false);

/// Sees to it that Ctrl-C sets what is returned; a second one ends the program at once, without waiting for the step to end.
pub(super) fn install() -> &'static AtomicBool {
    let handler = || {
        if TOLD.swap(true, Ordering::Relaxed) && !IS_HELD_OFF.load(Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        // Without the handler Ctrl-C still ends the program, if less tidily.
        let _ = writeln!(io::stderr(), "warning: cannot handle Ctrl-C: {error}");
    }
    &TOLD
}

/// As long as there is one, no Ctrl-C ends the program.
pub(super) struct HeldOff(());

impl HeldOff {
    pub(super) fn new() -> HeldOff {
        IS_HELD_OFF.store(true, Ordering::Relaxed);
        HeldOff(())
    }
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        IS_HELD_OFF.store(false, Ordering::Relaxed);
    }
}
