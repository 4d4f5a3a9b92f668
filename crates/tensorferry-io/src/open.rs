//! Opening files of any format, one or many as one.

use crate::array::array::Array;
use crate::array::arrays;
use crate::array::arrays::Arrays;
use crate::array::arrays::{Member, Notes, by_name};
use crate::array::records;
use crate::array::records::RecordArrays;
use crate::array::shards;
use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::format::npz;
use crate::format::raw::Raw;
use crate::format::sniff::Format;
use crate::format::{npy, raw, safetensors};
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use crate::storage::local::pattern;
use crate::storage::mode::Mode;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::TensorSpec;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Opened {
    /// One array.
    Array(Array),
    /// Arrays by name.
    Arrays(Arrays),
}

impl Opened {
    /// The one array.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are arrays by name.
    pub fn array(self) -> Result<Array> {
        match self {
            Self::Array(array) => Ok(array),
            Self::Arrays(arrays) => {
                let names: Vec<&str> = arrays.names().take(20).collect();
                let what = format!("the file holds arrays by name: {names:?}. Choose one.");
                Err(Error::Argument { stage: "open", what })
            }
        }
    }

    /// The arrays by name.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is one array, without a name.
    pub fn arrays(self) -> Result<Arrays> {
        match self {
            Self::Arrays(arrays) => Ok(arrays),
            Self::Array(_) => Err(Error::Argument {
                stage: "open",
                what: "the file holds one array, without a name".into(),
            }),
        }
    }
}

/// Opens a file, or several as one: nothing but headers is read (and, of TFRecord files, the length
/// of each record).
///
/// Files of one array each are one array together, if their rows are of one dtype and shape. Files
/// of arrays by name are shards of each if all have the same names, and one whole if no two share
/// one.
///
/// A path that is no file may be a pattern (`part-*.npy`), which stands for the files that match it
/// in the order in which a person counts: `part-2` before `part-10`. Files are otherwise taken in
/// the order given.
///
/// Without a `format`, the first bytes of a file tell what it is, and its extension where they do
/// not.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Mode, open, save_npy};
///
/// let directory = tempfile::tempdir().unwrap();
/// for (name, values) in [("part-2.npy", vec![1_i32]), ("part-10.npy", vec![2, 3])] {
///     let len = values.len();
///     save_npy(directory.path().join(name), &Tensor::from_vec(values, &[len])?.as_view())?;
/// }
/// let all = open(&[directory.path().join("part-*.npy")], None, Mode::Auto)?.array()?;
/// assert_eq!(all.read()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if a file cannot be opened; [`Error::InFile`] around what is wrong with one;
/// [`Error::Argument`] if files do not go together, no file matches a pattern, or a format has to
/// be said.
pub fn open<P: AsRef<Path>>(paths: &[P], format: Option<Format>, mode: Mode) -> Result<Opened> {
    open_with(paths, &OpenOptions { format, mode, ..OpenOptions::default() })
}

/// How files are opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The format; `None` for what the files themselves say.
    pub format: Option<Format>,
    /// How they are read.
    pub mode: Mode,
    /// Of arrays by name, those that are wanted: their rows have to be of that dtype and shape, if
    /// one is said. Of the features of `tf.train.Example`s a byte string can be elements of any
    /// dtype, little-endian. None for all, as they are.
    pub features: Vec<(String, Option<TensorSpec>)>,
    /// Bytes of memory that there are for what is opened: what does not fit in half of them,
    /// [`Mode::Auto`] does not map, and a compressed member of an `.npz` is decompressed whenever
    /// rows are read instead of once. `None` for what the process may use.
    pub memory_limit: Option<usize>,
    /// What another thread may stop: collecting the lengths of many records takes a while.
    pub stop: Stop,
}

