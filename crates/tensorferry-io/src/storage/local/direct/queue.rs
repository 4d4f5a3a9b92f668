//! `Queue`: a buffer divided into slots, with at most one read in flight per slot.

use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::spans::MOST;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of all slots together.
pub(crate) const BYTES: usize = 4 << 20;
/// Maximum number of slots.
pub(crate) const DEPTH: usize = 64;
/// Alignment of slots in memory; no disk needs more.
pub(crate) const PAGE: usize = 4096;

/// Maximum wait for a read between two checks for cancellation.
pub(crate) const POLL: Duration = Duration::from_millis(40);

/// How the buffer is divided into slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// For random reads: [`DEPTH`] slots, the queue depth at which devices reach full speed.
    Many,
    /// For sequential reads: an eighth as many, because longer reads are faster (W6).
    Long,
}

impl Shape {
    /// Number of slots.
    pub(super) const fn slots(self) -> usize {
        match self {
            Self::Many => DEPTH,
            Self::Long => DEPTH / 8,
        }
    }

    /// Bytes per slot.
    pub(super) const fn slot(self) -> usize {
        BYTES / self.slots()
    }
}

const _: () = assert!(Shape::Many.slot() == MOST, "a random read fits in its slot");

/// A read of at most one slot.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(super) file: Arc<DirectFile>,
    pub(super) offset: u64,
    /// Offset of the bytes in the slot.
    pub(super) skip: usize,
    pub(super) len: usize,
}

/// A completed read. It may have fewer bytes than requested.
#[derive(Debug)]
pub(crate) struct Done {
    pub(super) slot: usize,
    pub(super) result: io::Result<usize>,
}

/// Slots of some [`Shape`]. Dropping it waits for reads in flight, or leaks their memory.
pub(crate) trait Queue: Send {
    /// Changes the shape, if no read is in flight.
    fn cut(&mut self, shape: Shape);

    /// Starts a read into a slot without a read in flight. Offset, `skip` and `len` must be
    /// multiples of the file's alignment.
    ///
    /// # Errors
    /// If a read is in flight in the slot, or the read does not fit. Then nothing starts.
    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()>;

    /// Submits the started reads. [`Queue::next`] also does so before it waits.
    ///
    /// # Errors
    /// If the queue is broken.
    fn flush(&mut self) -> io::Result<()>;

    /// Waits up to `patience` for a read to end. `None` if none did, or none is in flight.
    ///
    /// # Errors
    /// If the queue is broken.
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
