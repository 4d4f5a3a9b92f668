//! Which format a file has.

use super::tfrecord;
use crate::source::DataFile;
use crate::{Error, Result};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.npy`: one array, NumPy's.
    Npy,
    /// `.npz`: arrays by name, NumPy's.
    Npz,
    /// `.safetensors`: arrays by name.
    SafeTensors,
    /// `.tfrecord`: records of TensorFlow's. Where they are `tf.train.Example`s, each feature is an array; else the records' bytes are the
    /// rows of one.
    TfRecord,
    /// The same, where records are bytes even if they look like Examples.
    TfRecordBytes,
    /// Elements and nothing else: see [`crate::open_raw`].
    Raw,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Npy, Self::Npz, Self::SafeTensors, Self::TfRecord, Self::TfRecordBytes, Self::Raw];

    /// Its name: `"npy"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::SafeTensors => "safetensors",
            Self::TfRecord => "tfrecord",
            Self::TfRecordBytes => "tfrecord_bytes",
            Self::Raw => "raw",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What a file's extension says.
    #[must_use]
    pub fn of_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npy" => Some(Self::Npy),
            "npz" => Some(Self::Npz),
            "safetensors" => Some(Self::SafeTensors),
            "tfrecord" | "tfrecords" => Some(Self::TfRecord),
            "raw" | "bin" => Some(Self::Raw),
            _ => None,
        }
    }

    /// What a file's first bytes say, or its extension where they say nothing, as [`crate::open`] has it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Argument`] if neither tells.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::of(&DataFile::open(path.as_ref())?)
    }

    /// What a file's first bytes say, or its extension where they say nothing.
    pub(crate) fn of(file: &Arc<DataFile>) -> Result<Self> {
        let start = file.read_up_to(0, 16)?;
        let found = match start.as_slice() {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            // The second is an archive without members.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Npz),
            start if tfrecord::begins(start) => Some(Self::TfRecord),
            // A header of less than 16 MiB.
            [_, _, _, 0, 0, 0, 0, 0, b'{', ..] => Some(Self::SafeTensors),
            _ => Self::of_extension(file.path()),
        };
        found.ok_or_else(|| {
            let what = format!(
                "{}: neither its first bytes nor its extension tell its format. Pass format=, one of {:?}, or open it with open_raw.",
                file.path().display(),
                Self::ALL.map(Self::name),
            );
            Error::Argument { stage: "open", what }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
