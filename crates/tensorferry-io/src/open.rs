//! Opens files of any format, one or several together.

use crate::array::array::Array;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::file_format::{Format, OpenOptions, OpenRequest, Opened, Raw, no_features};
use crate::format::npy;
use crate::storage::local;
use crate::storage::located::not_mappable;
use crate::storage::mode::Mode;
use crate::storage::options::StorageOptions;
use crate::storage::place;
use crate::storage::read_at::ReadAt;
use crate::storage::url::is_remote;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::Tensor;

/// Opens a file, or all files that match a pattern (`part-*.npy`), as one. Only headers are read,
/// and of TFRecord files the length of each record.
///
/// A path can be the URL of an object, or of several by a pattern: `s3://bucket/part-*.npy`, `gs://`,
/// `az://`, `abfs://`, `http://`, `https://`, `file://`. This needs the feature `object-store`.
///
/// A file's first bytes tell its format, or else its extension. Files that match a pattern are in
/// natural order: `part-2` before `part-10`. Files of one array each become one array if their rows
/// have one dtype and shape. Files of arrays by name are shards if all have the same names, and are
/// merged if no two share a name.
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
/// let all = open(directory.path().join("part-*.npy"))?.array()?;
/// assert_eq!(all.read()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if a file cannot be opened; [`Error::InFile`] around errors of a file's contents;
/// [`Error::Argument`] if files do not match each other, no file matches a pattern, or the format
/// is unknown.
pub fn open(path: impl AsRef<Path>) -> Result<Opened> {
    open_with(&[path], &OpenOptions::default())
}

/// As [`open`], with options, for several paths and patterns. The files of different paths keep the
/// given order.
///
/// # Errors
/// As [`open`]; [`Error::Argument`] if a feature is missing or has another dtype or shape, or the
/// format has no features; [`Error::Interrupted`].
pub fn open_with<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Opened> {
    open_sources(&find_sources(paths, options)?, options)
}

/// The files and objects of paths and patterns, in the order of [`open_with`], for
/// [`open_sources`]. Their versions tell whether a later process opens the same.
///
/// # Errors
/// As [`open_with`], for files that cannot be opened.
pub fn find_sources<P: AsRef<Path>>(
    paths: &[P],
    options: &OpenOptions,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    if options.mode == Mode::Map
        && let Some(path) = paths.iter().find(|path| is_remote(path.as_ref()))
    {
        return Err(not_mappable(path.as_ref()));
    }
    place::open_all(paths, &options.storage, &options.cancel)
}

/// As [`open_with`], for any storage: see [`ReadAt`].
///
/// # Errors
/// As [`open_with`]; [`Error::Argument`] in [`Mode::Map`] for storage that cannot be mapped.
pub fn open_sources(sources: &[Arc<dyn ReadAt>], options: &OpenOptions) -> Result<Opened> {
    if sources.is_empty() {
        return Err(no_files());
    }
    let format = match (options.format, &options.raw) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Raw,
        (None, None) => common_format(sources)?,
    };
    // Fields of a structured `.npy` can be chosen too: that format looks at its header.
    let by_name = format.capabilities().arrays_by_name || format == Format::Npy;
    if !options.features.is_empty() && !by_name {
        return Err(no_features(format));
    }
    if options.format.is_some() {
        sources.iter().try_for_each(|source| format.check(&**source))?;
    }
    let mode = resolved(options.mode, sources, options.memory_limit);
    format.file_format().open(&OpenRequest { sources, mode, options })
}

fn no_files() -> Error {
    Error::argument("open", "no files were given")
}

/// Opens a `.npy` file as a tensor over a read-only memory map. Pages are read on access.
///
/// Supports every dtype of tensors, format versions 1.0 to 3.0, row-major and column-major order.
/// Big-endian files give tensors in swapped byte order. Bytes after the array are ignored, as
/// `np.load` does: several arrays may be saved one after another.
///
/// The file must not be truncated or overwritten in place while the tensor lives: see the
/// limitations of [`npy`]. NumPy and [`save_npy`](npy::save_npy) pad the header so that the
/// elements start at a multiple of 64 bytes; files by others may not.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, read or mapped, or is not a regular file;
/// [`Error::InFile`] around what [`tensorferry_core::npy_header::parse`] says of the header, and
/// around [`tensorferry_core::Error::WrongLength`] if the file is shorter than the header promises.
pub fn open_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let file = local::open(path.as_ref())?;
    Format::Npy.check(&*file)?;
    npy::locate(&file)?.map()
}

/// Opens a raw file, or several whose rows form one array. Reads no elements.
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
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// As [`open`].
pub fn open_raw<P: AsRef<Path>>(paths: &[P], raw: &Raw, mode: Mode) -> Result<Array> {
    let (format, raw) = (Some(Format::Raw), Some(raw.clone()));
    open_with(paths, &OpenOptions { format, raw, mode, ..OpenOptions::default() })?.array()
}

fn resolved(mode: Mode, files: &[Arc<dyn ReadAt>], limit: Option<usize>) -> Mode {
    if mode == Mode::Auto && files.iter().any(|file| file.as_mmap().is_none()) {
        return Mode::Direct;
    }
    mode.resolved(files.iter().fold(0, |sum, file| sum.saturating_add(file.len())), limit)
}

/// `path` itself, or if it does not exist, the files that match it as a pattern, in the order of
/// [`open`].
///
/// # Errors
/// [`Error::Io`] if no file matches, or a folder cannot be read.
pub fn matching_files(path: &Path) -> Result<Vec<PathBuf>> {
    matching_files_with(path, &StorageOptions::default())
}

/// As [`matching_files`], with options for URLs.
///
/// # Errors
/// As [`matching_files`]; [`Error::Argument`] for wrong options.
pub fn matching_files_with(path: &Path, storage: &StorageOptions) -> Result<Vec<PathBuf>> {
    place::matching(path, storage, &CancelToken::default())
}

/// The one format of all files.
fn common_format(files: &[Arc<dyn ReadAt>]) -> Result<Format> {
    let mut first: Option<(Format, &dyn ReadAt)> = None;
    for file in files {
        let format = Format::of(&**file)?;
        match first {
            Some((other, named)) if other != format => {
                let (a, b) = (named.name().display(), file.name().display());
                let what = format!(
                    "{a} is {other}, {b} is {format}: files of one array have one format. Open \
                    them one by one."
                );
                return Err(Error::argument("open", what));
            }
            Some(_) => {}
            None => first = Some((format, &**file)),
        }
    }
    first.map(|(format, _)| format).ok_or_else(no_files)
}
