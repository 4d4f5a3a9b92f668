//! The errors of storage, files and opened arrays.

mod advice;
mod message;

pub use advice::{Advice, Hint};

use std::io;
use std::path::{Path, PathBuf};
use tensorferry_core::{ErrorKind, layer_errors};

/// The result of every fallible operation here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

layer_errors! {
    /// An error of storage, a file or an opened array. [`Error::code`] is stable; the words of
    /// `Display` are not.
    pub enum Error {
        /// An argument that has no meaning.
        Argument {
            /// The function: `"open"`.
            function: &'static str,
            /// What is wrong with it.
            what: String,
        } = "argument" / Argument,
        /// A file gave fewer bytes than it had when it was opened.
        ShortRead {
            /// Where reading began.
            offset: u64,
            /// Bytes that were there when it was opened.
            expected: usize,
            /// Bytes there are now.
            actual: usize,
        } = "short_read" / FileFormat,
        /// A file was written to, or replaced, since it was opened.
        FileChanged {
            /// Its length when it was opened.
            was: u64,
            /// Its length now.
            is: u64,
        } = "file_changed" / FileFormat,
        /// Bytes of a file that do not match their checksum.
        Checksum {
            /// The format: `"tfrecord"`.
            format: &'static str,
            /// Where the bytes start.
            offset: u64,
            /// The checksum in the file.
            expected: u32,
            /// The checksum of the bytes.
            actual: u32,
        } = "checksum" / FileFormat,
        /// The operating system refused a file operation.
        Io {
            /// What was being done: `"open"`, `"read"`, `"rename"`.
            action: &'static str,
            /// The file.
            path: PathBuf,
            /// What the system said.
            source: io::Error,
        } = "io" / Io,
        /// A row reader of the caller failed.
        Function {
            /// Its error.
            source: Box<dyn std::error::Error + Send + Sync>,
        } = "function" / Function,
        /// The work was cancelled or interrupted.
        Interrupted = "interrupted" / Interrupted,
    }
    wrappers {
        /// An error of a tensor or a conversion.
        Core(tensorferry_core::Error),
        /// The operating system refused to read a part of a file.
        Read {
            /// The file.
            path: PathBuf,
            /// Where the bytes that were wanted start.
            offset: u64,
            /// How many were wanted.
            len: usize,
            /// What the system said.
            source: io::Error,
        },
        /// An error and the row of a file that it happened at.
        AtRow {
            /// The row, counted in the file.
            row: u64,
            /// What is wrong with it.
            source: Box<Error>,
        },
        /// An error, and the option that is the way out.
        WithHint {
            /// The option.
            hint: Hint,
            /// What is wrong.
            source: Box<Error>,
        },
        /// An error and the file it happened in.
        InFile {
            /// The file.
            path: PathBuf,
            /// What is wrong with it.
            source: Box<Error>,
        },
    }
}

// Results travel through every hot path: an error stays within two cache lines.
const _: () = assert!(size_of::<Error>() <= 128);

impl Error {
    /// An argument of `function` that has no meaning, and why.
    pub(crate) fn argument(function: &'static str, what: impl Into<String>) -> Self {
        Self::Argument { function, what: what.into() }
    }

    /// The same error, with the option that is the way out.
    pub(crate) fn with_hint(self, hint: Hint) -> Self {
        Self::WithHint { hint, source: Box::new(self) }
    }

    /// The code and kind of an error that has those of another.
    fn wrapped(&self) -> (&'static str, ErrorKind) {
        match self {
            Self::Core(source) => (source.code(), source.kind()),
            Self::AtRow { source, .. }
            | Self::InFile { source, .. }
            | Self::WithHint { source, .. } => (source.code(), source.kind()),
            _ => ("io", ErrorKind::Io),
        }
    }

    /// The error without the places it happened at and the hint that it is reported with.
    #[must_use]
    pub fn innermost(&self) -> &Self {
        match self {
            Self::AtRow { source, .. }
            | Self::InFile { source, .. }
            | Self::WithHint { source, .. } => source.innermost(),
            own => own,
        }
    }

    /// The error of a tensor or a conversion that this one is about.
    #[must_use]
    pub fn core(&self) -> Option<&tensorferry_core::Error> {
        match self.innermost() {
            Self::Core(error) => Some(error),
            _ => None,
        }
    }

    /// The error of the operating system that this one is about.
    #[must_use]
    pub fn system(&self) -> Option<&io::Error> {
        match self.innermost() {
            Self::Io { source, .. } | Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }

    /// A second error that says the same, for others who waited for the work that failed. `None`
    /// unless the operating system or a network refused it.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        Some(match self {
            Self::Io { action, path, source } => {
                Self::Io { action, path: path.clone(), source: refused_again(source) }
            }
            Self::Read { path, offset, len, source } => {
                let (path, source) = (path.clone(), refused_again(source));
                Self::Read { path, offset: *offset, len: *len, source }
            }
            Self::WithHint { hint, source } => source.again()?.with_hint(*hint),
            Self::InFile { path, source } => {
                Self::InFile { path: path.clone(), source: Box::new(source.again()?) }
            }
            _ => return None,
        })
    }

    /// The same error, naming the file it happened in.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            already @ (Self::Io { .. }
            | Self::Read { .. }
            | Self::InFile { .. }
            | Self::Interrupted) => already,
            other => Self::InFile { path: path.to_owned(), source: Box::new(other) },
        }
    }
}

fn refused_again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl From<tensorferry_core::Error> for Error {
    fn from(error: tensorferry_core::Error) -> Self {
        Self::Core(error)
    }
}
