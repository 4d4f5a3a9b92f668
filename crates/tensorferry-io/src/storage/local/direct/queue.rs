//! What reads are given to: memory that is cut into slots, in each of which one read may be under
//! way.

use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::spans::MOST;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of all slots.
pub(crate) const BYTES: usize = 4 << 20;
/// Slots, at most.
pub(crate) const DEPTH: usize = 64;
/// Slots start at multiples of this in memory, which no disk asks more than.
pub(crate) const PAGE: usize = 4096;

/// How long to wait for a read before checking for cancellation again.
pub(crate) const POLL: Duration = Duration::from_millis(40);

/// How the memory is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// For what lies here and there: [`DEPTH`] slots, as deep as the queue of a device needs to be
    /// for its full speed.
    Many,
    /// For what is read in order: an eighth as many, for a device is the faster the longer its
    /// reads are (W6).
    Long,
}

impl Shape {
    /// How many slots there are.
    pub(super) const fn slots(self) -> usize {
        match self {
            Self::Many => DEPTH,
            Self::Long => DEPTH / 8,
        }
    }

    /// Bytes of one slot.
    pub(super) const fn slot(self) -> usize {
        BYTES / self.slots()
    }
}

const _: () =
    assert!(Shape::Many.slot() == MOST, "a read of what lies here and there fits in its slot");

/// One read of at most a slot.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(super) file: Arc<DirectFile>,
    pub(super) offset: u64,
    /// Where in the slot the bytes go.
    pub(super) skip: usize,
    pub(super) len: usize,
}

/// A read that ended: how many bytes it brought, which may be fewer than asked for.
#[derive(Debug)]
pub(crate) struct Done {
    pub(super) slot: usize,
    pub(super) result: io::Result<usize>,
}

/// Slots of some [`Shape`]. What is under way when it is dropped is waited for, or its memory is
/// given up for lost.
pub(crate) trait Queue: Send {
    /// Cuts the memory anew, if nothing is under way.
    fn cut(&mut self, shape: Shape);

    /// Begins to read into a slot in which no read is under way. Offset, `skip` and `len` are
    /// multiples of the file's alignment.
    ///
    /// # Errors
    /// Nothing begins if a read is under way in the slot, or it does not fit.
    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()>;

    /// Hands on what has begun. ([`Queue::next`] does so too before it waits.)
    ///
    /// # Errors
    /// The queue is no longer of use.
    fn flush(&mut self) -> io::Result<()>;

    /// A read that ended; waits until there is one, but not for longer than `patience`. `None` if
    /// none did, or none is under way.
    ///
    /// # Errors
    /// The queue is no longer of use.
    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>>;

    /// The bytes of a slot: of none in which a read is under way.
    fn bytes(&mut self, slot: usize) -> &[u8];
}

/// Slots in which no read is under way.
#[derive(Debug)]
pub(crate) struct Slots(u64);

const _: () = assert!(DEPTH == 64, "a bit for each slot");

impl Slots {
    /// All that there are.
    pub(super) const fn all(shape: Shape) -> Self {
        Self(u64::MAX >> (DEPTH - shape.slots()))
    }

    /// Takes a free slot.
    pub(super) fn take(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (slot < DEPTH).then_some(slot)
    }

    /// Gives one back.
    pub(super) fn put(&mut self, slot: usize) {
        self.0 |= 1 << (slot % DEPTH);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.count_ones() as usize
    }
}
