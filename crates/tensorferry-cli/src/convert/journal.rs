//! The journal of a conversion: a file beside the target that records what is finished.
//!
//! The first line describes the conversion, the second says whether existing files may be replaced.
//! Each further line is a finished file: its number, length and time of modification; or, of a
//! conversion by a cluster, the number alone of a file that a task is about to write. A killed
//! process leaves the journal behind. Resuming compares the first line, and each file with its
//! record. The journal is locked while a process writes it.

use crate::outcome::{Failure, Outcome, io, wrong};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tensorferry::error::IoError;
use tensorferry::open_beside;

/// The shard number of a finished single file.
const WHOLE: usize = 1;

/// The first bytes of every journal: the first name of a description.
const MAGIC: &str = "{\"tensorferry\":";

/// The longest journal that is read.
const LONGEST: u64 = 1 << 28;

/// The line of a journal whose conversion may replace files.
const FORCE: &str = "true\n";

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    finished: BTreeMap<usize, Stamp>,
    /// The files that tasks of a cluster were about to write.
    begun: BTreeSet<usize>,
    /// Existing files may be replaced.
    force: bool,
}

/// Length and time of modification: they tell a file from one written later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        Self::of_file(&fs::metadata(path)?)
    }

    fn of_file(metadata: &Metadata) -> std::io::Result<Self> {
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            bytes: metadata.len(),
            modified: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    pub(crate) fn describe(self) -> Value {
        json!([self.bytes, self.modified])
    }

    fn read(value: &Value) -> Option<Self> {
        Some(Self { bytes: value.get(0)?.as_u64()?, modified: value.get(1)?.as_u64()? })
    }
}

impl Journal {
    /// The journal that an interrupted conversion to the same target left, to be resumed.
    ///
    /// Without `resume`, a journal of finished files is an error, or removed with `force`; one
    /// without finished files is removed.
    pub(crate) fn open(
        target: &Path,
        description: &Value,
        resume: bool,
        force: bool,
    ) -> Outcome<Option<Self>> {
        let Some((journal, differs)) = Self::read(target, description)? else { return Ok(None) };
        if (force && !resume) || (journal.finished.is_empty() && (!resume || differs.is_some())) {
            journal.remove()?;
            return Ok(None);
        }
        let shown = target.display();
        let count = journal.finished.len();
        if !resume {
            let what = format!("a conversion to {shown} was interrupted (finished files: {count})");
            return Err(wrong(format!("{what}. Pass --resume, or start over with --force.")));
        }
        if let Some(differs) = differs {
            let what = format!("the conversion to {shown} cannot be resumed: {differs}");
            return Err(wrong(format!("{what}. Start over with --force, without --resume.")));
        }
        Ok(Some(Self { force: force || journal.force, ..journal }))
    }

