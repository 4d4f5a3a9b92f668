//! `FileFormat`: the interface of file formats, and [`Format`], its name.

use crate::array::array::Array;
use crate::array::arrays::Arrays;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::storage::mode::Mode;
use crate::storage::options::StorageOptions;
use crate::storage::read_at::ReadAt;
use crate::write::destination::Destination;
use std::collections::BTreeMap;
use std::sync::Arc;
use tensorferry_core::{ByteOrder, DType, Shape, Tensor, TensorSpec};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.npy`: NumPy's format of one array.
    Npy,
    /// `.npz`: NumPy's format of named arrays.
    Npz,
    /// `.safetensors`: named arrays.
    SafeTensors,
    /// `.tfrecord`: TensorFlow's records. If they are `tf.train.Example`s, each feature is an
    /// array; otherwise the records' bytes are the rows of one array.
    TfRecord,
    /// The same file format, with records read as bytes even if they look like Examples.
    TfRecordBytes,
    /// Elements without a header: see [`crate::open::open_raw`].
    Raw,
}

/// Features of a file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// One array without a name.
    pub one_array: bool,
    /// Named arrays.
    pub arrays_by_name: bool,
    /// Text metadata beside the arrays, by key.
    pub metadata: bool,
    /// Compressed arrays.
    pub compression: bool,
    /// Interrupted writes can be resumed, because the arrays determine every byte.
    pub resumable: bool,
    /// A file contains the shapes and dtypes of its arrays.
    pub self_describing: bool,
    /// Named arrays are columns of the same records, and cheaper to read together.
    pub columns: bool,
    /// A file is a zip archive.
    pub archive: bool,
}

/// The contents of a raw file.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Dtype of the elements.
    pub dtype: DType,
    /// Byte order of the elements.
    pub order: ByteOrder,
    /// Shape, row-major. If the first length is `None`, it follows from the file's length.
    pub shape: Shape,
    /// Offset of the first element in bytes.
    pub offset: u64,
}

impl Raw {
    /// A one-dimensional array in native byte order that fills the whole file.
    #[must_use]
    pub fn new(dtype: DType) -> Self {
        Self { dtype, order: ByteOrder::Native, shape: Shape::new([None]), offset: 0 }
    }
}

/// The contents of opened files.
#[derive(Clone, Debug)]
pub enum Opened {
    /// One array.
    Array(Array),
    /// Named arrays.
    Arrays(Arrays),
}

impl Opened {
    /// The array.
    ///
    /// # Errors
    /// [`Error::Argument`] if the arrays are named.
    pub fn array(self) -> Result<Array> {
        match self {
            Self::Array(array) => Ok(array),
            Self::Arrays(arrays) => {
                let names: Vec<&str> = arrays.names().take(20).collect();
                let what = format!("the file holds arrays by name: {names:?}. Choose one.");
                Err(Error::argument("open", what))
            }
        }
    }

    /// The named arrays.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is one array, without a name.
    pub fn arrays(self) -> Result<Arrays> {
        match self {
            Self::Arrays(arrays) => Ok(arrays),
            Self::Array(_) => {
                Err(Error::argument("open", "the file holds one array, without a name"))
            }
        }
    }
}

/// The rows that a named array has to have.
///
/// ```
/// use tensorferry_core::{DType, Shape, TensorSpec};
/// use tensorferry_io::FeatureSpec;
///
/// let label = FeatureSpec::from(TensorSpec::new(DType::Int64, Shape::fixed(&[])));
/// assert!(label.default.is_none() && !label.exact);
/// ```
#[derive(Clone, Debug)]
pub struct FeatureSpec {
    /// dtype and shape of a row. A byte string of `tf.train.Example`s can hold elements of any
    /// dtype, little-endian. If the first length is unknown, rows of Examples differ in length: see
    /// [`Arrays::ragged`].
    pub spec: TensorSpec,
    /// The row of an Example without the feature, which is otherwise an error. Other formats do not
    /// need it.
    pub default: Option<Tensor>,
    /// Whether a feature of an Example must be what TensorFlow parses as this dtype: a list of
    /// int64 or float32, or a byte string of uint8.
    pub exact: bool,
    /// Whether the items of a row are the entries of a feature list of a
    /// `tf.train.SequenceExample`. With a default, an Example may have them in a feature.
    pub sequence: bool,
    /// What to read of a feature of byte strings; `None` for the elements that they hold.
    pub strings: Option<Strings>,
    /// Name of the feature in the records; `None` if it is that of the array.
    pub key: Option<String>,
}

impl From<TensorSpec> for FeatureSpec {
    fn from(spec: TensorSpec) -> Self {
        Self { spec, default: None, exact: false, sequence: false, strings: None, key: None }
    }
}

