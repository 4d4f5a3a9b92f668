//! Atomic writes of arrays in all formats.

use crate::array::array::Array;
use crate::array::ragged::RaggedArray;
use crate::error::{Error, Hint, Result};
use crate::format::file_format::Format;
use crate::format::foreign::unwritable;
use crate::format::tfrecord;
use crate::write::destination::{Destination, WriteOptions};
use std::collections::BTreeMap;
use std::path::Path;

/// Options for saving arrays.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// Format of the file. By default, its extension tells it.
    pub format: Option<Format>,
    /// Whether the members of an `.npz` are deflated.
    pub compress: bool,
    /// The metadata of a `.safetensors` file.
    pub metadata: BTreeMap<String, String>,
    /// How the file or object is written.
    pub write: WriteOptions,
}

impl SaveOptions {
    fn of(format: Option<Format>) -> Self {
        Self { format, ..Self::default() }
    }

    fn to<'a>(&'a self, path: &'a Path, bytes: usize) -> Destination<'a> {
        Destination { path, options: &self.write, bytes: bytes as u64 }
    }
}

/// Writes an array to a file: `.npy`, raw, or TFRecord, where each row is the bytes of a record.
/// Without a `format`, the extension tells it.
///
/// The bytes go to a temporary file in the same directory, which is synced and renamed: a reader
/// sees the old file or the new one, and on failure the old one stays. An opened array is read and
/// written a few MiB at a time.
///
/// A path can be the URL of an object: `s3://bucket/squares.npy`, `gs://`, `az://`, `abfs://`. It
/// appears whole or not at all. An object that exists is an error: see [`save_with`].
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, Mode, open, save};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// save(&path, &Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?, None)?;
/// assert_eq!(open(path)?.array()?.shape(), [4]);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; [`Error::Argument`] if the format is unknown or only holds named arrays; errors
/// of reading the array; [`tensorferry_core::Error::UnsupportedDType`].
pub fn save(path: impl AsRef<Path>, array: &Array, format: Option<Format>) -> Result<()> {
    save_with(path, array, &SaveOptions::of(format))
}

/// As [`save`], with options.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, SaveOptions, WriteOptions, save_with};
///
/// let path = tempfile::tempdir().unwrap().keep().join("squares.npy");
/// let squares = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?;
/// let write = WriteOptions { replace: Some(false), ..WriteOptions::default() };
/// let options = SaveOptions { write, ..SaveOptions::default() };
/// save_with(&path, &squares, &options)?;
/// let error = save_with(&path, &squares, &options).unwrap_err();
/// assert_eq!(error.system().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// As [`save`]; [`Error::Argument`] for options that are for arrays by name, or not those of the
/// store; [`Error::Interrupted`].
pub fn save_with(path: impl AsRef<Path>, array: &Array, options: &SaveOptions) -> Result<()> {
    let path = path.as_ref();
    let format = chosen(path, options.format)?;
    if options.compress || !options.metadata.is_empty() {
        let what = "one array is written without compression and metadata: give it a name";
        return Err(Error::argument("save", what));
    }
    format.file_format().save_array(&options.to(path, array.nbytes()), array)
}

/// Writes arrays by name to a file: `.npz`, `.safetensors`, or TFRecord, where each row of all
/// arrays is a `tf.train.Example`. Without a `format`, the extension tells it. `compress` deflates
/// the members of an `.npz`.
///
/// The file is written atomically, as by [`save`].
///
/// # Errors
/// As [`save`]; [`Error::Argument`] for duplicate or unsupported names, for arrays of different
/// lengths in TFRecord, and for `compress` with a format other than `.npz`.
pub fn save_arrays<N: AsRef<str>>(
    path: impl AsRef<Path>,
    arrays: &[(N, Array)],
    format: Option<Format>,
    compress: bool,
) -> Result<()> {
    save_arrays_with(path, arrays, &SaveOptions { compress, ..SaveOptions::of(format) })
}

