//! `tensorferry inspect`: shows arrays and a summary of their values.

use crate::arguments::open::OpenArgs;
use crate::arguments::storage::any_remote;
use crate::outcome::{self, Failure, Outcome};
use crate::report::{Inspected, json, network, page, text};
use crate::summary::{Summary, Wanted, summarize, summarize_together};
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorferry::dataset::CancelToken;
use tensorferry::{Array, Arrays, Error, Format, Opened, WriteOptions, can_write, request_counts};

/// Show arrays: shape, dtype, range of values, the smallest dtype that holds them, a histogram
///
/// Each file is inspected by itself; a quoted pattern ('part-*.npy') is one array of many files.
/// Each array is read once, completely, a few MiB at a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Files, URLs, or quoted patterns such as 'part-*.npy'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Number of intervals of the histogram, at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=2048)
    )]
    bins: u16,
    /// Write an HTML page of tables, histograms, columns, rows and images: one file that loads
    /// nothing else
    #[arg(long, value_name = "FILE.html", value_parser = html)]
    report: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
}

/// Parses the path of a page. Its extension has to be .html, as the file is replaced.
fn html(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let page = ["html", "htm"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    if page { Ok(path) } else { Err("its name has to end in .html".into()) }
}

impl Inspect {
    pub(crate) fn run(&self, out: &mut dyn Write, cancel: &CancelToken) -> Outcome {
        if let Some(report) = &self.report {
            // Checked first: reading may take long.
            can_write(report)?;
        }
        let mut worst = 0;
        let (mut all, mut page) = (Vec::new(), page::Page::default());
        let screen = text::Screen::new();
        for path in &self.files {
            let mut shown = 0;
            let inspected = self.file(path, cancel, &mut |array, inspected| {
                shown += 1;
                if self.report.is_some() {
                    page.add(&array, &inspected)?;
                }
                if self.json {
                    all.push(json::of(&inspected));
                } else {
                    text::write(out, &screen, &inspected)?;
                    out.flush()?;
                }
                Ok(())
            });
            match inspected {
                Ok(0) if shown == 0 && !self.json => text::write_empty(out, path)?,
                Ok(status) => worst = outcome::worse(worst, status),
                Err(failure @ (Failure::Library(Error::Interrupted) | Failure::Output(_))) => {
                    return Err(failure);
                }
                // The other files are still inspected.
                Err(failure) if self.files.len() > 1 => {
                    worst = outcome::worse(worst, outcome::status(Err(failure)))
                }
                Err(failure) => return Err(failure),
            }
        }
        let counts = request_counts();
        let network = Some(&counts).filter(|_| any_remote(&self.files));
        if self.json {
            json::write(out, all, network.map(network::json))?;
        } else if let Some(counts) = network {
            writeln!(out, "network: {}", network::words(counts))?;
        }
        if let Some(path) = self.report.as_ref().filter(|_| !page.is_empty()) {
            let storage = self.open.storage();
            // As a file is.
            page.write(
                path,
                &WriteOptions { storage, replace: Some(true), cancel: cancel.clone() },
            )?;
        }
        if worst == 0 { Ok(()) } else { Err(Failure::Reported(worst)) }
    }

    /// Inspects each array of a file. Returns the worst exit status of those that failed.
    fn file(
        &self,
        path: &Path,
        cancel: &CancelToken,
        each: &mut dyn FnMut(Array, Inspected) -> Outcome,
    ) -> Outcome<u8> {
        let wanted = Wanted {
            bars: self.bins.into(),
            columns: if self.report.is_some() { page::COLUMNS } else { 0 },
        };
        let mut found = |name: Option<String>, array: Array, format, summary| {
            let inspected = Inspected {
                path: path.to_owned(),
                files: array.paths().len().max(1),
                format,
                name,
                dtype: array.dtype(),
                shape: array.shape().to_vec(),
                stored: array.stored(),
                summary,
            };
            each(array, inspected)
        };
        let arrays = match self.open.open(&[path.to_owned()], cancel)? {
            Opened::Array(_) if !self.open.arrays().is_empty() => {
                let what = format!("--array: {} holds one array without a name", path.display());
                return Err(outcome::wrong(what));
            }
            Opened::Array(array) => {
                let format = self.open.format_of(path, array.paths().next())?;
                let array = array.cancelled_by(cancel);
                let summary = summarize(&array, wanted)?;
                return found(None, array, format, summary).map(|()| 0);
            }
            Opened::Arrays(arrays) => arrays,
        };
        let format = self.open.format_of(path, arrays.paths().next())?;
        let names: Vec<String> = match self.open.arrays() {
            [] => arrays.names().map(str::to_owned).collect(),
            names => names.to_vec(),
        };
        if let Some(together) = together(&arrays, &names, format, wanted, cancel)? {
            let mut all = names.into_iter().zip(together);
            return all
                .try_for_each(|(name, (array, summary))| found(Some(name), array, format, summary))
                .map(|()| 0);
        }
        let mut worst = 0;
        for name in names {
            // One at a time: compressed arrays are held in memory.
            let inspected = arrays.get(&name).map_err(Failure::from).and_then(|array| {
                let array = array.cancelled_by(cancel);
                let summary = summarize(&array, wanted)?;
                found(Some(name.clone()), array, format, summary)
            });
            match inspected {
                Ok(()) => {}
                Err(Failure::Library(error))
                    if !matches!(error, Error::Interrupted) && arrays.len() > 1 =>
                {
                    let error = Failure::Library(error);
                    outcome::complain(format_args!("{}: {name}: {error}", path.display()));
                    worst = outcome::worse(worst, outcome::status_of_failure(&error));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(worst)
    }
}

/// Summaries of arrays that are columns of the same records, which are read once for all. `None`
/// for other arrays, and if one cannot be read: inspecting each by itself then finds the error.
fn together(
    arrays: &Arrays,
    names: &[String],
    format: Format,
    wanted: Wanted,
    cancel: &CancelToken,
) -> Outcome<Option<Vec<(Array, Summary)>>> {
    if format != Format::TfRecord || names.len() < 2 {
        return Ok(None);
    }
    let all = names
        .iter()
        .map(|name| Ok(arrays.get(name)?.cancelled_by(cancel)))
        .collect::<Result<Vec<Array>, Error>>();
    let Ok(all) = all else { return Ok(None) };
    match summarize_together(&all, wanted, cancel) {
        Ok(summaries) => Ok(Some(all.into_iter().zip(summaries).collect())),
        Err(Error::Interrupted) => Err(Error::Interrupted.into()),
        Err(_) => Ok(None),
    }
}
