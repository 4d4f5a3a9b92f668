//! `Destination`: where a file is written, and whether something else may be there.

use crate::cancel::CancelToken;
use crate::error::{Error, Hint};
use crate::storage::options::StorageOptions;
use std::io;
use std::io::ErrorKind;
use std::path::Path;

/// How a file or object is written, whatever it contains.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// How the store of a URL is reached.
    pub storage: StorageOptions,
    /// Whether what already exists there is replaced, or is an error. By default, a file is
    /// replaced, and an object is not.
    pub replace: Option<bool>,
    /// Cancels an upload. Nothing of it is left.
    pub cancel: CancelToken,
}

/// Where a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// A path or URL, as errors name it.
    pub(crate) path: &'a Path,
    pub(crate) options: &'a WriteOptions,
    /// About how many bytes will be written. Parts of an upload are as large as this needs.
    #[cfg_attr(
        not(feature = "object-store"),
        allow(dead_code, reason = "only uploads have parts")
    )]
    pub(crate) bytes: u64,
}

/// The error for a file or object that already exists and is not to be replaced.
#[must_use]
pub fn exists(path: &Path) -> Error {
    let source = io::Error::new(ErrorKind::AlreadyExists, "it already exists.");
    Error::Io { action: "write", path: path.to_owned(), source }.with_hint(Hint::Replace)
}
