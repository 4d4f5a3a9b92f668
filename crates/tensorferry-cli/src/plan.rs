//! What is written where.

use crate::convert::{exists, there_already};
use crate::journal::{Journal, Stamp, io};
use crate::outcome::{Outcome, misfits, wrong};
use crate::select::Named;
use crate::size::Size;
use crate::warnings::warn;
use crate::words::shape;
use indicatif::BinaryBytes;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use tensorferry::dataset::CancelToken;
use tensorferry::{
    Array, Casting, DType, Format, Mode, Opened, Progress, ResumableWrite, open, save,
    save_arrays_with, save_resumable,
};

/// Bytes read at a time, unless memory is short.
const CHUNK: usize = 4 << 20;
/// What of the memory limit is read at a time: a chunk is being read, one waits, one is being
/// written, and formats add their own.
const PART: usize = 8;

/// After how many bytes a file that is to be gone on with is brought to the disk.
const SYNC: u64 = 64 << 20;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) arrays: Vec<Named>,
    pub(crate) target: &'a Path,
    pub(crate) format: Option<Format>,
    pub(crate) name: Option<&'a str>,
    pub(crate) shard_rows: Option<NonZero<usize>>,
    pub(crate) compress: bool,
    pub(crate) memory: Option<Size>,
    /// What `.safetensors` sources say besides their arrays.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One file or several, and the arrays that are to be in them.
#[derive(Debug)]
pub(crate) struct Plan {
    target: PathBuf,
    format: Format,
    compress: bool,
    arrays: Content,
    /// Rows of a file, and of all, if there are to be several.
    shards: Option<(usize, usize)>,
    /// What is to be said besides the arrays.
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Content {
    One(Array),
    ByName(Vec<(String, Array)>),
}

impl Plan {
    pub(crate) fn new(request: Request<'_>) -> Outcome<Self> {
        let Request { arrays, target, format, name, shard_rows, compress, memory, mut metadata } =
            request;
        let Some(format) = format.or_else(|| Format::of_extension(target)) else {
            let all = Format::ALL.map(Format::name).join(", ");
            return Err(wrong(format!(
                "{}: its extension does not tell the format: say --to, one of {all}",
                target.display()
            )));
        };
        if compress && format != Format::Npz {
            return Err(wrong(format!(
                "--compress: {format} files are not compressed, npz can be"
            )));
        }
        let arrays = Content::new(within(arrays, memory)?, format, name)?;
        let shards = match shard_rows {
            None => None,
            Some(rows) => Some((rows.get(), arrays.rows()?)),
        };
        if format != Format::SafeTensors && !metadata.is_empty() {
            let names = metadata.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
            warn(&format!(
                "{}: left out: the metadata ({names}), for which {format} files have no place",
                target.display()
            ));
            metadata.clear();
        }
        Ok(Self { target: target.to_owned(), format, compress, arrays, shards, metadata })
    }

    pub(crate) fn is_sharded(&self) -> bool {
        self.shards.is_some()
    }

    /// How many files.
    pub(crate) fn len(&self) -> usize {
        self.shards.map_or(1, |(rows, all)| all.div_ceil(rows).max(1))
    }

    /// The name of a file.
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

