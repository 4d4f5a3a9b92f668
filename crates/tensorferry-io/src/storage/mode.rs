//! How a file is read.

use std::fmt;

/// How the elements of a file come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// [`Mode::Map`] if what is opened fits in memory, else [`Mode::Direct`].
    #[default]
    Auto,
    /// Mapped: nothing is read until it is looked at, and nothing is copied. A file that somebody
    /// truncates meanwhile ends the process.
    Map,
    /// Read into memory when rows are asked for, through the system's cache. A file that changes
    /// meanwhile is an error.
    Read,
    /// As [`Mode::Read`], past the system's cache where the system can.
    Direct,
}

impl Mode {
    /// All of them.
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

    /// What to do with files of so many bytes, if so many may be in memory.
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
