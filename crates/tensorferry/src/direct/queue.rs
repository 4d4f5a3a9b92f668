//! What reads are given to: a number of slots, in each of which one read may be under way.

use super::file::DirectFile;
use super::spans::MOST;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Reads under way at a time: as deep as the queue of a device needs to be for its full speed.
pub(super) const DEPTH: usize = 64;
/// Bytes of one slot.
pub(super) const SLOT: usize = MOST;
/// Slots start at multiples of this in memory, which no disk asks more than.
pub(super) const PAGE: usize = 4096;

/// One read of at most [`SLOT`] bytes.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) file: Arc<DirectFile>,
    pub(super) offset: u64,
    /// Where in the slot the bytes go.
    pub(super) skip: usize,
    pub(super) len: usize,
}

/// A read that ended: how many bytes it brought, which may be fewer than asked for.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) slot: usize,
    pub(super) result: io::Result<usize>,
}

/// [`DEPTH`] slots of [`SLOT`] bytes. What is under way when it is dropped is waited for, or its memory is given up for lost.
pub(super) trait Queue: Send {
    /// Begins to read into a slot in which no read is under way. Offset, `skip` and `len` are multiples of the file's alignment.
    ///
    /// # Errors
    /// Nothing begins if a read is under way in the slot, or it does not fit.
    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()>;

    /// Hands on what has begun. ([`Queue::next`] does so too before it waits.)
    ///
    /// # Errors
    /// The queue is no longer of use.
    fn flush(&mut self) -> io::Result<()>;

    /// A read that ended; waits until there is one, but not for longer than `patience`. `None` if none did, or none is under way.
    ///
    /// # Errors
    /// The queue is no longer of use.
    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>>;

    /// The bytes of a slot: of none in which a read is under way.
    fn bytes(&mut self, slot: usize) -> &[u8];
}

/// Slots in which no read is under way.
#[derive(Debug)]
pub(super) struct Slots(u64);

const _: () = assert!(DEPTH == 64, "a bit for each slot");

impl Slots {
    pub(super) const ALL: Self = Self(u64::MAX);

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