    /// What is to be in a file.
    fn content(&self, at: usize) -> tensorferry::Result<Content> {
        let Some((rows, all)) = self.shards else {
            return self.arrays.map(|array| Ok(array.clone()));
        };
        let start = at * rows;
        self.arrays.map(|array| array.part(start, rows.min(all - start)))
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

    /// Writes a file.
    pub(crate) fn write(&self, at: usize, progress: &Progress, stop: &CancelToken) -> Outcome {
        let content =
            self.content(at)?.map(|array| Ok(array.counted_by(progress).cancelled_by(stop)))?;
        Ok(match content {
            Content::One(array) => save(self.path(at), &array, Some(self.format)),
            Content::ByName(arrays) => save_arrays_with(
                self.path(at),
                &arrays,
                Some(self.format),
                self.compress,
                &self.metadata,
            ),
        }?)
    }

    /// Looks at all values, and says of each array what does not fit and how much.
    pub(crate) fn check_values(
        &self,
        progress: &Progress,
        stop: &CancelToken,
    ) -> tensorferry::Result<Vec<String>> {
        let mut said = Vec::new();
        for (name, array) in self.arrays.named() {
            match array.counted_by(progress).cancelled_by(stop).check_values() {
                Err(error) if misfits(&error).is_some() => {
                    let name = name.filter(|_| self.arrays.all().count() > 1);
                    said.push(
                        name.map_or_else(|| error.to_string(), |name| format!("{name}: {error}")),
                    );
                }
                other => other?,
            }
        }
        Ok(said)
    }

    /// Whether a file can be gone on with: every byte of it follows from the arrays, in their
    /// order.
    pub(crate) fn can_go_on(&self) -> bool {
        self.shards.is_none()
            && matches!(self.format, Format::Npy | Format::Raw | Format::SafeTensors)
    }

    /// Writes the one file, of which so many bytes are on the disk already, and tells how many are.
    pub(crate) fn go_on(
        &self,
        progress: &Progress,
        stop: &CancelToken,
        journal: &mut Journal,
    ) -> Outcome {
        let arrays = self.arrays.named().map(|(name, array)| {
            (name.unwrap_or_default().to_owned(), array.counted_by(progress).cancelled_by(stop))
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

    /// Refuses what would overwrite a source before all of it is read, or leave files that a
    /// pattern takes together and nobody wrote together.
    pub(crate) fn check_shards(&self) -> Outcome {
        let sources: BTreeSet<PathBuf> = self
            .arrays
            .all()
            .flat_map(Array::paths)
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        if let Some(path) =
            self.paths().find(|path| path.canonicalize().is_ok_and(|path| sources.contains(&path)))
        {
            let what = format!(
                "{} is a source, and would be replaced while others are still read",
                path.display()
            );
            return Err(wrong(format!("{what}. Write to another name.")));
        }
        let (stem, extension) =
            (self.target.file_stem().unwrap_or_default(), self.target.extension());
        let directory = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let own = format!("-of-{:05}", self.len());
        for entry in directory.read_dir().map_err(io("read", directory))? {
            let path = entry.map_err(io("read", directory))?.path();
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
                    "{what}: a pattern would take both together. Remove its files first, or write \
                    to another name."
                )));
            }
        }
        Ok(())
    }

    /// The files that a journal says are finished, once each is found to be what it was.
    pub(crate) fn finished(&self, journal: &Journal) -> Outcome<BTreeSet<usize>> {
        let force = journal.may_replace();
        let mut finished = BTreeSet::new();
        for (&at, stamp) in journal.finished() {
            let path = self.path(at);
            if Stamp::of(&path).is_ok_and(|now| now == *stamp) && self.holds(at)? {
                finished.insert(at);
            } else if exists(&path) && !force {
                return Err(there_already(&path, ", and another than the one that was written"));
            }
        }
        // The process may have been killed when a file had its name and was not yet noted: there is
        // one at most.
        let mut others = (0..self.len())
            .filter(|at| !journal.finished().contains_key(at) && exists(&self.path(*at)));
        let ours = (0..self.len()).find(|at| !journal.finished().contains_key(at));
        match others.find(|at| Some(*at) != ours && !force) {
            Some(at) => {
                Err(there_already(&self.path(at), ", and this conversion did not write it"))
            }
            None => Ok(finished),
        }
    }

