//! [`Window`]: consecutive chunks that are read ahead of sequential requests.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::local::direct::extents::{CHUNK, Extents, Place};
use crate::storage::local::direct::file::Files;
use crate::storage::local::direct::pending_read::{PendingRead, Step};
use crate::storage::local::direct::queue::{POLL, Queue, Shape, Slots};
use crate::storage::local::direct::spans::Wanted;
use std::collections::VecDeque;
use std::ops::Range;

/// Shape of the queue.
const SHAPE: Shape = Shape::Long;
/// Minimum number of free slots before reads are submitted, because a submission is a system call.
const TOGETHER: usize = SHAPE.slots() / 8;
/// Number of chunks to keep behind the latest request, because threads do not request them in exact
/// order.
pub(crate) const BEHIND: u64 = SHAPE.slots() as u64 / 2;

/// Consecutive chunks, read or in flight.
pub(crate) struct Window<Q> {
    queue: Q,
    slots: Slots,
    chunks: VecDeque<Chunk>,
    /// Index of the first chunk.
    first: u64,
    /// Index of the chunk in each slot.
    owners: [u64; SHAPE.slots()],
    broken: bool,
}

#[derive(Debug)]
struct Chunk {
    pending: Option<PendingRead>,
    state: State,
    /// Offset of the first byte in the file; `len` is the length.
    start: u64,
    len: usize,
    /// Number of bytes that have not been copied out.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    /// In memory, in this slot.
    There(usize),
    /// Copied out, dropped, or unreadable.
    Gone,
}

impl<Q: Queue> Window<Q> {
    /// A window starting at chunk `first`, with a queue of [`Shape::Long`].
    pub(super) fn new(queue: Q, first: u64) -> Self {
        Self {
            queue,
            slots: Slots::all(SHAPE),
            chunks: VecDeque::new(),
            first,
            owners: [0; SHAPE.slots()],
            broken: false,
        }
    }

    /// Indices of the chunks in the window.
    pub(super) fn there(&self) -> Range<u64> {
        self.first..self.next()
    }

    /// Whether a chunk is in the window or will be soon.
    pub(super) fn reaches(&self, number: u64) -> bool {
        !self.broken && (self.first..self.next() + BEHIND).contains(&number)
    }

    /// Whether the window has reached the end.
    pub(super) fn is_over(&self, extents: &Extents) -> bool {
        self.broken || (self.chunks.is_empty() && self.next() >= extents.chunks())
    }

    /// The queue, if no read is in flight.
    pub(super) fn into_queue(self) -> Option<Q> {
        (!self.broken && self.slots.count() == SHAPE.slots()).then_some(self.queue)
    }

    /// Index of the next chunk to read.
    fn next(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Copies the wanted ranges if they are in memory or in flight, and starts the next reads.
    /// Returns false otherwise.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub(super) fn copy_out(
        &mut self,
        extents: &Extents,
        files: &dyn Files,
        wanted: &[Wanted],
        out: &mut [&mut [u8]],
        cancel: &CancelToken,
    ) -> Result<bool> {
        for (one, out) in wanted.iter().zip(out) {
            let mut rest = &mut **out;
            while !rest.is_empty() {
                let place = Place { file: one.file, offset: one.end() - rest.len() as u64 };
                let Some(number) = extents.number(place) else { return Ok(false) };
                if !self.wait_for(number, extents, files, cancel)? {
                    return Ok(false);
                }
                let Some(copied) = self.copy(number, place.offset, rest) else { return Ok(false) };
                rest = &mut rest[copied..];
                self.begin_more(number, extents, files);
            }
        }
        Ok(true)
    }

    /// Waits for a chunk. False if it cannot be read.
    fn wait_for(
        &mut self,
        number: u64,
        extents: &Extents,
        files: &dyn Files,
        cancel: &CancelToken,
    ) -> Result<bool> {
        loop {
            cancel.check()?;
            if self.broken || number < self.first {
                return Ok(false);
            }
            if number >= self.next() {
                while self.begin_next(extents, files) {}
            }
            match self.chunk(number).map(|chunk| chunk.state) {
                Some(State::There(_)) => return Ok(true),
                Some(State::Gone) => return Ok(false),
                Some(State::InFlight) => self.wait_for_read(),
                // No slot is free for the chunk.
                None => match self.chunks.front().map(|chunk| chunk.state) {
                    Some(State::InFlight) => self.wait_for_read(),
                    Some(_) => self.drop_first(),
                    None => return Ok(false),
                },
            }
        }
    }