/// As [`open`], with all there is to choose.
///
/// # Errors
/// As [`open`]; [`Error::Argument`] if features are not as they are to be, or the format has none;
/// [`Error::Stopped`].
pub fn open_with<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Opened> {
    let files = files(paths)?;
    let format = match options.format {
        Some(format) => format,
        None => common_format(&files)?,
    };
    let limit = options.memory_limit;
    let mode = resolved(options.mode, &files, limit);
    if !options.features.is_empty()
        && matches!(format, Format::Npy | Format::Raw | Format::TfRecordBytes)
    {
        let what = format!(
            "{format} files hold no features: they hold one array, without a name, of which \
            features= chooses nothing"
        );
        return Err(Error::Argument { stage: "open", what });
    }
    if options.format.is_some() {
        files.iter().try_for_each(|file| format.check(file))?;
    }
    let named = |members, notes| {
        // Records have chosen already: they know what a byte string is to be.
        let asked = if format == Format::TfRecord { &[][..] } else { &options.features };
        let members = arrays::chosen(members, asked)?;
        // Who names what is wanted knows that the rest is left out.
        let notes = if options.features.is_empty() {
            notes
        } else {
            Notes { left_out: Vec::new(), ..notes }
        };
        notes.left_out.iter().for_each(|(name, why)| {
            log::warn!("{}: left out: {name:?}: {why}", files[0].path().display())
        });
        Ok(Opened::Arrays(Arrays::new(members, notes, mode, limit, &files)))
    };
    let mut notes = Notes::default();
    match format {
        Format::Npy => {
            let located = files.iter().map(npy::locate).collect::<Result<Vec<_>>>()?;
            located.iter().for_each(say_trailing);
            Ok(Opened::Array(shards::array(located, mode)?))
        }
        Format::Npz => {
            let members = by_name(&files, |file| {
                let archive = npz::members(file, options.format.is_some())?;
                notes.left_out.extend(archive.left_out);
                Ok(archive
                    .members
                    .into_iter()
                    .map(|member| (member.name.clone(), member))
                    .collect())
            })?;
            named(
                members.into_iter().map(|(name, parts)| (name, Member::Zipped(parts))).collect(),
                notes,
            )
        }
        Format::SafeTensors => {
            let mut contradicted = BTreeSet::new();
            let members = by_name(&files, |file| {
                let contents = safetensors::locate(file)?;
                for (key, value) in contents.metadata {
                    if notes.metadata.get(&key).is_some_and(|other| *other != value) {
                        contradicted.insert(key);
                    } else {
                        notes.metadata.insert(key, value);
                    }
                }
                Ok(contents.arrays)
            })?;
            for key in contradicted {
                notes.metadata.remove(&key);
                notes.left_out.push((
                    format!("__metadata__: {key}"),
                    "said in two ways by several files".into(),
                ));
            }
            named(
                members.into_iter().map(|(name, parts)| (name, Member::Located(parts))).collect(),
                notes,
            )
        }
        Format::TfRecord | Format::TfRecordBytes => {
            match records::open(
                &files,
                format == Format::TfRecordBytes,
                &options.features,
                mode,
                &options.stop,
            )? {
                RecordArrays::Bytes(array) => Ok(Opened::Array(array)),
                RecordArrays::Examples { arrays, left_out } => {
                    notes.left_out = left_out;
                    named(
                        arrays
                            .into_iter()
                            .map(|(name, array)| (name, Member::Open(array)))
                            .collect(),
                        notes,
                    )
                }
            }
        }
        Format::Raw => {
            let what = format!(
                "{}: a raw file does not say what it holds. Use open_raw, with its dtype.",
                files[0].path().display()
            );
            Err(Error::Argument { stage: "open", what })
        }
    }
}

/// Several arrays saved one after another in a file look like one: the others are said to be there.
fn say_trailing(array: &Located) {
    let end = array.offset.saturating_add(array.layout.nbytes() as u64);
    let left = array.file.len().saturating_sub(end);
    if left > 0 {
        log::warn!(
            "{}: left out: {left} bytes after the array, which belong to nothing",
            array.file.path().display()
        );
    }
}

/// Opens a raw file, or several whose rows are one array: nothing is read.
///
/// ```
/// use tensorferry_core::DType;
/// use tensorferry_io::{Mode, Raw, open_raw};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tokens.bin");
/// std::fs::write(&path, [1, 0, 2, 0, 3, 0]).unwrap();
/// let tokens = open_raw(&[path], &Raw::new(DType::UInt16), Mode::Auto)?;
/// assert_eq!(tokens.shape(), [3]);
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// As [`open`].
pub fn open_raw<P: AsRef<Path>>(paths: &[P], raw: &Raw, mode: Mode) -> Result<Array> {
    let files = files(paths)?;
    files.iter().try_for_each(|file| Format::Raw.check(file))?;
    let mode = resolved(mode, &files, None);
    shards::array(files.iter().map(|file| raw::locate(file, raw)).collect::<Result<_>>()?, mode)
}

fn resolved(mode: Mode, files: &[Arc<DataFile>], limit: Option<usize>) -> Mode {
    mode.resolved(files.iter().fold(0, |sum, file| sum.saturating_add(file.len())), limit)
}

/// The files that paths and patterns stand for.
fn files<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Arc<DataFile>>> {
    let mut all = Vec::new();
    for path in paths {
        for path in matching_files(path.as_ref())? {
            all.push(DataFile::open(&path)?);
        }
    }
    if all.is_empty() {
        return Err(Error::Argument { stage: "open", what: "no files were given".into() });
    }
    Ok(all)
}

/// The path itself, or if there is nothing of that name, the files that it matches as a pattern, in
/// the order in which [`open`] takes them.
///
/// # Errors
/// [`Error::Io`] if no file matches, or a folder cannot be read.
pub fn matching_files(path: &Path) -> Result<Vec<PathBuf>> {
    if std::fs::symlink_metadata(path).is_ok() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(pattern::expand(path)?.unwrap_or_else(|| vec![path.to_owned()]))
}

/// The one format of all files.
fn common_format(files: &[Arc<DataFile>]) -> Result<Format> {
    let mut first: Option<(Format, &DataFile)> = None;
    for file in files {
        let format = Format::of(file)?;
        match first {
            Some((other, named)) if other != format => {
                let (a, b) = (named.path().display(), file.path().display());
                let what = format!(
                    "{a} is {other}, {b} is {format}: files of one array have one format. Open \
                    them one by one."
                );
                return Err(Error::Argument { stage: "open", what });
            }
            Some(_) => {}
            None => first = Some((format, file)),
        }
    }
    first
        .map(|(format, _)| format)
        .ok_or_else(|| Error::Argument { stage: "open", what: "no files were given".into() })
}
