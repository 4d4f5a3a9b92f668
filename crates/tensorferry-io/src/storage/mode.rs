//! [`Mode`]: how a file is read.

use std::fmt;

/// How the elements of a file are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// [`Mode::Map`] for files that fit in memory, otherwise [`Mode::Direct`].
    #[default]
    Auto,
    /// Memory-mapped. Pages are read on access, and nothing is copied. If the file is truncated
    /// while it is open, accessing the missing part ends the process (SIGBUS).
    Map,
    /// Rows are read on request, through the page cache. A change of the file while it is open is
    /// an error.
    Read,
    /// As [`Mode::Read`], bypassing the page cache if the storage supports it.
    Direct,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Map, Self::Read, Self::Direct];

    /// `"auto"`, `"map"`, `"read"` or `"direct"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Map => "map",
            Self::Read => "read",
            Self::Direct => "direct",
        }
    }

    /// The mode with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode for files of this many bytes, given a memory limit.
    pub(crate) fn resolved(self, bytes: u64, limit: Option<usize>) -> Self {
        match self {
            Self::Auto if crate::memory::limits::holds(bytes, limit) => Self::Map,
            Self::Auto => Self::Direct,
            other => other,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
