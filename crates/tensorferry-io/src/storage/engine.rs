//! The engine of a mode, which reads the rows of a batch from a group of sources.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::mode::Mode;
use crate::storage::read_at::{Extent, Piece, ReadAt, ReadEngine, ReadRange};
use std::sync::Arc;

/// The engine that reads rows in these extents. Pieces refer to a source by its index in the list.
pub(crate) fn engine(mode: Mode, group: Vec<Extent>) -> Arc<dyn ReadEngine> {
    let special = group.first().and_then(|first| first.source.engine(mode, &group));
    special.unwrap_or_else(|| {
        Arc::new(EachSource { sources: group.into_iter().map(|extent| extent.source).collect() })
    })
}

/// Reads the sources one after the other.
#[derive(Debug)]
struct EachSource {
    sources: Vec<Arc<dyn ReadAt>>,
}

impl ReadEngine for EachSource {
    fn mode(&self) -> Mode {
        Mode::Read
    }

    fn read(&self, pieces: &mut [Piece<'_>], cancel: &CancelToken) -> Result<()> {
        pieces.sort_unstable_by_key(|piece| (piece.source, piece.offset));
        for same in pieces.chunk_by_mut(|a, b| a.source == b.source) {
            let source = self.sources.get(same[0].source).ok_or_else(foreign)?;
            let mut ranges: Vec<ReadRange<'_>> = same
                .iter_mut()
                .map(|piece| ReadRange { offset: piece.offset, out: &mut *piece.out })
                .collect();
            source.read_ranges(&mut ranges, cancel)?;
        }
        Ok(())
    }
}

/// The error of a piece whose source is not of the group.
pub(crate) fn foreign() -> Error {
    Error::argument("read", "a piece of a source that is not of the group")
}