    /// Whether a file says that it holds what it is to hold.
    pub(crate) fn holds(&self, at: usize) -> Outcome<bool> {
        if !matches!(self.format, Format::Npy | Format::Npz | Format::SafeTensors) {
            return Ok(true); // its length and time say it
        }
        let same = |one: &Array, other: &Array| {
            one.dtype() == other.dtype() && one.shape() == other.shape()
        };
        let opened = open(&[self.path(at)], Some(self.format), Mode::Read);
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

    /// What makes the files what they are, to be compared by whoever goes on with them.
    pub(crate) fn describe(&self, casting: Casting, opened: &str) -> Outcome<Value> {
        let mut paths: Vec<&Path> = self.arrays.all().flat_map(Array::paths).collect();
        paths.sort_unstable();
        paths.dedup();
        let source = |path: &Path| -> Outcome<Value> {
            let whole = std::path::absolute(path).map_err(io("look at", path))?;
            Ok(json!([whole, Stamp::of(path).map_err(io("look at", path))?.describe()]))
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

    /// The arrays of all files together, for `--json`.
    pub(crate) fn arrays_json(&self) -> Value {
        let array = |(name, array): (Option<&str>, &Array)| json!({"name": name, "dtype": array.dtype().name(), "shape": array.shape(), "bytes": array.nbytes()});
        self.arrays.named().map(array).collect()
    }

    /// In words: `npy, int32 (1000, 3)`.
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

/// Whether what follows the name says that a file is one of several: `-00002-of-00010`.
fn is_shard(rest: &str) -> bool {
    let number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    parts.is_some_and(|(at, of)| number(at) && number(of))
}

/// The arrays read in pieces that leave the rest of the memory for the others.
pub(crate) fn within(arrays: Vec<Named>, memory: Option<Size>) -> Outcome<Vec<Named>> {
    let Some(memory) = memory else { return Ok(arrays) };
    let chunk = memory / PART;
    let within = |Named { name, array }: Named| {
        let row = array.nbytes() / array.len().max(1);
        if row > chunk {
            let needed = BinaryBytes(row.saturating_mul(PART) as u64);
            return Err(wrong(format!(
                "--memory-limit: rows of {row} bytes need {needed} of memory"
            )));
        }
        Ok(Named { name, array: array.in_chunks_of(chunk.min(CHUNK)) })
    };
    arrays.into_iter().map(within).collect()
}

impl Content {
    fn new(mut arrays: Vec<Named>, format: Format, name: Option<&str>) -> Outcome<Self> {
        let alone = arrays.len() == 1;
        if let Some(name) = name {
            match arrays.as_mut_slice() {
                [array] => array.name = Some(name.to_owned()),
                _ => {
                    return Err(wrong(format!(
                        "--name {name}: there are {} arrays, which have their own",
                        arrays.len()
                    )));
                }
            }
        }
        let by_name = match format {
            // Records of bytes would say neither shape nor dtype: those are tfrecord_bytes.
            Format::Npz | Format::SafeTensors | Format::TfRecord => true,
            _ => false,
        };
        if by_name {
            let named = |Named { name, array }: Named| {
                Ok((name.unwrap_or_else(|| "arr_0".into()), for_format(array, format)?))
            };
            return arrays.into_iter().map(named).collect::<Outcome<_>>().map(Self::ByName);
        }
        match (arrays.pop(), alone, name) {
            (Some(array), true, None) => Ok(Self::One(array.array)),
            (_, true, Some(name)) => {
                Err(wrong(format!("--name {name}: {format} files have no names")))
            }
            (last, ..) => {
                let names: Vec<String> = arrays
                    .into_iter()
                    .chain(last)
                    .filter_map(|array| array.name)
                    .take(20)
                    .collect();
                Err(wrong(format!(
                    "a {format} file holds one array; choose one with --array: {}",
                    names.join(", ")
                )))
            }
        }
    }

    fn named(&self) -> impl Iterator<Item = (Option<&str>, &Array)> {
        let (one, many) = match self {
            Self::One(array) => (Some((None, array)), &[][..]),
            Self::ByName(arrays) => (None, arrays.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(name, array)| (Some(name.as_str()), array)))
    }

    fn all(&self) -> impl Iterator<Item = &Array> {
        self.named().map(|(_, array)| array)
    }

    fn map(
        &self,
        change: impl Fn(&Array) -> tensorferry::Result<Array>,
    ) -> tensorferry::Result<Self> {
        Ok(match self {
            Self::One(array) => Self::One(change(array)?),
            Self::ByName(arrays) => Self::ByName(
                arrays
                    .iter()
                    .map(|(name, array)| Ok((name.clone(), change(array)?)))
                    .collect::<tensorferry::Result<_>>()?,
            ),
        })
    }

    /// How many rows each array has.
    fn rows(&self) -> Outcome<usize> {
        let mut rows = None;
        for (name, array) in self.named() {
            let name = name.unwrap_or("the array");
            let Some(&len) = array.shape().first() else {
                return Err(wrong(format!(
                    "--shard-rows: {name} has no dimension, and so no rows"
                )));
            };
            match rows {
                Some((other, first)) if first != len => {
                    let what = format!("--shard-rows: {other} has {first} rows, {name} has {len}");
                    return Err(wrong(format!(
                        "{what}: the files of several arrays have the same rows of each"
                    )));
                }
                _ => rows = Some((name, len)),
            }
        }
        rows.map(|(_, rows)| rows).ok_or_else(|| wrong("there are no arrays"))
    }
}

/// The dtype in which a format holds an array, where it is another.
fn for_format(array: Array, format: Format) -> Outcome<Array> {
    // An Example would refuse the same values, and name them by their place in the file that is
    // written.
    if format == Format::TfRecord && array.dtype() == DType::UInt64 {
        return Ok(array.cast(DType::Int64, Casting::Checked)?);
    }
    let wide = matches!(array.dtype(), DType::Float64 | DType::Complex64 | DType::Complex128);
    if format == Format::TfRecord && wide {
        let dtype = array.dtype();
        let what = format!("a tf.train.Example holds float32, int64 and bytes, not {dtype}");
        return Err(wrong(format!(
            "{what}: convert with --dtype float32, or write records of bytes with --to \
            tfrecord_bytes"
        )));
    }
    Ok(array)
}
