//! The files that a conversion writes, and the arrays in them.

use super::content::Content;
use super::journal::{Journal, Stamp};
use crate::arguments::select::Named;
use crate::arguments::size::Size;
use crate::outcome::{Failure, Outcome, io, message, misfits, wrong};
use crate::warnings::warn;
use crate::words::shape;
use indicatif::BinaryBytes;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use tensorferry::Error;
use tensorferry::dataset::CancelToken;
use tensorferry::error::IoError;
use tensorferry::{
    Array, Casting, Format, Mode, OpenOptions, Opened, Progress, ResumableWrite, SaveOptions,
    StorageOptions, WriteOptions, is_remote, matching_files_with, open_one, open_with,
    save_arrays_with, save_resumable, save_with,
};

/// Bytes read at a time, unless memory is short.
const CHUNK: usize = 4 << 20;
/// The memory limit divided by the bytes of a chunk. One chunk is read, one waits, one is written,
/// and formats use memory too.
const PART: usize = 8;

/// A resumable file is flushed to the disk after this many bytes.
const SYNC: u64 = 64 << 20;

/// What to write, and where.
#[derive(Debug)]
pub(crate) struct TargetOptions<'a> {
    pub(crate) arrays: Vec<Named>,
    pub(crate) target: &'a Path,
    pub(crate) format: Option<Format>,
    pub(crate) name: Option<&'a str>,
    pub(crate) shard_rows: Option<NonZero<usize>>,
    pub(crate) compress: bool,
    pub(crate) memory: Option<Size>,
    /// The metadata of `.safetensors` sources.
    pub(crate) metadata: BTreeMap<String, String>,
    /// How the store of a URL is reached.
    pub(crate) storage: StorageOptions,
}

/// One file or several shards, and the arrays in them.
#[derive(Debug)]
pub(crate) struct Target {
    target: PathBuf,
    format: Format,
    compress: bool,
    arrays: Content,
    /// Rows per shard, and of all, if there are shards.
    shards: Option<(usize, usize)>,
    /// Metadata to write beside the arrays.
    metadata: BTreeMap<String, String>,
    /// How the stores of URLs are reached.
    storage: StorageOptions,
}

impl Target {
    pub(crate) fn new(request: TargetOptions<'_>) -> Outcome<Self> {
        let TargetOptions {
            arrays,
            target,
            format,
            name,
            shard_rows,
            compress,
            memory,
            mut metadata,
            storage,
        } = request;
        let Some(format) = format.or_else(|| Format::of_extension(target)) else {
            let all = Format::ALL.map(Format::name).join(", ");
            return Err(wrong(format!(
                "{}: its extension does not name a format. Pass --to, one of {all}.",
                target.display()
            )));
        };
        if compress && format != Format::Npz {
            return Err(wrong(format!("--compress is for npz files, not for {format}")));
        }
        let arrays = Content::new(within(arrays, memory)?, format, name)?;
        let shards = match shard_rows {
            None => None,
            Some(rows) => Some((rows.get(), arrays.rows()?)),
        };
        if format != Format::SafeTensors && !metadata.is_empty() {
            let names = metadata.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
            warn(&format!(
                "{}: the metadata ({names}) is left out: {format} files hold none",
                target.display()
            ));
            metadata.clear();
        }
        let target = target.to_owned();
        Ok(Self { target, format, compress, arrays, shards, metadata, storage })
    }

    /// Whether the files are objects of a store.
    pub(crate) fn is_remote(&self) -> bool {
        is_remote(&self.target)
    }

    pub(crate) fn is_sharded(&self) -> bool {
        self.shards.is_some()
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.shards.map_or(1, |(rows, all)| all.div_ceil(rows).max(1))
    }

