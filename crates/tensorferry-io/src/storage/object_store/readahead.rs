//! [`Readahead`]: chunks of objects that are received before they are asked for.
//!
//! # Rationale
//! Batches in order ask for a little at a time, and each would wait for a request. So chunks of up
//! to 4 MiB are received by tasks of the runtime: as many as the memory for it holds if the plan
//! says that rows are read in order; else two at first, and more each time that a batch has to
//! wait. A chunk that a batch waits for is received in several requests. Threads ask out of turn,
//! so a few chunks behind the latest request are kept. Plans that read in order have chunks of
//! their own: two of them are seldom at the same place. What fails here is read again without
//! readahead, which reports the error.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::memory::{limits, pool};
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::receive::{from_cache, receive};
use crate::storage::object_store::rows::Rows;
use crate::storage::object_store::runtime::{cancelled, run, runtime};
use crate::storage::object_store::spans::{LEAST as SHORT, overlap};
use crate::storage::read_at::{Piece, Place};
use crate::sync::fork_safe::ForkSafe;
use futures_util::FutureExt;
use futures_util::future::Shared;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tensorferry_core::Buffer;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Most bytes of a chunk, which is one request. Of the same memory, many short requests bring more
/// than few long ones: the link is used while others wait for their first byte.
const CHUNK: u64 = 4 << 20;
/// Fewest bytes of a chunk, for little memory.
const LEAST: u64 = 64 << 10;
/// Memory for chunks if no limit is set: what hides 30 ms at 1 GB/s with 100 MB/s a connection.
const MEMORY: u64 = 128 << 20;
/// Part of the memory that this process may use, if that is less.
const PART: u64 = 16;
/// Ends of requests that are remembered, one for each thread that takes turns.
const REMEMBERED: usize = 8;
/// Plans that have read all of their rows and are remembered.
const OVER: usize = 8;

/// A chunk: the object's index in its group, and the chunk's number in the object.
type Key = (usize, u64);

#[derive(Debug)]
pub(super) struct Readahead {
    works: ForkSafe<Works>,
}

impl Default for Readahead {
    fn default() -> Self {
        Self { works: ForkSafe::per_process(Works::default()) }
    }
}

#[derive(Debug, Default)]
struct Works {
    in_order: Vec<Work>,
    /// Of all other reads.
    others: State,
}

/// What one plan reads in order.
#[derive(Debug)]
struct Work {
    cancel: CancelToken,
    state: State,
}

impl Works {
    /// The state for reads of a work, which may be new.
    fn of(&mut self, rows: Rows<'_>, cancel: &CancelToken) -> &mut State {
        if !rows.are_in_order() {
            return &mut self.others;
        }
        self.in_order.retain(|work| !work.cancel.is_cancelled());
        let at = self.place(cancel).unwrap_or_else(|| {
            let mut over = self.in_order.iter().filter(|work| work.state.over).count();
            self.in_order.retain(|work| {
                let forgotten = work.state.over && over > OVER;
                over -= usize::from(forgotten);
                !forgotten
            });
            self.in_order.push(Work { cancel: cancel.clone(), state: State::default() });
            self.in_order.len() - 1
        });
        &mut self.in_order[at].state
    }

    /// The state for reads of a work that has begun, and was not cancelled since.
    fn begun(&mut self, rows: Rows<'_>, cancel: &CancelToken) -> Option<&mut State> {
        if !rows.are_in_order() {
            return Some(&mut self.others);
        }
        let at = self.place(cancel)?;
        Some(&mut self.in_order[at].state)
    }

