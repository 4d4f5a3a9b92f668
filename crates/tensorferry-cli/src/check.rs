//! `tensorferry check`: whether files are whole.

use crate::outcome::{self, Failure, Outcome};
use crate::source::FileArgs;
use crate::words::{bytes, grouped, printable};
use std::io::Write;
use std::path::PathBuf;
use tensorferry::dataset::Stop;
use tensorferry::{Error, Format, Verified, verify};

/// Check that files are whole: headers, lengths, checksums, every byte read
///
/// Prints a line for each file, and goes on after a damaged one. The exit status is 1 if any is damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
}

impl Check {
    pub(crate) fn run(&self, out: &mut dyn Write, stop: &Stop) -> Outcome {
        let (format, raw) = self.file.to_verify()?;
        let mut worst = 0;
        for path in &self.files {
            match verify(path, format, raw.as_ref(), stop) {
                Ok(verified) => writeln!(out, "{}: ok: {}", printable(&path.display().to_string()), words(&verified))?,
                Err(Error::Stopped) => return Err(Error::Stopped.into()),
                Err(error) => {
                    let damaged = outcome::is_damage(&error);
                    let failure = Failure::Library(error);
                    worst = outcome::worse(worst, outcome::status_of_failure(&failure));
                    // The library's words begin with the file's name, where it is the file that is wrong.
                    let (words, name) = (printable(&failure.to_string()), printable(&path.display().to_string()));
                    let words = words.strip_prefix(&name).and_then(|words| words.strip_prefix(": ")).unwrap_or(&words);
                    writeln!(out, "{name}: {}: {words}", if damaged { "FAILED" } else { "not checked" })?;
                }
            }
            out.flush()?;
        }
        if worst == 0 { Ok(()) } else { Err(Failure::Said(worst)) }
    }
}

/// What was verified, and what could not be.
fn words(verified: &Verified) -> String {
    let parts = match verified.format {
        Format::TfRecord | Format::TfRecordBytes => "record",
        _ => "array",
    };
    let parts = format!("{} {parts}{}", grouped(verified.parts), if verified.parts == 1 { "" } else { "s" });
    let sums = match verified.checksum {
        Some(checksum) => format!("{checksum} of each verified"),
        None => "lengths verified, values not: the format has no checksums".into(),
    };
    let trailing = match verified.trailing {
        0 => String::new(),
        count => format!("; {count} bytes after the array belong to nothing"),
    };
    let size = bytes(usize::try_from(verified.bytes).unwrap_or(usize::MAX));
    format!("{}, {parts}, {size}; {sums}{trailing}", verified.format)
}
