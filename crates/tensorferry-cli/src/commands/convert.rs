//! `tensorferry convert`: writes arrays to files of another format, dtype or number.

use crate::arguments::open::{All, OpenArgs};
use crate::arguments::select::DTypes;
use crate::arguments::size::Size;
use crate::convert::{Journal, Target, TargetOptions, already_exists, exists, within};
use crate::doctor::{Host, ShardState};
use crate::outcome::{self, Failure, Outcome, complain, misfits, wrong};
use crate::progress::{Unit, shown};
use crate::words::printable;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tensorferry::dataset::CancelToken;
use tensorferry::{Casting, Error, Format, Mode, Progress, remove_leftovers};

/// Convert files of any size to another format, dtype or number of files, in bounded memory
///
/// DST is written atomically: under a temporary name in its folder, flushed to the disk, then
/// renamed. If the conversion fails, an existing DST is unchanged. An object of a store (s3://,
/// gs://, az://) appears whole or not at all too; its conversion cannot be resumed.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Files, URLs, or quoted patterns such as 'part-*.npy'; several are the shards of one array
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// File or URL to write; its extension sets the format: .npy .npz .safetensors .tfrecord .bin
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// Format to write [default: that of the extension of DST]
    #[arg(long, value_name = "FORMAT", value_parser = crate::arguments::open::formats())]
    to: Option<Format>,
    /// dtype to convert to, of all arrays or of one
    #[arg(long, value_name = "[NAME=]DTYPE", long_help = crate::arguments::select::DTYPE_HELP)]
    dtype: Vec<String>,
    /// What to do with a value that the dtype cannot hold; checked stops
    #[arg(long, default_value = "checked", value_parser = crate::arguments::open::castings())]
    casting: Casting,
    /// Name of a single array, in a format that has names [default: its name, or arr_0]
    #[arg(long)]
    name: Option<String>,
    /// Write files of this many rows: out.npy becomes out-00000-of-00012.npy and so on
    #[arg(long, value_name = "ROWS", value_parser = crate::arguments::size::rows)]
    shard_rows: Option<NonZero<usize>>,
    /// Write the shards as tasks of the Ray cluster that RAY_ADDRESS names; without one, on this
    /// machine. All nodes reach SRC and DST by these names. Needs Python, with ray[data]
    #[arg(long, requires = "shard_rows")]
    ray: bool,
    /// Write this shard alone, which --ray has a task do
    #[arg(long, hide = true, value_name = "NUMBER", requires = "shard_rows")]
    only: Option<usize>,
    /// Compress the arrays of an .npz
    #[arg(long)]
    compress: bool,
    /// Replace existing files
    #[arg(long)]
    force: bool,
    /// Resume an interrupted conversion: keep finished shards, or the part of a single file that
    /// is on the disk if it was begun with --resume (.npy, .bin and .safetensors). Not for URLs
    #[arg(long)]
    resume: bool,
    /// Limit of memory for data in flight, such as 64M
    #[arg(long, value_name = "BYTES", value_parser = crate::arguments::size::parse)]
    memory_limit: Option<Size>,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    /// Print neither progress nor result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    open: OpenArgs,
}

/// The version of the `--json` document.
const VERSION: u32 = 1;

impl Convert {
    pub(crate) fn run(
        &self,
        host: Option<&dyn Host>,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        let done = self.convert(host, out, cancel);
        if let Err(failure) = &done
            && self.json
            && !matches!(failure, Failure::Output(_))
        {
            writeln!(out, "{:#}", json!({"version": VERSION, "error": outcome::as_json(failure)}))?;
        }
        done
    }

    fn convert(
        &self,
        host: Option<&dyn Host>,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        // Reading is as fast as mmap here, and survives a file that is truncated meanwhile.
        let All { arrays, metadata } =
            self.open.open_all(&self.sources, self.memory_limit, Mode::Read, cancel)?;
        let arrays = within(arrays, self.memory_limit)?;
        let arrays = DTypes::parse(&self.dtype)?.cast(arrays, self.casting)?;
        let target = Target::new(TargetOptions {
            arrays,
            target: &self.destination,
            format: self.to,
            name: self.name.as_deref(),
            shard_rows: self.shard_rows,
            compress: self.compress,
            memory: self.memory_limit,
            metadata,
            storage: self.open.storage(),
        })?;
        if let Some(at) = self.only {
            return self.one_shard(&target, at, out, cancel);
        }
        let done = match (target.is_remote(), target.is_sharded()) {
            (true, _) => self.objects(host, &target, out, cancel),
            (false, true) => self.shards(host, &target, out, cancel),
            (false, false) => self.single(&target, out, cancel),
        };
        match done {
            Err(Failure::Library(error)) if is_uncounted(&error) => {
                Err(self.counted(error, &target, cancel))
            }
            done => done,
        }
    }