    fn place(&self, cancel: &CancelToken) -> Option<usize> {
        let same =
            |work: &Work| work.cancel.is_clone_of(cancel) && work.cancel.rows() == cancel.rows();
        self.in_order.iter().position(same)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Bytes per chunk.
    chunk: u64,
    /// Chunks that are kept in all, and that are received ahead.
    most: usize,
    depth: usize,
    /// Source and offset where recent requests ended.
    ends: [Option<Place>; REMEMBERED],
    /// Whether rows in order were read to the last. Threads that are behind need nothing ahead.
    over: bool,
    chunks: BTreeMap<Key, Chunk>,
}

/// A chunk that is being received, or was.
#[derive(Debug)]
struct Chunk {
    /// Its bytes in the object: all, or those within what the work reads that began it.
    bytes: Range<u64>,
    block: Shared<oneshot::Receiver<Arc<Block>>>,
    task: AbortHandle,
    /// That of the work that began it. Once it is cancelled, nothing more is received.
    cancel: CancelToken,
}

impl Chunk {
    /// Whether its bytes have come, or will.
    fn is_usable(&self) -> bool {
        match self.block.clone().now_or_never() {
            Some(done) => done.is_ok(),
            None => !self.cancel.is_cancelled(),
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The bytes of a chunk.
#[derive(Debug)]
struct Block {
    start: u64,
    memory: Buffer,
}

impl Readahead {
    /// Copies pieces, sorted by source and offset, if they are in order and readahead helps. False
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted).
    pub(super) fn copy_out(
        &self,
        objects: &[Arc<RemoteObject>],
        rows: Rows<'_>,
        pieces: &mut [Piece<'_>],
        cancel: &CancelToken,
    ) -> Result<bool> {
        let begun = {
            let mut works = self.works.lock();
            works.of(rows, cancel).advance(objects, rows, pieces, cancel)?
        };
        let Some(wanted) = begun else { return Ok(false) };
        let waits = wanted.iter().any(|(_, block)| block.peek().is_none());
        let mut blocks = Vec::with_capacity(wanted.len());
        let received = run(cancel, async {
            for (key, block) in wanted {
                match block.await {
                    Ok(block) => blocks.push((key, block)),
                    Err(_) => return Ok(false), // it failed
                }
            }
            Ok(true)
        })?;
        if received {
            copy(&blocks, pieces);
        }
        let mut works = self.works.lock();
        let Some(state) = works.begun(rows, cancel) else { return Ok(received) };
        if waits {
            state.deepen();
        }
        if end(pieces, rows)
            .is_some_and(|(source, at)| at >= rows.get(source).end && rows.after(source).is_none())
        {
            // The rows are over: their memory is for others.
            state.chunks.clear();
            state.over = rows.are_in_order();
        }
        Ok(received)
    }
}

/// Copies pieces from blocks that have all of their bytes.
fn copy(blocks: &[(Key, Arc<Block>)], pieces: &mut [Piece<'_>]) {
    for piece in pieces {
        let bytes = piece.offset..piece.offset + piece.out.len() as u64;
        for ((source, _), block) in blocks {
            let memory = block.memory.as_slice();
            let there = block.start..block.start + memory.len() as u64;
            if *source == piece.source
                && let Some((to, from)) = overlap(&bytes, &there)
            {
                piece.out[to].copy_from_slice(&memory[from]);
            }
        }
    }
}

/// A chunk that a request needs.
type Wanted = (Key, Shared<oneshot::Receiver<Arc<Block>>>);

impl State {
    /// Begins the chunks that the pieces need, and those after them. `None` if the pieces are not
    /// in order, or too many.
    fn advance(
        &mut self,
        objects: &[Arc<RemoteObject>],
        rows: Rows<'_>,
        pieces: &[Piece<'_>],
        cancel: &CancelToken,
    ) -> Result<Option<Vec<Wanted>>> {
        if self.over {
            return Ok(None);
        }
        self.shape(cancel.readahead());
        self.chunks.retain(|_, chunk| !chunk.cancel.is_cancelled());
        let (Some(first), Some(end)) = (pieces.first(), end(pieces, rows)) else { return Ok(None) };
        let key = (first.source, first.offset / self.chunk);
        let start = (first.source, first.offset);
        let follows =
            rows.are_in_order() || self.ends.iter().flatten().any(|end| follows(*end, start, rows));
        self.ends.rotate_right(1);
        self.ends[0] = Some(end);
        let is_behind = self.chunks.keys().next().is_some_and(|first| key < *first);
        if !follows && !self.chunks.contains_key(&key) || is_behind {
            return Ok(None);
        }
        let is_first = self.chunks.is_empty();
        let (mut needed, last) = (Vec::new(), (end.0, (end.1 - 1) / self.chunk));
        let mut at = Some(key);
        while let Some(key) = at.filter(|key| *key <= last) {
            needed.push(key);
            at = next(key, rows, self.chunk);
        }
        if needed.len() > self.most / 2 {
            // All of it is received at once, without a detour. Chunks after it begin next time.
            return Ok(None);
        }
        let mut wanted = Vec::with_capacity(needed.len());
        for key in needed {
            wanted.push((key, self.begin(key, objects, rows, SHORT, cancel)?));
        }
        if rows.are_in_order() {
            self.depth = self.deepest();
        }
        for ahead in 0..self.depth {
            let Some(key) = at else { break };
            let most = if is_first { first_requests(ahead, self.depth) } else { CHUNK };
            drop(self.begin(key, objects, rows, most, cancel)?);
            at = next(key, rows, self.chunk);
        }
        // Threads that are a little behind still find theirs.
        while self.chunks.len() > self.most && self.chunks.keys().next() < Some(&key) {
            self.chunks.pop_first();
        }
        Ok(Some(wanted))
    }

    /// Fits chunks to the memory for them.
    fn shape(&mut self, limit: Option<usize>) {
        let usable = || MEMORY.min(limits::usable() / PART);
        let memory = match limit {
            Some(limit) => MEMORY.min(limit as u64),
            None if self.most > 0 => return,
            None => usable(),
        };
        let chunk = (memory / 8).max(1).next_power_of_two().clamp(LEAST, CHUNK);
        let most = usize::try_from(memory / chunk).unwrap_or(usize::MAX).max(2);
        if (chunk, most) != (self.chunk, self.most) {
            let depth = 2.min(most - 1);
            *self = Self { chunk, most, depth, ..Self::default() };
        }
    }

    /// Receives more ahead from now on.
    fn deepen(&mut self) {
        self.depth = (self.depth * 2).min(self.deepest());
    }

    /// Most chunks to receive ahead: others are for threads that are behind.
    fn deepest(&self) -> usize {
        (self.most - (self.most / 8).max(1)).max(1)
    }

    /// The chunk, which begins to be received if it is not yet, in requests of up to `most` bytes.
    fn begin(
        &mut self,
        key: Key,
        objects: &[Arc<RemoteObject>],
        rows: Rows<'_>,
        most: u64,
        cancel: &CancelToken,
    ) -> Result<Shared<oneshot::Receiver<Arc<Block>>>> {
        let rows = rows.get(key.0);
        let start = rows.start.max(key.1 * self.chunk);
        let end = rows.end.min((key.1 + 1) * self.chunk);
        // Work that reads fewer rows may have begun it.
        let has_all = |chunk: &&Chunk| {
            chunk.bytes.start <= start && chunk.bytes.end >= end && chunk.is_usable()
        };
        if let Some(known) = self.chunks.get(&key).filter(has_all) {
            return Ok(known.block.clone());
        }
        let (send, block) = oneshot::channel();
        let object = Arc::clone(&objects[key.0]);
        let of_work = cancel.clone();
        let task = runtime()?.spawn(async move {
            tokio::select! {
                block = block_of(object, start..end, most) => match block {
                    // The receiver is gone if the chunk was dropped.
                    Ok(block) => drop(send.send(Arc::new(block))),
                    Err(error) => log::debug!("readahead: {error}"),
                },
                () = cancelled(&of_work) => {}
            }
        });
        let block = block.shared();
        let (bytes, task) = (start..end, task.abort_handle());
        let chunk = Chunk { bytes, block: block.clone(), task, cancel: cancel.clone() };
        self.chunks.insert(key, chunk);
        Ok(block)
    }
}

/// Most bytes of a request of a chunk that is this far ahead, of chunks that begin together. The
/// first ones get more of the link. If all came at the same time, those after them would begin at
/// the same time too, again and again, and nothing would come until their first bytes.
fn first_requests(ahead: usize, depth: usize) -> u64 {
    match 4 * ahead / depth {
        0 => SHORT,
        1 => 2 * SHORT,
        _ => CHUNK,
    }
}

async fn block_of(object: Arc<RemoteObject>, bytes: Range<u64>, most: u64) -> Result<Block> {
    let mut memory = pool::take(usize::try_from(bytes.end - bytes.start).unwrap_or(usize::MAX))?;
    let mut all = [Piece { source: 0, offset: bytes.start, out: memory.as_mut_slice() }];
    let objects = [object];
    let mut missing = from_cache(&objects, &mut all)?;
    receive(&objects, &mut missing, most).await?;
    drop(missing);
    Ok(Block { start: bytes.start, memory: memory.freeze() })
}

/// Where sorted pieces end, if they lie one after the other.
fn end(pieces: &[Piece<'_>], rows: Rows<'_>) -> Option<Place> {
    let first = pieces.first()?;
    let mut end = (first.source, first.offset);
    for piece in pieces {
        let start = (piece.source, piece.offset);
        if start > end && !follows(end, start, rows) {
            return None;
        }
        end = end.max((piece.source, piece.offset + piece.out.len() as u64));
    }
    Some(end)
}

/// Whether a read that starts at `start` continues one that ended at `end`.
fn follows(end: Place, start: Place, rows: Rows<'_>) -> bool {
    let near = |from: u64, to: u64| (from..=from.saturating_add(LEAST)).contains(&to);
    if end.0 == start.0 {
        return near(end.1, start.1);
    }
    rows.after(end.0) == Some(start.0)
        && near(end.1, rows.get(end.0).end)
        && near(rows.get(start.0).start, start.1)
}

/// The chunk after this one.
fn next((source, number): Key, rows: Rows<'_>, chunk: u64) -> Option<Key> {
    if (number + 1) * chunk < rows.get(source).end {
        return Some((source, number + 1));
    }
    let after = rows.after(source)?;
    Some((after, rows.get(after).start / chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object_store::rows::ALL;

    #[test]
    fn chunks_go_on_in_the_next_object_with_rows() {
        let group = [128..2500, 0..0, 1100..1300];
        let chunks = |within: Range<Place>| {
            let rows = Rows::of(&group, &within, &[], false);
            std::iter::successors(Some((0, 0)), |key| next(*key, rows, 1000)).collect::<Vec<_>>()
        };
        assert_eq!(chunks(ALL), [(0, 0), (0, 1), (0, 2), (2, 1)]);
        assert_eq!(chunks((0, 0)..(0, 2000)), [(0, 0), (0, 1)]);
        assert_eq!(chunks((0, 0)..(2, 1100)), [(0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn requests_in_order_are_found() {
        let group = [128..1 << 20, 0..0, 100..200];
        let rows = Rows::of(&group, &ALL, &[], false);
        assert!(follows((0, 500), (0, 500), rows) && follows((0, 500), (0, 600), rows));
        assert!(!follows((0, 500), (0, 499), rows) && !follows((0, 500), (0, 500_000), rows));
        assert!(follows((0, 1 << 20), (2, 100), rows));
        assert!(!follows((0, 1 << 19), (2, 100), rows) && !follows((2, 200), (0, 128), rows));
    }

    #[test]
    fn chunks_fit_the_memory() {
        let mut state = State::default();
        state.shape(Some(1 << 30));
        assert_eq!((state.chunk, state.most), (CHUNK, 32));
        state.shape(Some(4 << 20));
        assert_eq!((state.chunk, state.most), (512 << 10, 8));
        (0..9).for_each(|_| state.deepen());
        assert_eq!(state.depth, 7);
        state.shape(Some(0));
        assert_eq!((state.chunk, state.most), (LEAST, 2));
        (0..9).for_each(|_| state.deepen());
        assert_eq!(state.depth, 1);
    }
}