    /// The path of a file.
    pub(crate) fn path(&self, at: usize) -> PathBuf {
        if self.shards.is_none() {
            return self.target.clone();
        }
        let mut name = self.target.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{at:05}-of-{:05}", self.len()));
        if let Some(extension) = self.target.extension() {
            name.push(".");
            name.push(extension);
        }
        self.target.with_file_name(name)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..self.len()).map(|at| self.path(at))
    }

    /// The arrays of a file.
    fn content(&self, at: usize) -> tensorferry::Result<Content> {
        let Some((rows, all)) = self.shards else {
            return self.arrays.map(|array| Ok(array.clone()));
        };
        let start = at * rows;
        self.arrays.map(|array| Ok(array.part(start, rows.min(all - start))?))
    }

    /// Bytes of the elements of all files.
    pub(crate) fn nbytes(&self) -> u64 {
        self.arrays.all().map(|array| array.nbytes() as u64).sum()
    }

    /// Bytes of the elements of a file.
    pub(crate) fn nbytes_of(&self, at: usize) -> u64 {
        let Some((rows, all)) = self.shards else { return self.nbytes() };
        let rows = rows.min(all - at * rows);
        self.arrays.all().map(|array| (array.nbytes() / array.len().max(1) * rows) as u64).sum()
    }

    /// Writes a file. Files were looked for before: one that exists is replaced. An object is
    /// replaced only if `force` says so.
    pub(crate) fn write(
        &self,
        at: usize,
        force: bool,
        progress: &Progress,
        cancel: &CancelToken,
    ) -> Outcome {
        let content =
            self.content(at)?.map(|array| Ok(array.counted_by(progress).cancelled_by(cancel)))?;
        let write = WriteOptions {
            storage: self.storage.clone(),
            replace: self.is_remote().then_some(force),
            cancel: cancel.clone(),
        };
        let format = Some(self.format);
        let done = match content {
            Content::One(array) => {
                let options = SaveOptions { format, write, ..SaveOptions::default() };
                save_with(self.path(at), &array, &options)
            }
            Content::ByName(arrays) => {
                let (compress, metadata) = (self.compress, self.metadata.clone());
                let options = SaveOptions { format, compress, metadata, write };
                save_arrays_with(self.path(at), &arrays, &options)
            }
        };
        match done {
            Err(error) if is_existing(&error) => Err(already_exists(&self.path(at), "")),
            done => Ok(done?),
        }
    }

    /// Bytes of all files.
    pub(crate) fn written(&self) -> u64 {
        let len = |path: &Path| match is_remote(path) {
            true => open_one(path, &self.storage).map_or(0, |object| object.len()),
            false => path.metadata().map_or(0, |metadata| metadata.len()),
        };
        self.paths().map(|path| len(&path)).sum()
    }

    /// Checks all values. Returns an error message for each array with values that do not fit.
    pub(crate) fn check_values(
        &self,
        progress: &Progress,
        cancel: &CancelToken,
    ) -> tensorferry::Result<Vec<String>> {
        let mut messages = Vec::new();
        for (name, array) in self.arrays.named() {
            let checked = array.counted_by(progress).cancelled_by(cancel).check_values();
            match checked.map_err(Error::from) {
                Err(error) if misfits(&error).is_some() => {
                    let name = name.filter(|_| self.arrays.all().count() > 1);
                    messages.push(name.map_or_else(
                        || message(&error),
                        |name| format!("{name}: {}", message(&error)),
                    ));
                }
                other => other?,
            }
        }
        Ok(messages)
    }

    /// Whether the conversion can be resumed within a file: its bytes are those of the arrays, in
    /// order.
    pub(crate) fn is_resumable(&self) -> bool {
        self.shards.is_none()
            && matches!(self.format, Format::Npy | Format::Raw | Format::SafeTensors)
    }

    /// Writes the single file from where the journal stands, and records progress in it.
    pub(crate) fn resume(
        &self,
        progress: &Progress,
        cancel: &CancelToken,
        journal: &mut Journal,
    ) -> Outcome {
        let arrays = self.arrays.named().map(|(name, array)| {
            (name.unwrap_or_default().to_owned(), array.counted_by(progress).cancelled_by(cancel))
        });
        let (arrays, from): (Vec<(String, Array)>, u64) = (arrays.collect(), journal.reached());
        let journal = RefCell::new(journal);
        let reached = &mut |bytes| journal.borrow_mut().note(bytes);
        let how = ResumableWrite {
            metadata: &self.metadata,
            from,
            every: SYNC,
            reached,
            whole: &mut |file| journal.borrow_mut().note_whole(file),
        };
        Ok(save_resumable(&self.target, &arrays, self.format, how)?)
    }

    /// Refuses shards that would replace a source before it is read, or that would stand beside
    /// shards of another conversion, which one pattern would match together.
    pub(crate) fn check_shards(&self) -> Outcome {
        let whole = |path: &Path| match is_remote(path) {
            true => Some(path.to_owned()),
            false => path.canonicalize().ok(),
        };
        let sources: BTreeSet<PathBuf> =
            self.arrays.all().flat_map(Array::paths).filter_map(whole).collect();
        if let Some(path) =
            self.paths().find(|path| whole(path).is_some_and(|path| sources.contains(&path)))
        {
            let what = format!(
                "{} is a source, and would be replaced before all are read",
                path.display()
            );
            return Err(wrong(format!("{what}. Write to another name.")));
        }
        let (stem, extension) =
            (self.target.file_stem().unwrap_or_default(), self.target.extension());
        let own = format!("-of-{:05}", self.len());
        for path in self.beside()? {
            let rest = path
                .file_stem()
                .and_then(|name| name.to_str()?.strip_prefix(stem.to_str()?))
                .unwrap_or_default();
            if path.extension() == extension && is_shard(rest) && !rest.ends_with(&own) {
                let what = format!(
                    "{} is a shard of another conversion to {}",
                    path.display(),
                    self.target.display()
                );
                return Err(wrong(format!(
                    "{what}: one pattern would match both. Remove its files first, or write to \
                    another name."
                )));
            }
        }
        Ok(())
    }

    /// The files beside the target that can be shards.
    fn beside(&self) -> Outcome<Vec<PathBuf>> {
        if self.is_remote() {
            let (stem, extension) = (self.target.file_stem(), self.target.extension());
            let text = |part: Option<&OsStr>| literal(&part.unwrap_or_default().to_string_lossy());
            let all = format!("{}-*-of-*.{}", text(stem), text(extension));
            let pattern = self.target.with_file_name(all);
            return match matching_files_with(&pattern, &self.storage) {
                Err(error) if is_missing(&error) => Ok(Vec::new()),
                found => Ok(found?),
            };
        }
        let directory = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let entries = directory.read_dir().map_err(io("read", directory))?;
        let path =
            |entry: std::io::Result<DirEntry>| Ok(entry.map_err(io("read", directory))?.path());
        entries.map(path).collect()
    }

    /// A file that exists already.
    pub(crate) fn existing(&self) -> Outcome<Option<PathBuf>> {
        if !self.is_remote() {
            return Ok(self.paths().find(|path| exists(path)));
        }
        let found: BTreeSet<PathBuf> = self.beside()?.into_iter().collect();
        Ok(self.paths().find(|path| found.contains(path)))
    }

    /// The finished files of a journal, each compared with its record.
    pub(crate) fn finished(&self, journal: &Journal) -> Outcome<BTreeSet<usize>> {
        let force = journal.may_replace();
        let mut finished = BTreeSet::new();
        for (&at, stamp) in journal.finished() {
            let path = self.path(at);
            if Stamp::of(&path).is_ok_and(|now| now == *stamp) && self.holds(at)? {
                finished.insert(at);
            } else if exists(&path) && !force {
                return Err(already_exists(&path, ", and differs from the file that was written"));
            }
        }
        // The killed process may have renamed one more file than it recorded.
        let mut others = (0..self.len()).filter(|at| {
            !journal.finished().contains_key(at)
                && !journal.may_have_written(*at)
                && exists(&self.path(*at))
        });
        let ours = (0..self.len()).find(|at| !journal.finished().contains_key(at));
        match others.find(|at| Some(*at) != ours && !force) {
            Some(at) => {
                Err(already_exists(&self.path(at), ", and this conversion did not write it"))
            }
            None => Ok(finished),
        }
    }

    /// Whether a file's header describes the arrays that it is to hold.
    pub(crate) fn holds(&self, at: usize) -> Outcome<bool> {
        if !matches!(self.format, Format::Npy | Format::Npz | Format::SafeTensors) {
            return Ok(true); // its length and time are compared
        }
        let same = |one: &Array, other: &Array| {
            one.dtype() == other.dtype() && one.shape() == other.shape()
        };
        let opened = open_with(
            &[self.path(at)],
            &OpenOptions { format: Some(self.format), mode: Mode::Read, ..OpenOptions::default() },
        );
        Ok(match (opened, self.content(at)?) {
            (Ok(Opened::Array(found)), Content::One(array)) => same(&found, &array),
            (Ok(Opened::Arrays(found)), Content::ByName(arrays)) => {
                found.len() == arrays.len()
                    && (self.compress
                        || arrays.iter().all(|(name, array)| {
                            found.get(name).is_ok_and(|found| same(&found, array))
                        }))
            }
            _ => false,
        })
    }

    /// A description of the conversion, compared when it is resumed.
    pub(crate) fn describe(&self, casting: Casting, opened: &str) -> Outcome<Value> {
        let mut paths: Vec<&Path> = self.arrays.all().flat_map(Array::paths).collect();
        paths.sort_unstable();
        paths.dedup();
        let source = |path: &Path| -> Outcome<Value> {
            if is_remote(path) {
                let object = open_one(path, &self.storage)?;
                let version = object.version().map(|version| version.as_str().to_owned());
                return Ok(json!([path, [object.len(), version]]));
            }
            let whole = std::path::absolute(path).map_err(io("read the metadata of", path))?;
            Ok(json!([
                whole,
                Stamp::of(path).map_err(io("read the metadata of", path))?.describe()
            ]))
        };
        let array = |(name, array): (Option<&str>, &Array)| {
            json!([name, array.dtype().name(), array.shape()])
        };
        Ok(json!({
            "tensorferry": env!("CARGO_PKG_VERSION"),
            "sources": paths.into_iter().map(source).collect::<Outcome<Vec<_>>>()?,
            "opened": opened,
            "arrays": self.arrays.named().map(array).collect::<Vec<_>>(),
            "casting": casting.name(),
            "format": self.format.name(),
            "compress": self.compress,
            "shard_rows": self.shards.map(|(rows, _)| rows),
        }))
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The arrays of all files, for `--json`.
    pub(crate) fn arrays_json(&self) -> Value {
        let array = |(name, array): (Option<&str>, &Array)| {
            let (dtype, shape) = (array.dtype().name(), array.shape());
            json!({"name": name, "dtype": dtype, "shape": shape, "bytes": array.nbytes()})
        };
        self.arrays.named().map(array).collect()
    }

    /// The contents as text: `npy, int32 (1000, 3)`.
    pub(crate) fn contents(&self) -> String {
        let named = self.arrays.named();
        let words = named.map(|(name, array)| {
            let name = name.map(|name| format!("{name} ")).unwrap_or_default();
            format!("{name}{} {}", array.dtype(), shape(array.shape()))
        });
        let all: Vec<String> = words.collect();
        match all.len() {
            0..=4 => format!("{}, {}", self.format, all.join(", ")),
            many => format!("{}, {many} arrays", self.format),
        }
    }
}

