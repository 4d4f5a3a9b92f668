//! `tensorferry check`: verifies files.

use crate::arguments::open::FileArgs;
use crate::outcome::{self, Failure, Outcome};
use crate::words::{bytes, grouped, printable};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorferry::dataset::CancelToken;
use tensorferry::error::IoError;
use tensorferry::{Error, Format, Verified, matching_files_with, verify_with};

/// Verify files: headers, lengths and checksums, reading every byte
///
/// Prints a line for each file, also after a damaged one. The exit status is 1 if a file is
/// damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Files, URLs, or quoted patterns such as 'part-*.npy'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileArgs,
}

/// The version of the `--json` document.
const VERSION: u32 = 1;

impl Check {
    pub(crate) fn run(&self, out: &mut dyn Write, cancel: &CancelToken) -> Outcome {
        let options = self.file.options(cancel)?;
        let (mut worst, mut all) = (0, Vec::new());
        for given in &self.files {
            let (paths, refused) = match matching_files_with(given, &options.storage) {
                Ok(paths) => (paths, None),
                Err(error) => (vec![given.clone()], Some(error)),
            };
            let mut refused = refused;
            for path in &paths {
                let verified = refused.take().map_or_else(|| verify_with(path, &options), Err);
                if matches!(verified, Err(IoError::Interrupted)) {
                    return Err(Error::Interrupted.into());
                }
                let found = Found::new(path, verified.map_err(Error::from));
                worst = outcome::worse(worst, found.status());
                match self.json {
                    true => all.push(found.json()),
                    false => writeln!(out, "{}", found.line())?,
                }
                out.flush()?;
            }
        }
        if self.json {
            writeln!(out, "{:#}", json!({"version": VERSION, "files": all}))?;
        }
        if worst == 0 { Ok(()) } else { Err(Failure::Reported(worst)) }
    }
}

/// The result for one file.
struct Found<'a> {
    path: &'a Path,
    verified: Result<Verified, Failure>,
    /// Whether the file is damaged; else a failure means that it was not checked.
    damaged: bool,
}

impl<'a> Found<'a> {
    fn new(path: &'a Path, verified: Result<Verified, Error>) -> Self {
        let damaged = verified.as_ref().is_err_and(outcome::is_damage);
        Self { path, verified: verified.map_err(Failure::Library), damaged }
    }

    fn status(&self) -> u8 {
        self.verified.as_ref().err().map_or(0, outcome::status_of_failure)
    }

    /// The result as a line of text.
    fn line(&self) -> String {
        let name = printable(&self.path.display().to_string());
        match &self.verified {
            Ok(verified) => format!("{name}: ok: {}", words(verified)),
            Err(failure) => {
                // Errors of a file begin with its name.
                let words = printable(&failure.to_string());
                let words = words
                    .strip_prefix(&name)
                    .and_then(|words| words.strip_prefix(": "))
                    .unwrap_or(&words);
                format!("{name}: {}: {words}", if self.damaged { "FAILED" } else { "not checked" })
            }
        }
    }

    fn json(&self) -> Value {
        let file = self.path.to_string_lossy();
        match &self.verified {
            Ok(verified) => json!({
                "file": file,
                "status": "ok",
                "format": verified.format.name(),
                "parts": verified.parts,
                "bytes": verified.bytes,
                "checksum": verified.checksum,
                "trailing_bytes": verified.trailing,
                "error": null,
            }),
            Err(failure) => json!({
                "file": file,
                "status": if self.damaged { "failed" } else { "not_checked" },
                "error": outcome::as_json(failure),
            }),
        }
    }
}

/// What was verified, and what was not.
fn words(verified: &Verified) -> String {
    let parts = match verified.format {
        Format::TfRecord | Format::TfRecordBytes => "record",
        _ => "array",
    };
    let parts = format!(
        "{} {parts}{}",
        grouped(verified.parts),
        if verified.parts == 1 { "" } else { "s" }
    );
    let sums = match verified.checksum {
        Some(checksum) => format!("{checksum} of each verified"),
        None => "lengths verified, values not: the format has no checksums".into(),
    };
    let trailing = match verified.trailing {
        0 => String::new(),
        count => format!("; {count} unused bytes after the array"),
    };
    let size = bytes(usize::try_from(verified.bytes).unwrap_or(usize::MAX));
    format!("{}, {parts}, {size}; {sums}{trailing}", verified.format)
}
