//! Warnings of the library, each printed once on stderr.

use crate::words::printable;
use log::{LevelFilter, Log, Metadata, Record};
use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

static WARNINGS: Warnings = Warnings { printed: Mutex::new(None) };

struct Warnings {
    printed: Mutex<Option<HashSet<String>>>,
}

/// Prints warnings from now on; a logger that is already set, as in Python, keeps them.
pub(crate) fn begin() {
    if log::set_logger(&WARNINGS).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Prints a warning.
pub(crate) fn warn(what: &str) {
    // One write, so that lines of other processes do not mix in.
    let _ignored = std::io::stderr()
        .write_all(format!("tensorferry: warning: {}\n", printable(what)).as_bytes());
}

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("tensorferry")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.get_or_insert_default().insert(message.clone()) {
            warn(&message);
        }
    }

    fn flush(&self) {}
}