/// As [`save_arrays`], with options.
///
/// ```
/// use std::collections::BTreeMap;
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, SaveOptions, open, save_arrays_with};
///
/// let path = tempfile::tempdir().unwrap().keep().join("model.safetensors");
/// let weights = Array::try_from(Tensor::from_vec(vec![0.5_f32, 2.0], &[2])?)?;
/// let metadata = BTreeMap::from([("step".to_owned(), "70000".to_owned())]);
/// let options = SaveOptions { metadata: metadata.clone(), ..SaveOptions::default() };
/// save_arrays_with(&path, &[("w", weights)], &options)?;
/// assert_eq!(open(path)?.arrays()?.metadata(), &metadata);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// As [`save_arrays`]; [`Error::Argument`] for metadata in another format, and for options that
/// are not those of the store; [`Error::Interrupted`].
pub fn save_arrays_with<N: AsRef<str>>(
    path: impl AsRef<Path>,
    arrays: &[(N, Array)],
    options: &SaveOptions,
) -> Result<()> {
    let path = path.as_ref();
    let format = chosen(path, options.format)?;
    let arrays: Vec<(&str, &Array)> =
        arrays.iter().map(|(name, array)| (name.as_ref(), array)).collect();
    let wrong = |what: String| Err(Error::argument("save", what));
    let mut names: Vec<&str> = arrays.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!("two arrays have the name {:?}", twice[0]));
    }
    let can = format.capabilities();
    let SaveOptions { compress, metadata, .. } = options;
    if *compress && !can.compression {
        return wrong(format!("{format} files are not compressed; npz can be"));
    }
    if !metadata.is_empty() && !can.metadata {
        return wrong(format!("{format} files have no place for metadata; safetensors do"));
    }
    let bytes = arrays.iter().fold(0_usize, |sum, (_, array)| sum.saturating_add(array.nbytes()));
    format.file_format().save_arrays(&options.to(path, bytes), &arrays, *compress, metadata)
}

/// Writes arrays by name, some with rows of different lengths, to a TFRecord file: each row of all
/// is a `tf.train.Example`. Rows of uint8 of different lengths are byte strings.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, RaggedArray, open, save_examples};
///
/// let path = tempfile::tempdir().unwrap().keep().join("words.tfrecord");
/// let bytes = Array::try_from(Tensor::from_vec(b"onetwo".to_vec(), &[6])?)?;
/// let splits = Tensor::from_vec(vec![0_i64, 3, 6], &[3])?;
/// let words = RaggedArray::from_row_splits(bytes, splits)?;
/// let none: [(&str, Array); 0] = [];
/// save_examples(&path, &none, &[("word", words)])?;
/// assert_eq!(open(path)?.arrays()?.get("word")?.shape(), [2, 3]);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// As [`save_arrays`].
pub fn save_examples<N: AsRef<str>>(
    path: impl AsRef<Path>,
    arrays: &[(N, Array)],
    ragged: &[(N, RaggedArray)],
) -> Result<()> {
    save_examples_with(path, arrays, ragged, &WriteOptions::default())
}

/// As [`save_examples`], with options.
///
/// # Errors
/// As [`save_examples`]; [`Error::Argument`] for options that are not those of the store;
/// [`Error::Interrupted`].
pub fn save_examples_with<N: AsRef<str>>(
    path: impl AsRef<Path>,
    arrays: &[(N, Array)],
    ragged: &[(N, RaggedArray)],
    options: &WriteOptions,
) -> Result<()> {
    let path = path.as_ref();
    chosen(path, Some(Format::TfRecord))?;
    let arrays: Vec<(&str, &Array)> =
        arrays.iter().map(|(name, array)| (name.as_ref(), array)).collect();
    let ragged: Vec<(&str, &RaggedArray)> =
        ragged.iter().map(|(name, rows)| (name.as_ref(), rows)).collect();
    let bytes = arrays.iter().map(|(_, array)| array.nbytes());
    let bytes = bytes.chain(ragged.iter().map(|(_, rows)| rows.values().nbytes()));
    let bytes = bytes.fold(0_usize, usize::saturating_add) as u64;
    tfrecord::save_examples(&Destination { path, options, bytes }, &arrays, &ragged)
}

fn chosen(path: &Path, format: Option<Format>) -> Result<Format> {
    if let Some(what) = unwritable(path, format.is_some_and(|format| format.capabilities().archive))
    {
        return Err(Error::argument("save", format!("{}: {what}", path.display())));
    }
    format.or_else(|| Format::of_extension(path)).ok_or_else(|| {
        let what = format!("{}: its extension does not tell the format.", path.display());
        Error::argument("save", what).with_hint(Hint::Format)
    })
}
