//! Opening files of any format, one or many as one.

use super::{Array, DataFile, Mode, natural, shards};
use crate::format::{self, Format, io};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Opened {
    /// One array.
    Array(Array),
}

impl Opened {
    /// The array.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are several, each with a name.
    pub fn array(self) -> Result<Array> {
        match self {
            Self::Array(array) => Ok(array),
        }
    }
}

/// Opens a file, or several whose rows have one dtype and shape as one array: nothing but headers is read.
///
/// A path that is no file may be a pattern (`part-*.npy`), which stands for the files that match it in the order in which a person
/// counts: `part-2` before `part-10`. Files are otherwise taken in the order given.
///
/// Without a `format`, the first bytes of a file tell what it is, and its extension where they do not.
///
/// # Errors
/// [`Error::Io`] if a file cannot be opened; [`Error::InFile`] around what is wrong with one; [`Error::Argument`] if files do not go
/// together, no file matches a pattern, or a format has to be said.
pub fn open<P: AsRef<Path>>(paths: &[P], format: Option<Format>, mode: Mode) -> Result<Opened> {
    let files = files(paths)?;
    let format = match format {
        Some(format) => format,
        None => common_format(&files)?,
    };
    let mode = mode.resolved(files.iter().fold(0, |sum, file| sum.saturating_add(file.len())));
    match format {
        Format::Npy => {
            let arrays = files.iter().map(format::locate_npy).collect::<Result<_>>()?;
            Ok(Opened::Array(shards::array(arrays, mode)?))
        }
    }
}

/// The files that paths and patterns stand for.
fn files<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Arc<DataFile>>> {
    let mut all = Vec::new();
    for path in paths {
        for path in expanded(path.as_ref())? {
            all.push(DataFile::open(&path)?);
        }
    }
    if all.is_empty() {
        return Err(Error::Argument { stage: "open", what: "no files were given".into() });
    }
    Ok(all)
}

/// The path itself, or if there is nothing of that name, the files that it matches as a pattern.
fn expanded(path: &Path) -> Result<Vec<PathBuf>> {
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
    let Some(pattern) = pattern.filter(|_| std::fs::symlink_metadata(path).is_err()) else { return Ok(vec![path.to_owned()]) };
    let wrong = |what: String| Error::Argument { stage: "open", what };
    let matches = glob::glob(pattern).map_err(|error| wrong(format!("{pattern}: {error}")))?;
    let mut paths = matches.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| {
        let path = error.path().to_owned();
        io("read", &path)(error.into())
    })?;
    if paths.is_empty() {
        return Err(wrong(format!("no file matches {pattern}")));
    }
    paths.sort_by(|a, b| natural::compare(a, b));
    Ok(paths)
}

/// The one format of all files.
fn common_format(files: &[Arc<DataFile>]) -> Result<Format> {
    let mut first: Option<(Format, &DataFile)> = None;
    for file in files {
        let format = Format::of(file)?;
        match first {
            Some((other, named)) if other != format => {
                let (a, b) = (named.path().display(), file.path().display());
                let what = format!("{a} is {other}, {b} is {format}: files of one array have one format. Open them one by one.");
                return Err(Error::Argument { stage: "open", what });
            }
            Some(_) => {}
            None => first = Some((format, file)),
        }
    }
    first.map(|(format, _)| format).ok_or_else(|| Error::Argument { stage: "open", what: "no files were given".into() })
}
