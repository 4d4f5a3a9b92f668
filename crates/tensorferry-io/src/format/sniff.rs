//! Which format a file has.

use crate::error::{Error, Result};
use crate::format::{foreign, tfrecord};
use crate::storage::local::file::DataFile;
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
    /// `.tfrecord`: records of TensorFlow's. Where they are `tf.train.Example`s, each feature is an
    /// array; else the records' bytes are the rows of one.
    TfRecord,
    /// The same, where records are bytes even if they look like Examples.
    TfRecordBytes,
    /// Elements and nothing else: see [`crate::open::open_raw`].
    Raw,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Npy, Self::Npz, Self::SafeTensors, Self::TfRecord, Self::TfRecordBytes, Self::Raw];

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

    /// What a file's first bytes say, or its extension where they say nothing, as
    /// [`open`](crate::open::open) has it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Argument`] if neither tells.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::of(&DataFile::open(path.as_ref())?)
    }

    /// What a file's first bytes say, or its extension where they say nothing.
    pub(crate) fn of(file: &Arc<DataFile>) -> Result<Self> {
        let start = file.read_up_to(0, foreign::WANTED)?;
        let found = Self::begun(&start);
        let (path, kind) = (file.path(), foreign::kind_of(&start));
        let wrong = |what: String| Error::Argument {
            stage: "open",
            what: format!("{}: {what}", path.display()),
        };
        match (found, Self::of_extension(path), kind) {
            (Some(found), ..) => Ok(found),
            // What begins raw elements tells little.
            (None, Some(Self::Raw), Some(kind)) => {
                Err(wrong(format!("{} If it is raw all the same, {RAW}", looks_like(kind))))
            }
            (None, said, Some(kind)) => {
                Err(other_kind(said.map_or("open", Self::name), kind, file))
            }
            (None, Some(said), None) => Ok(said),
            (None, None, None) if start.is_empty() => {
                Err(wrong("the file is empty. Write or copy it again.".into()))
            }
            (None, None, None) => Err(wrong(format!(
                "neither its first bytes nor its extension tell its format. Pass format=, one of \
                {:?}, or open it with open_raw.",
                Self::ALL.map(Self::name),
            ))),
        }
    }

    /// The format of which a file begins so.
    fn begun(start: &[u8]) -> Option<Self> {
        match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            // The second is an archive without members, the third a part of one that lies in
            // several files.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => {
                Some(Self::Npz)
            }
            start if tfrecord::begins(start) => Some(Self::TfRecord),
            // A header of less than 16 MiB.
            [_, _, _, 0, 0, 0, 0, 0, b'{', ..] => Some(Self::SafeTensors),
            _ => None,
        }
    }

    /// Refuses a file that the user says is of this format, and that begins as one of another kind
    /// does.
    ///
    /// # Errors
    /// [`Error::Malformed`] with what it is.
    pub(crate) fn check(self, file: &Arc<DataFile>) -> Result<()> {
        let refused = |kind: Option<&'static str>| {
            kind.map_or(Ok(()), |kind| Err(other_kind(self.name(), kind, file)))
        };
        match self {
            Self::Raw => {
                refused(foreign::not_raw(file.path(), &file.read_up_to(0, foreign::WANTED)?))
            }
            _ => {
                let start = file.read_up_to(0, foreign::WANTED)?;
                refused(foreign::kind_of(&start).filter(|_| Self::begun(&start).is_none()))
            }
        }
    }
}

/// What to do with raw files.
const RAW: &str = "a raw file does not say what it holds. Use open_raw, with its dtype.";

fn other_kind(format: &'static str, kind: &str, file: &DataFile) -> Error {
    Error::Malformed { format, offset: 0, what: kind.to_owned() }.in_file(file.path())
}

fn looks_like(kind: &str) -> String {
    format!("the file begins like {kind}")
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
