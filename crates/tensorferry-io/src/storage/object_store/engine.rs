//! [`Engine`]: reads the pieces of a batch from a group of objects.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::engine::foreign;
use crate::storage::mode::Mode;
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::readahead::Readahead;
use crate::storage::object_store::receive::{from_cache, receive};
use crate::storage::object_store::runtime::run;
use crate::storage::read_at::{Piece, ReadEngine};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Reads from a group of objects, with readahead for requests in order.
#[derive(Debug)]
pub(super) struct Engine {
    group: Group,
    readahead: Readahead,
}

#[derive(Debug)]
enum Group {
    Many {
        objects: Vec<Arc<RemoteObject>>,
        rows: Vec<Range<u64>>,
    },
    /// The object that owns the engine, with all of its bytes.
    One(Weak<RemoteObject>),
}

impl Engine {
    /// For rows in these ranges of the objects.
    pub(super) fn new(group: Vec<(Arc<RemoteObject>, Range<u64>)>) -> Self {
        let (objects, rows) = group.into_iter().unzip();
        Self { group: Group::Many { objects, rows }, readahead: Readahead::default() }
    }

    /// For all bytes of one object, which owns the engine.
    pub(super) fn of_one(object: Weak<RemoteObject>) -> Self {
        Self { group: Group::One(object), readahead: Readahead::default() }
    }

    fn read_from(
        &self,
        objects: &[Arc<RemoteObject>],
        rows: &[Range<u64>],
        pieces: &mut [Piece<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        pieces.sort_unstable_by_key(|piece| (piece.source, piece.offset));
        if pieces.last().is_some_and(|last| last.source >= objects.len()) {
            return Err(foreign());
        }
        let mut missing = from_cache(objects, pieces)?;
        if missing.is_empty() {
            return cancel.check();
        }
        if self.readahead.copy_out(objects, rows, &mut missing, cancel)? {
            return Ok(());
        }
        run(cancel, receive(objects, &mut missing))
    }
}

impl ReadEngine for Engine {
    fn mode(&self) -> Mode {
        Mode::Direct
    }

    fn read(&self, pieces: &mut [Piece<'_>], cancel: &CancelToken) -> Result<()> {
        match &self.group {
            Group::Many { objects, rows } => self.read_from(objects, rows, pieces, cancel),
            Group::One(object) => {
                let Some(object) = object.upgrade() else { return Err(foreign()) };
                let all = 0..object.target.mark.len();
                self.read_from(&[object], &[all], pieces, cancel)
            }
        }
    }
}