/// Text as a pattern that matches it alone.
fn literal(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '*' | '?' | '[' => format!("[{letter}]"),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn is_missing(error: &IoError) -> bool {
    error.system().is_some_and(|source| source.kind() == ErrorKind::NotFound)
}

fn is_existing(error: &IoError) -> bool {
    error.system().is_some_and(|source| source.kind() == ErrorKind::AlreadyExists)
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(crate) fn already_exists(path: &Path, why: &str) -> Failure {
    wrong(format!("{} already exists{why}. --force replaces it.", path.display()))
}

/// Whether the rest of a file's stem is that of a shard: `-00002-of-00010`.
fn is_shard(rest: &str) -> bool {
    let number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    parts.is_some_and(|(at, of)| number(at) && number(of))
}

/// The arrays, read in chunks that keep the conversion within the memory limit.
pub(crate) fn within(arrays: Vec<Named>, memory: Option<Size>) -> Outcome<Vec<Named>> {
    let Some(memory) = memory else { return Ok(arrays) };
    let chunk = memory / PART;
    let within = |Named { name, array }: Named| {
        let row = array.nbytes() / array.len().max(1);
        if row > chunk {
            let needed = BinaryBytes(row.saturating_mul(PART) as u64);
            return Err(wrong(format!(
                "--memory-limit: rows of {row} bytes need at least {needed}"
            )));
        }
        Ok(Named { name, array: array.in_chunks_of(chunk.min(CHUNK)) })
    };
    arrays.into_iter().map(within).collect()
}
