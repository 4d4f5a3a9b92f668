//! Local files.

pub mod direct;
pub mod direct_engine;
pub mod file;
pub mod natural;
pub mod pattern;
pub(crate) mod pread;
pub mod regular;
pub(crate) mod scratch;

use crate::error::Result;
use crate::storage::local::file::DataFile;
use crate::storage::read_at::ReadAt;
use std::path::Path;
use std::sync::Arc;

/// Opens a regular file.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) if it cannot be opened or is not a regular file.
pub fn open(path: &Path) -> Result<Arc<dyn ReadAt>> {
    Ok(DataFile::open(path)?)
}
