//! [`Engine`]: reads the pieces of a batch from a group of objects.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::engine::foreign;
use crate::storage::mode::Mode;
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::readahead::Readahead;
use crate::storage::object_store::receive::{from_cache, receive};
use crate::storage::object_store::rows::{ALL, Rows};
use crate::storage::object_store::runtime::run;
use crate::storage::object_store::spans::longest;
use crate::storage::read_at::{Piece, Place, ReadEngine};
use std::ops::Range;
use std::sync::Arc;

/// Reads from a group of objects, with readahead for requests in order.
#[derive(Debug)]
pub(super) struct Engine {
    objects: Vec<Arc<RemoteObject>>,
    /// The bytes of each object that hold rows.
    rows: Vec<Range<u64>>,
    readahead: Readahead,
}

impl Engine {
    /// For rows in these ranges of the objects.
    pub(super) fn new(group: Vec<(Arc<RemoteObject>, Range<u64>)>) -> Self {
        let (objects, rows) = group.into_iter().unzip();
        Self { objects, rows, readahead: Readahead::default() }
    }
}

impl ReadEngine for Engine {
    fn mode(&self) -> Mode {
        Mode::Direct
    }

    fn read(&self, pieces: &mut [Piece<'_>], cancel: &CancelToken) -> Result<()> {
        self.read_within(pieces, &ALL, cancel)
    }

    fn read_within(
        &self,
        pieces: &mut [Piece<'_>],
        within: &Range<Place>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let objects = &*self.objects;
        pieces.sort_unstable_by_key(|piece| (piece.source, piece.offset));
        if pieces.last().is_some_and(|last| last.source >= objects.len()) {
            return Err(foreign());
        }
        let mut missing = from_cache(objects, pieces)?;
        if missing.is_empty() {
            return cancel.check();
        }
        let rows = Rows::of(&self.rows, within, &missing);
        if self.readahead.copy_out(objects, rows, &mut missing, cancel)? {
            return Ok(());
        }
        let most = longest(&missing);
        run(cancel, receive(objects, &mut missing, most))
    }
}