    /// The error of a value that does not fit, with the number of all values that do not.
    fn counted(&self, stopped_at: Error, target: &Target, cancel: &CancelToken) -> Failure {
        let progress = Progress::default();
        let counted = shown(Unit::Bytes, None, &|| progress.bytes(), self.quiet, || {
            target.check_values(&progress, cancel)
        });
        match counted {
            Ok(misfits) if !misfits.is_empty() => Failure::Misfits(misfits),
            // Interrupted while counting: the first value is known.
            Err(Error::Interrupted) => {
                complain(Failure::Library(stopped_at));
                Error::Interrupted.into()
            }
            // The source has changed meanwhile.
            _ => stopped_at.into(),
        }
    }

    /// Writes objects of a store. No journal is kept there: each object is whole.
    fn objects(
        &self,
        host: Option<&dyn Host>,
        target: &Target,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        if self.resume {
            return Err(wrong(format!(
                "--resume: a conversion to a URL ({}) begins anew. Leave it out.",
                self.destination.display()
            )));
        }
        if target.is_sharded() {
            target.check_shards()?;
            // Before the first is written. A single object is looked for when it is written.
            if let Some(path) = target.existing()?.filter(|_| !self.force) {
                return Err(already_exists(&path, ""));
            }
        }
        let began = Instant::now();
        self.write_all(host, target, (0..target.len()).collect(), None, cancel)?;
        self.report(target, 0, began, out)
    }

    /// Writes one shard of several. An existing one is that of an earlier try: the command that
    /// wants it looked for files before.
    fn one_shard(
        &self,
        target: &Target,
        at: usize,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        if at >= target.len() {
            return Err(wrong(format!("--only {at}: there are {} shards", target.len())));
        }
        remove_leftovers(target.path(at))?;
        target.write(at, true, &Progress::default(), cancel)?;
        if self.json {
            writeln!(out, "{}", json!({"version": VERSION, "error": null}))?;
        }
        Ok(())
    }

    /// Writes shards, here or as tasks of a cluster, and records them.
    fn write_all(
        &self,
        host: Option<&dyn Host>,
        target: &Target,
        shards: Vec<usize>,
        mut journal: Option<&mut Journal>,
        cancel: &CancelToken,
    ) -> Outcome {
        let (progress, elsewhere) = (Progress::default(), AtomicU64::new(0));
        let total = shards.iter().map(|at| target.nbytes_of(*at)).sum();
        let bytes = || progress.bytes() + elsewhere.load(Ordering::Relaxed);
        shown(Unit::Bytes, Some(total), &bytes, self.quiet, || {
            if !self.ray {
                return shards.into_iter().try_for_each(|at| {
                    remove_leftovers(target.path(at))?;
                    target.write(at, self.force || !target.is_remote(), &progress, cancel)?;
                    journal.as_mut().map_or(Ok(()), |journal| journal.add(at, &target.path(at)))
                });
            }
            let Some(host) = host else {
                return Err(wrong(
                    "--ray: this program has no Python. Install the package, with: pip install \
                    tensorferry 'ray[data]'",
                ));
            };
            let mut recorded = Ok(());
            let done = host.write_shards(&shards, &mut |shard| {
                if let Some(ShardState::Finished(at)) = shard {
                    elsewhere.fetch_add(target.nbytes_of(at), Ordering::Relaxed);
                }
                recorded = match (shard, &mut journal) {
                    (Some(ShardState::Begun(at)), Some(journal)) => journal.begun(at),
                    (Some(ShardState::Finished(at)), Some(journal)) => {
                        journal.add(at, &target.path(at))
                    }
                    _ => Ok(()),
                };
                recorded.is_ok() && !cancel.is_cancelled()
            });
            recorded?;
            if cancel.is_cancelled() {
                return Err(Error::Interrupted.into());
            }
            done.map_err(Failure::Elsewhere)
        })
    }