    /// An existing journal, locked, and how its description differs from this one.
    fn read(target: &Path, description: &Value) -> Outcome<Option<(Self, Option<String>)>> {
        let path = path(target);
        let mut file = match open_beside(&path, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io("open", &path))?,
        };
        lock(&file, target)?;
        let mut text = Vec::new();
        (&mut file).take(LONGEST).read_to_end(&mut text).map_err(io("read", &path))?;
        let text = String::from_utf8(text).ok().filter(|text| is_journal(text));
        let Some(text) = text else {
            let what = format!("{} is not a journal, but has the name of one", path.display());
            return Err(wrong(format!("{what}. Move it away, or write to another name.")));
        };
        // A killed process may have written half of the last line: it is cut off.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(io("write", &path))?;
        file.seek(SeekFrom::End(0)).map_err(io("write", &path))?;
        let mut lines = text[..whole].split_inclusive('\n');
        let before: Option<Value> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        let force = lines.next() == Some(FORCE);
        let lines: Vec<&str> = lines.collect();
        let finished = lines.iter().filter_map(|line| entry(line)).collect();
        let begun = lines.iter().filter_map(|line| begun(line)).collect();
        Ok(Some((
            Self { file, path, finished, begun, force },
            difference(before.as_ref(), description),
        )))
    }

    /// The journal of a single file, which records how far it is written. A journal of another
    /// conversion to the same target is removed.
    pub(crate) fn of_file(target: &Path, description: &Value, force: bool) -> Outcome<Self> {
        let target = of_one(target);
        match Self::read(&target, description)? {
            Some((journal, None)) => return Ok(Self { force: force || journal.force, ..journal }),
            Some((other, _)) => other.remove()?,
            None => {}
        }
        Self::begin(&target, description, force)
    }

    /// The path of [`Journal::of_file`].
    pub(crate) fn path_of_file(target: &Path) -> PathBuf {
        path(&of_one(target))
    }

    /// Removes the journal of a single file, if there is one.
    pub(crate) fn remove_of_file(target: &Path) -> Outcome {
        match Self::read(&of_one(target), &Value::Null)? {
            Some((journal, _)) => journal.remove(),
            None => Ok(()),
        }
    }

    /// The number of bytes of the single file that are on the disk.
    pub(crate) fn reached(&self) -> u64 {
        self.finished.get(&0).map_or(0, |stamp| stamp.bytes)
    }

    /// Records how many bytes of the single file are on the disk.
    pub(crate) fn note(&mut self, bytes: u64) -> Result<(), IoError> {
        self.line(&format!("[0,{bytes},0]\n"))?;
        self.finished.insert(0, Stamp { bytes, modified: 0 });
        Ok(())
    }

    /// Records that the single file is whole, just before it is renamed.
    pub(crate) fn note_whole(&mut self, file: &Metadata) -> Result<(), IoError> {
        let stamp = Stamp::of_file(file).map_err(io("read the metadata of", &self.path))?;
        self.line(&format!("[{WHOLE},{},{}]\n", stamp.bytes, stamp.modified))?;
        self.finished.insert(WHOLE, stamp);
        Ok(())
    }

    /// Whether the single file is whole and renamed, so that only the journal is left to remove.
    pub(crate) fn is_whole(&self, path: &Path) -> bool {
        self.finished
            .get(&WHOLE)
            .is_some_and(|stamp| Stamp::of(path).is_ok_and(|now| now == *stamp))
    }

    /// A new journal.
    pub(crate) fn begin(target: &Path, description: &Value, force: bool) -> Outcome<Self> {
        let path = path(target);
        // A left journal was removed before: a file of this name is another process's.
        let file = match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(busy(target)),
            other => other.map_err(io("create", &path))?,
        };
        lock(&file, target)?;
        let mut journal =
            Self { file, path, finished: BTreeMap::new(), begun: BTreeSet::new(), force };
        let rest = if force { FORCE } else { "false\n" };
        journal.line(&format!("{description}\n{rest}"))?;
        Ok(journal)
    }

    /// The files that are finished, by number.
    pub(crate) fn finished(&self) -> &BTreeMap<usize, Stamp> {
        &self.finished
    }

    /// Whether existing files may be replaced: `--force` was passed now or when the conversion
    /// began.
    pub(crate) fn may_replace(&self) -> bool {
        self.force
    }

    /// Records that a file is finished.
    pub(crate) fn add(&mut self, at: usize, file: &Path) -> Outcome {
        let stamp = Stamp::of(file).map_err(io("read the metadata of", file))?;
        self.line(&format!("[{at},{},{}]\n", stamp.bytes, stamp.modified))?;
        self.finished.insert(at, stamp);
        Ok(())
    }

    /// Records that a task of a cluster is about to write a file.
    pub(crate) fn begun(&mut self, at: usize) -> Outcome {
        self.line(&format!("[{at}]\n"))?;
        self.begun.insert(at);
        Ok(())
    }

    /// Whether a file that is not finished may have been written all the same, just before the
    /// process that records it was killed.
    pub(crate) fn may_have_written(&self, at: usize) -> bool {
        self.begun.contains(&at)
    }

    /// Removes the journal: all files are finished, or none.
    pub(crate) fn remove(self) -> Outcome {
        Ok(fs::remove_file(&self.path).map_err(io("remove", &self.path))?)
    }

    fn line(&mut self, line: &str) -> Result<(), IoError> {
        self.file.write_all(line.as_bytes()).map_err(io("write", &self.path))
    }
}

fn entry(line: &str) -> Option<(usize, Stamp)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let at = usize::try_from(value.get(0)?.as_u64()?).ok()?;
    Some((at, Stamp::read(&json!([value.get(1)?, value.get(2)?]))?))
}

fn begun(line: &str) -> Option<usize> {
    match serde_json::from_str::<Vec<usize>>(line).ok()?.as_slice() {
        [at] => Some(*at),
        _ => None,
    }
}

/// The first difference between two descriptions.
fn difference(before: Option<&Value>, now: &Value) -> Option<String> {
    let Some(before) = before else { return Some("its journal cannot be read".into()) };
    if before == now {
        return None;
    }
    let named =
        now.as_object().into_iter().flatten().find(|(key, value)| before.get(key) != Some(value));
    Some(match named {
        Some((key, _)) if key == "sources" => {
            "its sources were other files, or have changed".into()
        }
        Some((key, value)) => {
            format!("{key} was {}, is {value}", before.get(key).unwrap_or(&Value::Null))
        }
        None => "another version of tensorferry wrote it".into(),
    })
}

/// The name that the journal of a single file is derived from.
fn of_one(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push("-resume");
    target.with_file_name(name)
}

fn path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".tensorferry-");
    name.push(target.file_name().unwrap_or_default());
    name.push(".journal");
    target.with_file_name(name)
}

fn lock(file: &File, target: &Path) -> Outcome {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(busy(target)),
        // Some file systems have no locks.
        _ => Ok(()),
    }
}

fn busy(target: &Path) -> Failure {
    wrong(format!("another process is converting to {}", target.display()))
}

/// Whether text begins like a journal, perhaps one cut short.
fn is_journal(text: &str) -> bool {
    text.starts_with(MAGIC) || MAGIC.starts_with(text)
}
