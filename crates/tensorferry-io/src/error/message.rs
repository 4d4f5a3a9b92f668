//! The words of errors.

use super::{Advice, Error};
use std::fmt;
use tensorferry_core::InRust;

impl Error {
    /// The message, with advice in the syntax of the caller.
    #[must_use]
    pub fn message(&self, advice: &dyn Advice) -> String {
        Message { error: self, advice }.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Message { error: self, advice: &InRust }.fmt(f)
    }
}

/// The same sentence as `Display`: what `main` prints when it returns an error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    /// The cause of the innermost error, if the message does not contain it already.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.innermost() {
            Self::Function { source } => source.source(),
            Self::Io { source, .. } | Self::Read { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// An error, and who gives advice.
struct Message<'a> {
    error: &'a Error,
    advice: &'a dyn Advice,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |error| Message { error, ..*self };
        match self.error {
            Error::Core(error) => f.write_str(&error.message(self.advice)),
            Error::AtRow { row, source } => write!(f, "row {row}: {}", of(source)),
            Error::InFile { path, source } => write!(f, "{}: {}", path.display(), of(source)),
            Error::WithHint { hint, source } => {
                write!(f, "{} {}", of(source), self.advice.hint(*hint))
            }
            error => error.write_fact(f),
        }
    }
}

impl Error {
    /// The message of an error without advice in any syntax.
    fn write_fact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { function, what } => write!(f, "{function}: {what}"),
            Self::ShortRead { offset, expected, actual } => write!(
                f,
                "at byte {offset}: {expected} bytes were there when the file was opened, {actual} \
                 are left: it was truncated meanwhile"
            ),
            Self::FileChanged { was, is } => write!(
                f,
                "the file was written to since it was opened ({was} bytes then, {is} now). Open \
                 it again. To replace a file that may be open, rename another over it."
            ),
            Self::Checksum { format, offset, expected, actual } => write!(
                f,
                "{format}: at byte {offset}: the bytes have the checksum {actual:08x}, \
                 {expected:08x} was written with them: the file is damaged"
            ),
            Self::Io { action, path, source } => {
                write!(f, "{}: {action}: {source}", path.display())
            }
            Self::Read { path, offset, len, source } => {
                write!(f, "{}: read {len} bytes at byte {offset}: {source}", path.display())
            }
            Self::Function { source } => fmt::Display::fmt(source, f),
            Self::Interrupted => f.write_str("the work was interrupted"),
            Self::Core(_) | Self::AtRow { .. } | Self::InFile { .. } | Self::WithHint { .. } => {
                Ok(()) // written above
            }
        }
    }
}