    fn chunk(&mut self, number: u64) -> Option<&mut Chunk> {
        let at = number.checked_sub(self.first)?;
        self.chunks.get_mut(usize::try_from(at).ok()?)
    }

    /// Copies bytes of a chunk in memory, starting at `offset`. Returns their number.
    fn copy(&mut self, number: u64, offset: u64, out: &mut [u8]) -> Option<usize> {
        let chunk = self.chunk(number)?;
        let State::There(slot) = chunk.state else { return None };
        let from = usize::try_from(offset.checked_sub(chunk.start)?).ok()?;
        let len = out.len().min(chunk.len.checked_sub(from)?);
        chunk.left = chunk.left.saturating_sub(len);
        let used_up = chunk.left == 0;
        out[..len].copy_from_slice(self.queue.bytes(slot).get(from..from + len)?);
        if used_up {
            self.set(slot, State::Gone);
        }
        (len > 0).then_some(len)
    }

    /// Starts reads of the next chunks in free slots, after a request for chunk `number`.
    fn begin_more(&mut self, number: u64, extents: &Extents, files: &dyn Files) {
        while let Some(first) = self.chunks.front() {
            match first.state {
                State::Gone => self.drop_first(),
                State::There(_) if self.first + BEHIND < number => self.drop_first(),
                _ => break,
            }
        }
        if self.slots.count() >= TOGETHER {
            while self.begin_next(extents, files) {}
            self.broken |= self.queue.flush().is_err();
        }
    }

    fn drop_first(&mut self) {
        if let Some(Chunk { state: State::There(slot), .. }) = self.chunks.pop_front() {
            self.slots.put(slot);
        }
        self.first += 1;
    }

    /// Starts a read of the next chunk, if there is one and a free slot.
    fn begin_next(&mut self, extents: &Extents, files: &dyn Files) -> bool {
        let number = self.next();
        let Some(chunk) = extents.chunk(number) else { return false };
        let Some(slot) = self.slots.take() else { return false };
        let rows = chunk.rows.end.saturating_sub(chunk.rows.start);
        let (len, left) = (chunk.rows.end.saturating_sub(chunk.start), rows);
        let (len, left) =
            (usize::try_from(len).unwrap_or(CHUNK), usize::try_from(left).unwrap_or(CHUNK));
        let pending =
            files.open(chunk.file).ok().map(|file| PendingRead::new(file, chunk.start, len));
        self.owners[slot] = number;
        self.chunks.push_back(Chunk { pending, state: State::Gone, start: chunk.start, len, left });
        self.begin(slot);
        true
    }

    /// Begins a read of the missing bytes of the chunk in a slot.
    fn begin(&mut self, slot: usize) {
        let read = self
            .chunk(self.owners[slot])
            .and_then(|chunk| chunk.pending.as_ref())
            .map(PendingRead::read);
        let begun = read.is_some_and(|read| self.queue.begin(slot, read).is_ok());
        self.set(slot, if begun { State::InFlight } else { State::Gone });
    }

    fn set(&mut self, slot: usize, state: State) {
        if let Some(chunk) = self.chunk(self.owners[slot]) {
            chunk.state = state;
        }
        if state == State::Gone {
            self.slots.put(slot);
        }
    }

    /// Waits up to [`POLL`] for a read to end.
    fn wait_for_read(&mut self) {
        let done = match self.queue.next(POLL) {
            Ok(Some(done)) => done,
            Ok(None) => return,
            Err(_) => {
                self.broken = true;
                return;
            }
        };
        let pending = self.chunk(self.owners[done.slot]).and_then(|chunk| chunk.pending.as_mut());
        match pending.map(|pending| pending.ended(done.result)) {
            Some(Step::Whole) => self.set(done.slot, State::There(done.slot)),
            Some(Step::Again) => self.begin(done.slot),
            // The read without readahead that follows reports the error.
            _ => self.set(done.slot, State::Gone),
        }
    }
}
