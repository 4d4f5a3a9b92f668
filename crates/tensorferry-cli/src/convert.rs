//! `tensorferry convert`: arrays from files into other files, in another format, dtype or number of
//! files.

use crate::journal::Journal;
use crate::outcome::{self, Failure, Outcome, complain, misfits, wrong};
use crate::plan::{Plan, Request, within};
use crate::progress::{Unit, shown};
use crate::select::DTypes;
use crate::size::Size;
use crate::source::{All, OpenArgs};
use crate::words::printable;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tensorferry::dataset::CancelToken;
use tensorferry::{Casting, Error, Format, Mode, Progress, remove_leftovers};

/// Convert files of any size to another format, dtype or number of files, in bounded memory
///
/// DST appears when it is whole: it is written under a temporary name beside it, brought to the
/// disk and renamed. Whatever fails before, an old DST stays as it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Files, or quoted patterns such as 'part-*.npy'; several are the shards of one array
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// File to write; its extension says the format: .npy .npz .safetensors .tfrecord .bin
    #[arg(value_name = "DST")]
    target: PathBuf,
    /// Format to write, where the extension of DST does not say it
    #[arg(long, value_name = "FORMAT", value_parser = crate::source::formats())]
    to: Option<Format>,
    /// dtype to convert to, of all arrays or of the one of a name
    #[arg(long, value_name = "[NAME=]DTYPE", long_help = DTYPE_HELP)]
    dtype: Vec<String>,
    /// What to do with a value that the dtype cannot hold: checked stops
    #[arg(long, default_value = "checked", value_parser = crate::source::castings())]
    casting: Casting,
    /// Name of a lone array in a format of arrays by name [default: the one that it has, or arr_0]
    #[arg(long)]
    name: Option<String>,
    /// Write several files of so many rows each: out.npy becomes out-00000-of-00012.npy and so on
    #[arg(long, value_name = "ROWS", value_parser = crate::size::rows)]
    shard_rows: Option<NonZero<usize>>,
    /// Compress the arrays of an .npz
    #[arg(long)]
    compress: bool,
    /// Replace files that there are already
    #[arg(long)]
    force: bool,
    /// Go on with a conversion that was interrupted: of shards with those that are finished, of one
    /// file that was begun with --resume, too, with what is on the disk (.npy, .bin and
    /// .safetensors)
    #[arg(long)]
    resume: bool,
    /// Memory for the data under way, at most, such as 64M
    #[arg(long, value_name = "BYTES", value_parser = crate::size::parse)]
    memory_limit: Option<Size>,
    /// Print the result as JSON, and what went wrong too
    #[arg(long)]
    json: bool,
    /// Show neither progress nor result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    open: OpenArgs,
}

/// What `--help` says of `--dtype`.
pub(crate) const DTYPE_HELP: &str = "dtype to convert to, of all arrays or of the one of a \
    name\n\nA name (int32), or NumPy's for it (i4, \
                                     half, double). As for TensorFlow, float is float32 and int \
                                     is int32.";

/// Of the names in `--json`.
const VERSION: u32 = 1;

impl Convert {
    pub(crate) fn run(&self, out: &mut dyn Write, stop: &CancelToken) -> Outcome {
        let done = self.convert(out, stop);
        if let Err(failure) = &done
            && self.json
            && !matches!(failure, Failure::Output(_))
        {
            writeln!(out, "{:#}", json!({"version": VERSION, "error": outcome::as_json(failure)}))?;
        }
        done
    }

    fn convert(&self, out: &mut dyn Write, stop: &CancelToken) -> Outcome {
        // Reading is as fast as a mapping here, and a mapped file that somebody truncates ends the
        // process.
        let All { arrays, metadata } =
            self.open.open_all(&self.sources, self.memory_limit, Mode::Read, stop)?;
        let arrays = within(arrays, self.memory_limit)?;
        let arrays = DTypes::parse(&self.dtype)?.cast(arrays, self.casting)?;
        let plan = Plan::new(Request {
            arrays,
            target: &self.target,
            format: self.to,
            name: self.name.as_deref(),
            shard_rows: self.shard_rows,
            compress: self.compress,
            memory: self.memory_limit,
            metadata,
        })?;
        let done = if plan.is_sharded() {
            self.shards(&plan, out, stop)
        } else {
            self.single(&plan, out, stop)
        };
        match done {
            Err(Failure::Library(error)) if is_uncounted(&error) => {
                Err(self.counted(error, &plan, stop))
            }
            done => done,
        }
    }

    /// What is to be said of a value that does not fit, at which writing stopped: how many there
    /// are of all.
    fn counted(&self, stopped_at: Error, plan: &Plan, stop: &CancelToken) -> Failure {
        let progress = Progress::default();
        let looked = shown(Unit::Bytes, None, &|| progress.bytes(), self.quiet, || {
            plan.check_values(&progress, stop)
        });
        match looked {
            Ok(said) if !said.is_empty() => Failure::Misfits(said),
            // Whoever does not wait for the count knows at least that there is one.
            Err(Error::Stopped) => {
                complain(Failure::Library(stopped_at));
                Error::Stopped.into()
            }
            // What is written to meanwhile fits now, or cannot be read.
            _ => stopped_at.into(),
        }
    }

