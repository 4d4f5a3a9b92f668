//! Engines: how bytes of files come into memory that is the caller's.

use crate::cancel::Stop;
use crate::error::Result;
use crate::storage::local::direct_engine::Direct;
use crate::storage::local::file::DataFile;
use crate::storage::mode::Mode;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Bytes to read: those of `file` from `offset` on, as many as `out` holds.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) file: &'a Arc<DataFile>,
    pub(crate) offset: u64,
    pub(crate) out: &'a mut [u8],
}

/// Reads pieces, all that one batch needs at a time. Used by many threads at once.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug {
    /// The mode that this engine is.
    fn mode(&self) -> Mode;

    /// Fills every piece; they may be reordered. After an error what they hold is unspecified.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::Io`]; [`tensorferry_core::Error::ShortRead`] and
    /// [`tensorferry_core::Error::FileChanged`] if a file is not what it was when it was opened.
    fn read(&self, pieces: &mut [Piece<'_>], stop: &Stop) -> Result<()>;
}

/// The engine of a mode that reads, for rows that lie in these bytes of files, one file after the
/// other. Pieces are of these files.
pub(crate) fn engine(
    mode: Mode,
    rows: impl IntoIterator<Item = (Arc<DataFile>, Range<u64>)>,
) -> Arc<dyn Engine> {
    match mode {
        Mode::Direct => Arc::new(Direct::new(rows)),
        _ => Arc::new(Positioned),
    }
}

/// One positioned read after the other, in the order in which the bytes lie.
#[derive(Debug)]
struct Positioned;

impl Engine for Positioned {
    fn mode(&self) -> Mode {
        Mode::Read
    }

    fn read(&self, pieces: &mut [Piece<'_>], stop: &Stop) -> Result<()> {
        pieces.sort_unstable_by_key(|piece| (Arc::as_ptr(piece.file).addr(), piece.offset));
        let mut current: Option<(&Arc<DataFile>, Arc<File>)> = None;
        for piece in pieces {
            stop.check()?;
            let handle = match &current {
                Some((file, handle)) if Arc::ptr_eq(file, piece.file) => handle,
                other => {
                    if let Some((file, handle)) = other {
                        file.check_unchanged(handle)?;
                    }
                    &current.insert((piece.file, piece.file.handle()?)).1
                }
            };
            piece.file.fill(handle, piece.offset, piece.out)?;
        }
        current.map_or(Ok(()), |(file, handle)| file.check_unchanged(&handle))
    }
}