    fn single(&self, target: &Target, out: &mut dyn Write, cancel: &CancelToken) -> Outcome {
        if self.resume && target.is_resumable() {
            return self.resumable(target, out, cancel);
        }
        let path = target.path(0);
        if exists(&path) && !self.force {
            return Err(already_exists(&path, ""));
        }
        remove_leftovers(&path)?;
        Journal::remove_of_file(&path)?;
        let (began, progress) = (Instant::now(), Progress::default());
        shown(Unit::Bytes, Some(target.nbytes()), &|| progress.bytes(), self.quiet, || {
            target.write(0, true, &progress, cancel)
        })?;
        self.report(target, 0, began, out)
    }

    /// Writes one file that can be resumed, from where an interrupted conversion stopped.
    fn resumable(&self, target: &Target, out: &mut dyn Write, cancel: &CancelToken) -> Outcome {
        let path = target.path(0);
        if exists(&path) && !self.force && !exists(&Journal::path_of_file(&path)) {
            return Err(already_exists(&path, ""));
        }
        let mut journal = Journal::of_file(
            &path,
            &target.describe(self.casting, &self.open.describe())?,
            self.force,
        )?;
        if journal.is_whole(&path) && target.holds(0)? {
            // The earlier process was killed after renaming.
            let (kept, began) = (journal.reached(), Instant::now());
            journal.remove()?;
            remove_leftovers(&path)?;
            return self.report(target, usize::try_from(kept).unwrap_or(usize::MAX), began, out);
        }
        if exists(&path) && !journal.may_replace() {
            if journal.reached() == 0 {
                journal.remove()?;
            }
            return Err(already_exists(&path, ""));
        }
        let (began, progress, kept) = (Instant::now(), Progress::default(), journal.reached());
        let left = target.nbytes().saturating_sub(kept);
        let written = shown(Unit::Bytes, Some(left), &|| progress.bytes(), self.quiet, || {
            target.resume(&progress, cancel, &mut journal)
        });
        if written.is_ok() || journal.reached() == 0 {
            journal.remove()?;
            remove_leftovers(&path)?;
        }
        written?;
        self.report(target, usize::try_from(kept).unwrap_or(usize::MAX), began, out)
    }

    fn shards(
        &self,
        host: Option<&dyn Host>,
        target: &Target,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        target.check_shards()?;
        let described = target.describe(self.casting, &self.open.describe())?;
        let mut journal =
            match Journal::open(&self.destination, &described, self.resume, self.force)? {
                Some(journal) => journal,
                None => {
                    if let Some(path) = target.existing()?.filter(|_| !self.force) {
                        return Err(already_exists(&path, ""));
                    }
                    Journal::begin(&self.destination, &described, self.force)?
                }
            };
        let finished = target.finished(&journal)?;
        let began = Instant::now();
        let left = (0..target.len()).filter(|at| !finished.contains(at)).collect();
        let written = self.write_all(host, target, left, Some(&mut journal), cancel);
        if written.is_ok() || journal.finished().is_empty() {
            journal.remove()?;
        }
        written?;
        self.report(target, finished.len(), began, out)
    }

    /// Prints what was written.
    fn report(&self, target: &Target, kept: usize, began: Instant, out: &mut dyn Write) -> Outcome {
        let seconds = began.elapsed().as_secs_f64();
        let bytes = target.written();
        if self.json {
            let files: Vec<_> = target.paths().map(|path| path.display().to_string()).collect();
            let (files_before, bytes_before) =
                if target.is_sharded() { (kept, 0) } else { (0, kept) };
            let document = json!({
                "version": VERSION,
                "files": files,
                "format": target.format().name(),
                "arrays": target.arrays_json(),
                "bytes": bytes,
                "files_from_before": files_before,
                "bytes_from_before": bytes_before,
                "seconds": seconds,
                "error": null,
            });
            return Ok(writeln!(out, "{document:#}")?);
        }
        if self.quiet {
            return Ok(());
        }
        let files = match target.len() {
            1 => target.path(0).display().to_string(),
            len => format!("{} and {} more", target.path(0).display(), HumanCount(len as u64 - 1)),
        };
        let kept = match kept {
            0 => String::new(),
            _ if target.is_sharded() => format!(", {kept} of them from before"),
            _ => format!(", {} of it from before", BinaryBytes(kept as u64)),
        };
        let line = format!(
            "{files}{kept}: {}, {}, in {seconds:.2} s",
            target.contents(),
            BinaryBytes(bytes)
        );
        writeln!(out, "{}", printable(&line))?;
        Ok(())
    }
}

/// Whether an error names a value that does not fit, without a count of all.
fn is_uncounted(error: &Error) -> bool {
    misfits(error).is_some_and(|misfits| misfits.total == 0)
}
