//! [`Engine`]: reads the pieces of a batch from a group of objects.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::engine::foreign;
use crate::storage::mode::Mode;
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::readahead::Readahead;
use crate::storage::object_store::receive::{from_cache, receive, receive_apart};
use crate::storage::object_store::rows::{ALL, Rows};
use crate::storage::object_store::runtime::run;
use crate::storage::object_store::spans::longest;
use crate::storage::read_at::{Piece, Place, ReadEngine};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a read whose requests a thread of the runtime drives: handing each over to the caller
/// would take longer than copying its bytes.
const SMALL: usize = 2 << 20;

/// Reads from a group of objects, with readahead for requests in order.
#[derive(Debug)]
pub(super) struct Engine {
    objects: Arc<[Arc<RemoteObject>]>,
    /// The bytes of each object that hold rows.
    rows: Vec<Range<u64>>,
    readahead: Readahead,
}

impl Engine {
    /// For rows in these ranges of the objects.
    pub(super) fn new(group: Vec<(Arc<RemoteObject>, Range<u64>)>) -> Self {
        let (objects, rows): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        Self { objects: objects.into(), rows, readahead: Readahead::default() }
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
        let rows = Rows::of(&self.rows, within, &missing, cancel.is_in_order());
        if self.readahead.copy_out(objects, rows, &mut missing, cancel)? {
            return Ok(());
        }
        let most = longest(&missing);
        if missing.iter().map(|piece| piece.out.len()).sum::<usize>() <= SMALL {
            return receive_apart(&self.objects, &mut missing, most, cancel);
        }
        run(cancel, receive(objects, &mut missing, most))
    }
}
