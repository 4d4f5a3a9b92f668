//! Which format a file has.

use crate::source::DataFile;
use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `.npy`: one array, NumPy's.
    Npy,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Npy];

    /// Its name: `"npy"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What a file's extension says.
    pub(crate) fn of_extension(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npy" => Some(Self::Npy),
            _ => None,
        }
    }

    /// What a file's first bytes say, or its extension where they say nothing.
    pub(crate) fn of(file: &Arc<DataFile>) -> Result<Self> {
        let start = file.read_up_to(0, 16)?;
        if start.starts_with(b"\x93NUMPY") {
            return Ok(Self::Npy);
        }
        Self::of_extension(file.path()).ok_or_else(|| {
            let what = format!(
                "{}: neither its first bytes nor its extension tell its format. Pass format=, one of {:?}.",
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
