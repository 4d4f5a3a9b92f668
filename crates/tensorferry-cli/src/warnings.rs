//! What the library warns of, on stderr: each thing once.

use crate::words::printable;
use log::{LevelFilter, Log, Metadata, Record};
use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

static WARNINGS: Warnings = Warnings { said: Mutex::new(None) };

struct Warnings {
    said: Mutex<Option<HashSet<String>>>,
}

/// Has warnings said. Inside Python its `logging` says them.
pub(crate) fn begin() {
    if log::set_logger(&WARNINGS).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Says a warning.
pub(crate) fn warn(what: &str) {
    // In one piece: others may write there, too.
    let _said = std::io::stderr()
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
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get_or_insert_default().insert(message.clone()) {
            warn(&message);
        }
    }

    fn flush(&self) {}
}
