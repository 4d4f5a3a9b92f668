//! [`PieceCache`]: a folder of pieces of remote objects.

use crate::error::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of pieces of remote objects, shared by processes.
#[derive(Debug)]
pub struct PieceCache {
    folder: PathBuf,
}

impl PieceCache {
    /// The cache in a folder, which is created if it does not exist. `limit` is the number of bytes
    /// that its pieces may take. A process has one cache per folder; the last limit applies.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) if the limit is less than one piece;
    /// [`Error::Io`](crate::error::Error::Io) if the folder cannot be created or written to.
    pub fn at(folder: &Path, _limit: u64) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { folder: folder.to_owned() }))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
