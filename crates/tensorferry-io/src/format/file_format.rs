//! `FileFormat`: what every file format offers, and [`Format`], its name.

use crate::array::array::Array;
use crate::array::arrays::Arrays;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::{ByteOrder, DType, Shape, TensorSpec};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.npy`: NumPy's format of one array.
    Npy,
    /// `.npz`: NumPy's format of arrays by name.
    Npz,
    /// `.safetensors`: arrays by name.
    SafeTensors,
    /// `.tfrecord`: TensorFlow's records. If they are `tf.train.Example`s, each feature is an
    /// array; otherwise the records' bytes are the rows of one array.
    TfRecord,
    /// The same file format, with records read as bytes even if they look like Examples.
    TfRecordBytes,
    /// Elements without a header: see [`crate::open::open_raw`].
    Raw,
}

/// What a file of a format can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// One array without a name.
    pub one_array: bool,
    /// Arrays by name.
    pub arrays_by_name: bool,
    /// Text beside the arrays, by key.
    pub metadata: bool,
    /// Compressed arrays.
    pub compression: bool,
    /// An interrupted write of the format can be resumed: every byte follows from the arrays.
    pub resumable: bool,
    /// A file states shape and dtype of its arrays.
    pub self_describing: bool,
    /// Arrays by name are columns of the same records, and cheaper to read together.
    pub columns: bool,
    /// A file is a zip archive.
    pub archive: bool,
}

/// What a raw file holds.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The dtype.
    pub dtype: DType,
    /// The byte order.
    pub order: ByteOrder,
    /// The shape, row-major. `None` for the first length takes it from the length of the file.
    pub shape: Shape,
    /// Byte of the file at which the elements start.
    pub offset: u64,
}

impl Raw {
    /// One dimension of elements in this machine's byte order, from the first byte of the file to
    /// the last.
    #[must_use]
    pub fn new(dtype: DType) -> Self {
        Self { dtype, order: ByteOrder::Native, shape: Shape::new([None]), offset: 0 }
    }
}

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

/// How files are opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The format. `None`: what the files themselves tell.
    pub format: Option<Format>,
    /// What raw files hold. If it is given without a format, the files are raw.
    pub raw: Option<Raw>,
    /// How they are read.
    pub mode: Mode,
    /// The arrays to open, of arrays by name, in this order, each with the dtype and shape that its
    /// rows must have, if given. A byte string feature of `tf.train.Example`s can be elements of
    /// any dtype, little-endian. Empty: all arrays as they are.
    pub features: Vec<(String, Option<TensorSpec>)>,
    /// Bytes of memory for what is opened. What does not fit in half of them is not memory-mapped
    /// by [`Mode::Auto`], and a compressed member of an `.npz` is decompressed at every read
    /// instead of once. `None`: what the process may use.
    pub memory_limit: Option<usize>,
    /// Ends the opening early: collecting the lengths of many records takes time.
    pub cancel: CancelToken,
}

/// What [`FileFormat::open`] opens.
pub(crate) struct OpenRequest<'a> {
    /// At least one.
    pub(crate) sources: &'a [Arc<dyn ReadAt>],
    /// Not [`Mode::Auto`].
    pub(crate) mode: Mode,
    pub(crate) options: &'a OpenOptions,
}

/// What [`FileFormat::verify`] found in a file that is whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    /// Arrays, or records.
    pub(crate) parts: u64,
    /// The checksum of the format.
    pub(crate) checksum: Option<&'static str>,
    /// Bytes after the array.
    pub(crate) trailing: u64,
}

/// A header and the arrays whose elements follow it.
pub(crate) type HeaderAndArrays<'a> = (Vec<u8>, Vec<&'a Array>);

/// A file format: the bytes of a file in, its arrays out, and back.
pub(crate) trait FileFormat: Sync {
    fn format(&self) -> Format;

    /// The name that users write: `"npy"`.
    fn name(&self) -> &'static str;

    /// Extensions in lower case, without the dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Whether a file of this format starts with these bytes.
    fn begins(&self, start: &[u8]) -> bool;

    fn capabilities(&self) -> Capabilities;

    /// The word for what [`FileFormat::verify`] counts.
    fn part_name(&self) -> &'static str {
        "array"
    }

    /// Opens sources as one; reads no elements.
    ///
    /// # Errors
    /// What is wrong with a source; [`Error::Argument`] for sources that do not go together.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened>;

    /// Writes a file of one array, whatever had the name before.
    ///
    /// # Errors
    /// [`Error::Io`]; what reading the array fails with; [`Error::Argument`].
    fn save_array(&self, _path: &Path, _array: &Array) -> Result<()> {
        Err(Error::Argument {
            stage: "save",
            what: format!(
                "{} files hold arrays by name. Give the array a name: save_arrays.",
                self.name()
            ),
        })
    }

    /// Writes a file of arrays by name, none of which stands twice. Metadata and compression are
    /// asked of formats that have them.
    ///
    /// # Errors
    /// As [`FileFormat::save_array`].
    fn save_arrays(
        &self,
        _path: &Path,
        _arrays: &[(&str, &Array)],
        _compress: bool,
        _metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        Err(no_names(self.name()))
    }

    /// The file of these arrays as a header and elements in row-major order, if it is that.
    ///
    /// # Errors
    /// [`Error::UnsupportedDType`]; [`Error::Argument`].
    fn header_and_arrays<'a>(
        &self,
        _arrays: &'a [(String, Array)],
        _metadata: &BTreeMap<String, String>,
    ) -> Result<Option<HeaderAndArrays<'a>>> {
        Ok(None)
    }

    /// Reads a file from end to end and compares lengths and checksums.
    ///
    /// # Errors
    /// What is wrong with the file; [`Error::Stopped`].
    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked>;
}

/// The error of arrays by name for a format that holds one array.
pub(crate) fn no_names(format: &str) -> Error {
    let what = format!(
        "{format} files hold one array, without a name. Save each to a file of its own, or to .npz."
    );
    Error::Argument { stage: "save", what }
}
