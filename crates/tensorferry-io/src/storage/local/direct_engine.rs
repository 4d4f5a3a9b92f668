//! The engine that reads local files, bypassing the page cache.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::engine::foreign;
use crate::storage::local::direct::Reader;
use crate::storage::local::direct::file::Files;
use crate::storage::local::direct::spans::Wanted;
use crate::storage::mode::Mode;
use crate::storage::read_at::{Piece, ReadEngine};
use std::fmt::Debug;
use std::ops::Range;

/// Reads the rows of one array by [`Reader`].
#[derive(Debug)]
pub(crate) struct Direct<F> {
    reader: Reader,
    files: F,
    count: usize,
}

impl<F: Files> Direct<F> {
    /// For rows in these ranges of the files.
    pub(super) fn new(files: F, rows: Vec<Range<u64>>) -> Self {
        Self { count: rows.len(), reader: Reader::new(rows), files }
    }
}

impl<F: Files + Debug + Send + Sync> ReadEngine for Direct<F> {
    fn mode(&self) -> Mode {
        Mode::Direct
    }

    fn read(&self, pieces: &mut [Piece<'_>], cancel: &CancelToken) -> Result<()> {
        pieces.sort_unstable_by_key(|piece| (piece.source, piece.offset));
        if pieces.last().is_some_and(|last| last.source >= self.count) {
            return Err(foreign());
        }
        let wanted = |piece: &Piece<'_>| Wanted {
            file: piece.source,
            offset: piece.offset,
            len: piece.out.len(),
        };
        let wanted: Vec<Wanted> = pieces.iter().map(wanted).collect();
        let mut out: Vec<&mut [u8]> = pieces.iter_mut().map(|piece| &mut *piece.out).collect();
        self.reader.read(&self.files, &wanted, &mut out, cancel)?;
        for same in wanted.chunk_by(|a, b| a.file == b.file) {
            self.files.check(same[0].file)?;
        }
        Ok(())
    }
}
