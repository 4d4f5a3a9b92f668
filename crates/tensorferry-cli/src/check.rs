//! `tensorferry check`: whether files are whole.

use crate::outcome::{Failure, Outcome, as_options, status_of};
use crate::source::OpenArgs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorferry::dataset::Stop;
use tensorferry::{Error, Mode, Opened};

/// Check that files are whole: headers, lengths, checksums, everything readable
///
/// Prints a line for each file, and goes on after a damaged one.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
}

impl Check {
    pub(crate) fn run(&self, out: &mut dyn Write, stop: &Stop) -> Outcome {
        // A mapped file that somebody truncates ends the process.
        let open = self.open.clone().or_mode(Mode::Read);
        let mut worst = 0;
        for path in &self.files {
            match look(&open, path, stop) {
                Ok(found) => writeln!(out, "{}: ok: {found}", path.display())?,
                Err(Failure::Library(error)) if !matches!(error, Error::Stopped) => {
                    worst = worse(worst, status_of(&error));
                    writeln!(out, "{}", as_options(&error.to_string()))?;
                }
                Err(other) => return Err(other),
            }
            out.flush()?;
        }
        if worst == 0 { Ok(()) } else { Err(Failure::Said(worst)) }
    }
}

/// Damage is worse than a file that could not be looked at.
fn worse(a: u8, b: u8) -> u8 {
    if a == 1 || b == 1 { 1 } else { a.max(b) }
}

fn look(open: &OpenArgs, path: &Path, stop: &Stop) -> Outcome<String> {
    match open.open(&[path.to_owned()], stop)? {
        Opened::Array(array) => {
            array.stopped_by(stop).chunks().try_for_each(|rows| rows.map(drop))?;
            Ok(format!("{} {:?}", array.dtype(), array.shape()))
        }
        Opened::Arrays(arrays) => {
            arrays.verify()?;
            Ok(format!("{} arrays", arrays.len()))
        }
    }
}
