//! [`Mode`]: how a file is read.

use std::fmt;

/// How the elements of a file are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// [`Mode::Map`] for files that fit in memory, otherwise [`Mode::Direct`].
    #[default]
    Auto,
    /// Memory-mapped: pages are read when they are touched, and nothing is copied. If the file is
    /// truncated while it is open, touching the lost part ends the process (SIGBUS).
    Map,
    /// Rows are read on request, through the system's cache. A file that changes while it is open
    /// is an error.
    Read,
    /// As [`Mode::Read`], past the system's cache where the storage supports that.
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

    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode for files of this number of bytes, given a limit of memory.
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