/// What the row of a feature of byte strings is. A record with another number of them than the
/// given one is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strings {
    /// The bytes of all strings, one after the other: uint8 of unknown length.
    Joined(Option<usize>),
    /// Where each string begins in these bytes, and their number: int64, one more than there are
    /// strings.
    Splits(Option<usize>),
}

/// Options for opening files.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Format of the files. `None` detects it.
    pub format: Option<Format>,
    /// Contents of raw files. If given without a format, the files are raw.
    pub raw: Option<Raw>,
    /// How the files are read.
    pub mode: Mode,
    /// Named arrays to open, in this order. Each may have a specification that its rows must
    /// match. Empty opens all arrays as they are.
    pub features: Vec<(String, Option<FeatureSpec>)>,
    /// Bytes of memory for the opened arrays. [`Mode::Auto`] does not memory-map files larger than
    /// half of it. Compressed members of an `.npz` that do not fit in half of it are decompressed
    /// at every read instead of once. `None` uses the process's limit.
    pub memory_limit: Option<usize>,
    /// How the stores of URLs are reached.
    pub storage: StorageOptions,
    /// Cancels the opening. Collecting the lengths of many records takes time.
    pub cancel: CancelToken,
}

impl From<Mode> for OpenOptions {
    /// The defaults, in this mode.
    fn from(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// A request for [`FileFormat::open`].
pub(crate) struct OpenRequest<'a> {
    /// At least one.
    pub(crate) sources: &'a [Arc<dyn ReadAt>],
    /// Not [`Mode::Auto`].
    pub(crate) mode: Mode,
    pub(crate) options: &'a OpenOptions,
}

/// The result of [`FileFormat::verify`] for an intact file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    /// Number of arrays or records.
    pub(crate) parts: u64,
    /// Checksum of the format.
    pub(crate) checksum: Option<&'static str>,
    /// Number of bytes after the array.
    pub(crate) trailing: u64,
}

/// A header and the arrays whose elements follow it.
pub(crate) type HeaderAndArrays<'a> = (Vec<u8>, Vec<&'a Array>);

/// A file format: reads the arrays of a file and writes files of arrays.
pub(crate) trait FileFormat: Sync {
    fn format(&self) -> Format;

    /// Name of the format: `"npy"`.
    fn name(&self) -> &'static str;

    /// Extensions in lower case, without the dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Whether a file of this format starts with these bytes.
    fn begins(&self, start: &[u8]) -> bool;

    fn capabilities(&self) -> Capabilities;

    /// Name of what [`FileFormat::verify`] counts.
    fn part_name(&self) -> &'static str {
        "array"
    }

    /// Opens several sources together. Reads no elements.
    ///
    /// # Errors
    /// Errors of a source's contents; [`Error::Argument`] for sources that do not match each other.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened>;

    /// Writes a file of one array.
    ///
    /// # Errors
    /// [`Error::Io`]; errors of reading the array; [`Error::Argument`].
    fn save_array(&self, _to: &Destination<'_>, _array: &Array) -> Result<()> {
        Err(Error::argument(
            "save",
            format!(
                "{} files hold arrays by name. Give the array a name: save_arrays.",
                self.name()
            ),
        ))
    }

    /// Writes a file of named arrays. The names are distinct. Formats without metadata or
    /// compression are not asked for them.
    ///
    /// # Errors
    /// As [`FileFormat::save_array`].
    fn save_arrays(
        &self,
        _to: &Destination<'_>,
        _arrays: &[(&str, &Array)],
        _compress: bool,
        _metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        Err(no_names(self.name()))
    }

    /// The header and the elements in row-major order of a file with these arrays. `None` if a file
    /// consists of more.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::UnsupportedDType`]; [`Error::Argument`].
    fn header_and_arrays<'a>(
        &self,
        _arrays: &'a [(String, Array)],
        _metadata: &BTreeMap<String, String>,
    ) -> Result<Option<HeaderAndArrays<'a>>> {
        Ok(None)
    }

    /// Reads a whole file and checks lengths and checksums.
    ///
    /// # Errors
    /// Errors of the file's contents; [`Error::Interrupted`].
    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked>;
}

/// The error for named arrays in a format of one array.
pub(crate) fn no_names(format: &str) -> Error {
    let what = format!(
        "{format} files hold one array, without a name. Save each to a file of its own, or to .npz."
    );
    Error::argument("save", what)
}

/// The error for chosen features of files of one array.
pub(crate) fn no_features(format: Format) -> Error {
    let what = format!("{format} files hold no features: they hold one array, without a name.");
    Error::argument("open", what).with_hint(Hint::NoFeatures)
}