    fn single(&self, plan: &Plan, out: &mut dyn Write, stop: &CancelToken) -> Outcome {
        if self.resume && plan.can_go_on() {
            return self.continued(plan, out, stop);
        }
        let path = plan.path(0);
        if exists(&path) && !self.force {
            return Err(there_already(&path, ""));
        }
        remove_leftovers(&path)?;
        Journal::forget_file(&path)?;
        let (began, progress) = (Instant::now(), Progress::default());
        shown(Unit::Bytes, Some(plan.nbytes()), &|| progress.bytes(), self.quiet, || {
            plan.write(0, &progress, stop)
        })?;
        self.report(plan, 0, began, out)
    }

    /// One file that is gone on with, now or by the next who does.
    fn continued(&self, plan: &Plan, out: &mut dyn Write, stop: &CancelToken) -> Outcome {
        let path = plan.path(0);
        if exists(&path) && !self.force && !exists(&Journal::path_of_file(&path)) {
            return Err(there_already(&path, ""));
        }
        let mut journal = Journal::of_file(
            &path,
            &plan.describe(self.casting, &self.open.describe())?,
            self.force,
        )?;
        if journal.is_whole(&path) && plan.holds(0)? {
            // The process was killed when all was done.
            let (kept, began) = (journal.reached(), Instant::now());
            journal.remove()?;
            remove_leftovers(&path)?;
            return self.report(plan, usize::try_from(kept).unwrap_or(usize::MAX), began, out);
        }
        if exists(&path) && !journal.may_replace() {
            if journal.reached() == 0 {
                journal.remove()?;
            }
            return Err(there_already(&path, ""));
        }
        let (began, progress, kept) = (Instant::now(), Progress::default(), journal.reached());
        let left = plan.nbytes().saturating_sub(kept);
        let written = shown(Unit::Bytes, Some(left), &|| progress.bytes(), self.quiet, || {
            plan.go_on(&progress, stop, &mut journal)
        });
        if written.is_ok() || journal.reached() == 0 {
            journal.remove()?;
            remove_leftovers(&path)?;
        }
        written?;
        self.report(plan, usize::try_from(kept).unwrap_or(usize::MAX), began, out)
    }

    fn shards(&self, plan: &Plan, out: &mut dyn Write, stop: &CancelToken) -> Outcome {
        plan.check_shards()?;
        let described = plan.describe(self.casting, &self.open.describe())?;
        let mut journal = match Journal::open(&self.target, &described, self.resume, self.force)? {
            Some(journal) => journal,
            None => {
                if let Some(path) = plan.paths().find(|path| exists(path)).filter(|_| !self.force) {
                    return Err(there_already(&path, ""));
                }
                Journal::begin(&self.target, &described, self.force)?
            }
        };
        let finished = plan.finished(&journal)?;
        let (began, progress) = (Instant::now(), Progress::default());
        let left = (0..plan.len()).filter(|at| !finished.contains(at));
        let total = left.clone().map(|at| plan.nbytes_of(at)).sum();
        let written = shown(Unit::Bytes, Some(total), &|| progress.bytes(), self.quiet, || {
            left.into_iter().try_for_each(|at| -> Outcome {
                remove_leftovers(plan.path(at))?;
                plan.write(at, &progress, stop)?;
                journal.add(at, &plan.path(at))
            })
        });
        if written.is_ok() || journal.finished().is_empty() {
            journal.remove()?;
        }
        written?;
        self.report(plan, finished.len(), began, out)
    }

    /// What was written, in a line.
    fn report(&self, plan: &Plan, kept: usize, began: Instant, out: &mut dyn Write) -> Outcome {
        let seconds = began.elapsed().as_secs_f64();
        let bytes =
            plan.paths().map(|path| path.metadata().map_or(0, |metadata| metadata.len())).sum();
        if self.json {
            let files: Vec<_> = plan.paths().map(|path| path.display().to_string()).collect();
            let (files_before, bytes_before) =
                if plan.is_sharded() { (kept, 0) } else { (0, kept) };
            let said = json!({
                "version": VERSION,
                "files": files,
                "format": plan.format().name(),
                "arrays": plan.arrays_json(),
                "bytes": bytes,
                "files_from_before": files_before,
                "bytes_from_before": bytes_before,
                "seconds": seconds,
                "error": null,
            });
            return Ok(writeln!(out, "{said:#}")?);
        }
        if self.quiet {
            return Ok(());
        }
        let files = match plan.len() {
            1 => plan.path(0).display().to_string(),
            len => format!("{} and {} more", plan.path(0).display(), HumanCount(len as u64 - 1)),
        };
        let kept = match kept {
            0 => String::new(),
            _ if plan.is_sharded() => format!(", {kept} of them from before"),
            _ => format!(", {} of it from before", BinaryBytes(kept as u64)),
        };
        let line = format!(
            "{files}{kept}: {}, {}, in {seconds:.2} s",
            plan.contents(),
            BinaryBytes(bytes)
        );
        writeln!(out, "{}", printable(&line))?;
        Ok(())
    }
}

/// Whether an error says of a value that it does not fit, and not how many there are.
fn is_uncounted(error: &Error) -> bool {
    misfits(error).is_some_and(|misfits| misfits.total == 0)
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) fn there_already(path: &Path, why: &str) -> Failure {
    wrong(format!("{} is there already{why}. --force replaces it.", path.display()))
}
