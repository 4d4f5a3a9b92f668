//! What a conversion to several files has finished: a file beside them, for as long as it takes.
//!
//! The first line says what is converted to what, the second whether files that there are may be
//! replaced; each further one is a file that has its name. A process that was killed leaves it, and
//! whoever goes on compares the first line, and length and time of modification of the files. It is
//! locked while somebody writes it.

use crate::outcome::{Failure, Outcome, io, wrong};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tensorferry::open_beside;

/// What stands for the whole of a file that is written alone, in the place of a number of a file.
const WHOLE: usize = 1;

/// What a journal begins with: the first name of a conversion's description.
const MAGIC: &str = "{\"tensorferry\":";

/// No journal is longer.
const LONGEST: u64 = 1 << 28;

/// The line that says that files may be replaced.
const FORCE: &str = "true\n";

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    finished: BTreeMap<usize, Stamp>,
    /// Files that there are may be replaced.
    force: bool,
}

/// What tells a file from one that was written later.
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
    /// The journal that an interrupted conversion to the same target left, if there is one to go on
    /// with. Unless it is to be gone on with (`resume`), one that finished files is refused, or
    /// with `force` removed; one that finished none is removed.
    pub(crate) fn open(
        target: &Path,
        plan: &Value,
        resume: bool,
        force: bool,
    ) -> Outcome<Option<Self>> {
        let Some((journal, differs)) = Self::read(target, plan)? else { return Ok(None) };
        if (force && !resume) || (journal.finished.is_empty() && (!resume || differs.is_some())) {
            journal.remove()?;
            return Ok(None);
        }
        let shown = target.display();
        let count = journal.finished.len();
        if !resume {
            let what = format!(
                "a conversion to {shown} was interrupted when it had finished {count} files"
            );
            return Err(wrong(format!("{what}: go on with --resume, or start over with --force")));
        }
        if let Some(differs) = differs {
            let what =
                format!("the conversion to {shown} that was interrupted was another ({differs})");
            return Err(wrong(format!(
                "{what}: it cannot be gone on with. Start over with --force, without --resume."
            )));
        }
        Ok(Some(Self { force: force || journal.force, ..journal }))
    }

    /// What is there, locked, and in what it differs from a plan.
    fn read(target: &Path, plan: &Value) -> Outcome<Option<(Self, Option<String>)>> {
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
            let what = format!(
                "{} has the name of a journal of this command, and is none",
                path.display()
            );
            return Err(wrong(format!("{what}. Move it away, or write to another name.")));
        };
        // A process that was killed may have written half of the last line: what follows it would
        // be lost with it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(io("write", &path))?;
        file.seek(SeekFrom::End(0)).map_err(io("write", &path))?;
        let mut lines = text[..whole].split_inclusive('\n');
        let before: Option<Value> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        let force = lines.next() == Some(FORCE);
        let finished = lines.filter_map(entry).collect();
        Ok(Some((Self { file, path, finished, force }, difference(before.as_ref(), plan))))
    }

    /// The journal of the one file at `target`, which says how far it is written; one of another
    /// conversion to it is forgotten.
    pub(crate) fn of_file(target: &Path, plan: &Value, force: bool) -> Outcome<Self> {
        let target = of_one(target);
        match Self::read(&target, plan)? {
            Some((journal, None)) => return Ok(Self { force: force || journal.force, ..journal }),
            Some((other, _)) => other.remove()?,
            None => {}
        }
        Self::begin(&target, plan, force)
    }

    /// Where [`Journal::of_file`] is.
    pub(crate) fn path_of_file(target: &Path) -> PathBuf {
        path(&of_one(target))
    }

    /// Removes what [`Journal::of_file`] left.
    pub(crate) fn forget_file(target: &Path) -> Outcome {
        match Self::read(&of_one(target), &Value::Null)? {
            Some((journal, _)) => journal.remove(),
            None => Ok(()),
        }
    }

    /// How many bytes of the file are on the disk.
    pub(crate) fn reached(&self) -> u64 {
        self.finished.get(&0).map_or(0, |stamp| stamp.bytes)
    }

    /// Notes how many bytes of the file are on the disk.
    pub(crate) fn note(&mut self, bytes: u64) -> tensorferry::Result<()> {
        self.line(&format!("[0,{bytes},0]\n"))?;
        self.finished.insert(0, Stamp { bytes, modified: 0 });
        Ok(())
    }

    /// Notes that the file is whole, which is just to take its name.
    pub(crate) fn note_whole(&mut self, file: &Metadata) -> tensorferry::Result<()> {
        let stamp = Stamp::of_file(file).map_err(io("look at", &self.path))?;
        self.line(&format!("[{WHOLE},{},{}]\n", stamp.bytes, stamp.modified))?;
        self.finished.insert(WHOLE, stamp);
        Ok(())
    }

    /// Whether the one file is whole and has its name: then nothing was left to do but to remove
    /// the journal.
    pub(crate) fn is_whole(&self, path: &Path) -> bool {
        self.finished
            .get(&WHOLE)
            .is_some_and(|stamp| Stamp::of(path).is_ok_and(|now| now == *stamp))
    }

    /// The journal of a conversion that begins.
    pub(crate) fn begin(target: &Path, plan: &Value, force: bool) -> Outcome<Self> {
        let path = path(target);
        // One that was left has been read and removed: whatever has the name now is another's.
        let file = match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(busy(target)),
            other => other.map_err(io("create", &path))?,
        };
        lock(&file, target)?;
        let mut journal = Self { file, path, finished: BTreeMap::new(), force };
        let rest = if force { FORCE } else { "false\n" };
        journal.line(&format!("{plan}\n{rest}"))?;
        Ok(journal)
    }

    /// The files that are finished, by number.
    pub(crate) fn finished(&self) -> &BTreeMap<usize, Stamp> {
        &self.finished
    }

    /// Whether files that there are may be replaced, by the word of whoever began or of whoever
    /// goes on.
    pub(crate) fn may_replace(&self) -> bool {
        self.force
    }

    /// Notes that a file has its name.
    pub(crate) fn add(&mut self, at: usize, file: &Path) -> Outcome {
        let stamp = Stamp::of(file).map_err(io("look at", file))?;
        self.line(&format!("[{at},{},{}]\n", stamp.bytes, stamp.modified))?;
        self.finished.insert(at, stamp);
        Ok(())
    }

    /// Removes it: all is done, or nothing.
    pub(crate) fn remove(self) -> Outcome {
        Ok(fs::remove_file(&self.path).map_err(io("remove", &self.path))?)
    }

    fn line(&mut self, line: &str) -> tensorferry::Result<()> {
        self.file.write_all(line.as_bytes()).map_err(io("write", &self.path))
    }
}

fn entry(line: &str) -> Option<(usize, Stamp)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let at = usize::try_from(value.get(0)?.as_u64()?).ok()?;
    Some((at, Stamp::read(&json!([value.get(1)?, value.get(2)?]))?))
}

/// The first thing in which two descriptions differ.
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

/// What stands for a file that is written alone, beside those that are one of several.
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
    wrong(format!("another process is just converting to {}", target.display()))
}

/// Whether a file is a journal, of which perhaps no more than the start was written.
fn is_journal(text: &str) -> bool {
    text.starts_with(MAGIC) || MAGIC.starts_with(text)
}
