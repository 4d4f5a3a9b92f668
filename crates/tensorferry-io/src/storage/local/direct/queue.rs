//! `Queue`: memory cut into slots, with one read in flight in each.

use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::spans::MOST;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of all slots.
pub(crate) const BYTES: usize = 4 << 20;
/// Slots, at most.
pub(crate) const DEPTH: usize = 64;
/// Alignment of slots in memory; no disk needs more.
pub(crate) const PAGE: usize = 4096;

/// How long to wait for a read before checking for cancellation again.
pub(crate) const POLL: Duration = Duration::from_millis(40);

/// How the memory is cut into slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// For random reads: [`DEPTH`] slots, the queue depth at which devices reach full speed.
    Many,
    /// For sequential reads: an eighth as many, because longer reads are faster (W6).
    Long,
}

impl Shape {
    /// The number of slots.
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

const _: () = assert!(Shape::Many.slot() == MOST, "a random read fits in its slot");

/// One read of at most a slot.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(super) file: Arc<DirectFile>,
    pub(super) offset: u64,
    /// Where the bytes start in the slot.
    pub(super) skip: usize,
    pub(super) len: usize,
}

/// A read that ended, and the number of bytes, which may be fewer than requested.
#[derive(Debug)]
pub(crate) struct Done {
    pub(super) slot: usize,
    pub(super) result: io::Result<usize>,
}

/// Slots of some [`Shape`]. Dropping it waits for reads in flight, or leaks their memory.
pub(crate) trait Queue: Send {
    /// Changes the shape, if no read is in flight.
    fn cut(&mut self, shape: Shape);

    /// Begins to read into a slot with no read in flight. Offset, `skip` and `len` are
    /// multiples of the file's alignment.
    ///
    /// # Errors
    /// Nothing begins if a read is in flight in the slot, or the read does not fit.
    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()>;

    /// Submits the reads that have begun. ([`Queue::next`] does so too before it waits.)
    ///
    /// # Errors
    /// The queue is broken.
    fn flush(&mut self) -> io::Result<()>;

    /// Waits up to `patience` for a read to end. `None` if none did, or none is in flight.
    ///
    /// # Errors
    /// The queue is broken.
    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>>;

    /// The bytes of a slot; none while a read is in flight.
    fn bytes(&mut self, slot: usize) -> &[u8];
}

/// The free slots.
#[derive(Debug)]
pub(crate) struct Slots(u64);

const _: () = assert!(DEPTH == 64, "a bit for each slot");

impl Slots {
    /// All slots of a shape.
    pub(super) const fn all(shape: Shape) -> Self {
        Self(u64::MAX >> (DEPTH - shape.slots()))
    }

    /// Takes a free slot.
    pub(super) fn take(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (slot < DEPTH).then_some(slot)
    }

    /// Returns a slot.
    pub(super) fn put(&mut self, slot: usize) {
        self.0 |= 1 << (slot % DEPTH);
    }

    /// The number of free slots.
    pub(super) fn count(&self) -> usize {
        self.0.count_ones() as usize
    }
}
