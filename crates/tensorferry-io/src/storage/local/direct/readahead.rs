//! Readahead for sequential batches, shared by the threads of a reader.
//!
//! # Rationale
//! Sequential requests, even by several threads, are detected, and a [`Window`] then reads ahead. A
//! thread takes the window, copies its rows, starts the next reads, and puts the window back. Bytes
//! outside the window are read without readahead, which also reports errors.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::local::direct::extents::{Extents, Place};
use crate::storage::local::direct::file::Files;
use crate::storage::local::direct::queue::{POLL, Shape};
use crate::storage::local::direct::queue_pool::{PooledQueue, ReaderThreads};
use crate::storage::local::direct::spans::Wanted;
use crate::storage::local::direct::window::{BEHIND, Window};
use crate::sync::fork_safe::ForkSafe;
use std::ops::Range;
use std::sync::{Arc, Condvar, PoisonError};

/// Number of run ends to remember, one for each thread that takes turns.
const REMEMBERED: usize = 8;
/// A thread that is this many chunks ahead yields to waiting threads. Yielding earlier costs more
/// than it saves, because threads wake slowly.
const MAX_LEAD: u64 = BEHIND / 2;
/// Number of sequential runs outside the window before it moves to them.
const PATIENCE: u32 = 2;

pub(crate) struct Readahead {
    turn: ForkSafe<Turn>,
}

impl Default for Readahead {
    fn default() -> Self {
        Self { turn: ForkSafe::per_process(Turn::default()) }
    }
}

struct Turn {
    /// Signalled when the window is put back.
    put_back: Arc<Condvar>,
    /// Ends of the last runs.
    ends: [Option<Place>; REMEMBERED],
    window: Holder,
    /// The chunks of the window when it was last put back.
    there: Range<u64>,
    /// The chunks that other threads wait for.
    waiting: Vec<u64>,
    missed: u32,
}

#[derive(Default)]
enum Holder {
    #[default]
    Missing,
    Free(Box<Window<PooledQueue>>),
    Taken,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            put_back: Arc::default(),
            ends: [None; REMEMBERED],
            window: Holder::Missing,
            there: 0..0,
            waiting: Vec::new(),
            missed: 0,
        }
    }
}

impl Readahead {
    /// Copies the wanted ranges if they are sequential and the window reaches them. Returns false
    /// otherwise.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub(super) fn copy_out(
        &self,
        extents: &Extents,
        files: &dyn Files,
        threads: &ReaderThreads,
        wanted: &[Wanted],
        out: &mut [&mut [u8]],
        cancel: &CancelToken,
    ) -> Result<bool> {
        let Some((start, end)) = extents.run(wanted) else { return Ok(false) };
        let Some(number) = extents.number(start) else { return Ok(false) };
        match self.take(extents, (start, end), number, threads, cancel)? {
            Some(window) => Held { readahead: self, extents, window: Some(window) }
                .copy_out(files, wanted, out, cancel),
            None => Ok(false),
        }
    }

    /// The window, if the requests are sequential and it reaches the chunk.
    fn take(
        &self,
        extents: &Extents,
        (start, end): (Place, Place),
        number: u64,
        threads: &ReaderThreads,
        cancel: &CancelToken,
    ) -> Result<Option<Box<Window<PooledQueue>>>> {
        let mut turn = self.turn.lock();
        let in_order = turn.ends.iter().flatten().any(|end| extents.follows(*end, start));
        turn.ends.rotate_right(1);
        turn.ends[0] = Some(end);
        // Another thread may be slower, so a chunk can be in the window without following any run.
        if !in_order && !turn.there.contains(&number) {
            return Ok(None);
        }
        loop {
            match turn.next(number, in_order) {
                Next::Window(window) => return Ok(Some(window)),
                Next::New(old) => {
                    drop(turn);
                    // Dropping the old window may wait for its reads, so the lock is not held.
                    drop(old);
                    return Ok(Some(Box::new(Window::new(
                        PooledQueue::new(threads, Shape::Long),
                        number,
                    ))));
                }
                Next::Without => return Ok(None),
                Next::Wait => {}
            }
            turn.waiting.push(number);
            let put_back = Arc::clone(&turn.put_back);
            (turn, _) = put_back.wait_timeout(turn, POLL).unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = turn.waiting.iter().position(|other| *other == number) {
                turn.waiting.swap_remove(at);
            }
            cancel.check()?;
        }
    }
}

/// What a thread does to get a chunk.
enum Next {
    Window(Box<Window<PooledQueue>>),
    /// Replace this window by a new one.
    New(Holder),
    Wait,
    Without,
}

impl Turn {
    /// The next action of a thread that needs this chunk. Marks the window as taken if it gets it.
    fn next(&mut self, number: u64, in_order: bool) -> Next {
        match std::mem::replace(&mut self.window, Holder::Taken) {
            Holder::Taken => Next::Wait,
            Holder::Free(window) if window.reaches(number) => {
                // Their chunks would be dropped before they wake.
                if self
                    .waiting
                    .iter()
                    .any(|other| *other + MAX_LEAD <= number && window.reaches(*other))
                {
                    self.window = Holder::Free(window);
                    return Next::Wait;
                }
                self.missed = 0;
                Next::Window(window)
            }
            other if !in_order => {
                self.window = other;
                Next::Without
            }
            Holder::Free(window) if self.missed < PATIENCE => {
                self.missed += 1;
                self.window = Holder::Free(window);
                Next::Without
            }
            other => {
                self.missed = 0;
                self.there = number..number + 1;
                Next::New(other)
            }
        }
    }
}

/// A taken window, which is put back on drop.
struct Held<'a> {
    readahead: &'a Readahead,
    extents: &'a Extents,
    window: Option<Box<Window<PooledQueue>>>,
}

impl Held<'_> {
    fn copy_out(
        &mut self,
        files: &dyn Files,
        wanted: &[Wanted],
        out: &mut [&mut [u8]],
        cancel: &CancelToken,
    ) -> Result<bool> {
        self.window
            .as_mut()
            .map_or(Ok(false), |window| window.copy_out(self.extents, files, wanted, out, cancel))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let (mut holder, mut there) = (Holder::Missing, 0..0);
        match self.window.take() {
            Some(window) if window.is_over(self.extents) => {
                if let Some(queue) = window.into_queue() {
                    queue.give_back();
                }
            }
            Some(window) => {
                there = window.there();
                holder = Holder::Free(window);
            }
            None => {}
        }
        let mut turn = self.readahead.turn.lock();
        (turn.window, turn.there) = (holder, there);
        let put_back = Arc::clone(&turn.put_back);
        drop(turn);
        put_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::local::direct::extents::CHUNK;
    use crate::storage::local::direct::testing::{Written, read_into};

    /// The steps of three or more threads, one after the other.
    struct Turns {
        written: Written,
        extents: Extents,
        readahead: Readahead,
        threads: ReaderThreads,
    }

    impl Turns {
        fn new(chunks: usize) -> Self {
            let written = Written::new(&std::env::temp_dir(), &[chunks * CHUNK]);
            let extents = Extents::new(written.ranges());
            Self {
                written,
                extents,
                readahead: Readahead::default(),
                threads: ReaderThreads::default(),
            }
        }

        /// Whether these chunks are copied out.
        fn has(&self, chunks: Range<usize>) -> bool {
            let wanted = [Wanted {
                file: 0,
                offset: (chunks.start * CHUNK) as u64,
                len: chunks.len() * CHUNK,
            }];
            let mut has = false;
            let found = read_into(&wanted, |out| {
                has = self.readahead.copy_out(
                    &self.extents,
                    &self.written,
                    &self.threads,
                    &wanted,
                    out,
                    &CancelToken::default(),
                )?;
                Ok(())
            });
            assert!(!has || found.unwrap() == self.written.expected(&wanted));
            has
        }

        fn wait_until_waiting(&self, count: usize) {
            while self.readahead.turn.lock().waiting.len() < count {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_thread_that_comes_early_finds_its_chunk() {
        let turns = Turns::new(10);
        let has = [0..1, 1..2, 3..4, 2..3, 4..5].map(|chunks| turns.has(chunks));
        assert_eq!(has, [false, true, true, true, true]);
    }

    #[test]
    fn a_thread_that_waits_for_an_earlier_chunk_is_not_overtaken() {
        let turns = Turns::new(40);
        assert!(!turns.has(0..1) && turns.has(1..2));
        for start in (2..32).step_by(10) {
            let place = |chunk: usize| Place { file: 0, offset: (chunk * CHUNK) as u64 };
            let run = (place(start), place(start + 1));
            let number = start as u64;
            let window = turns
                .readahead
                .take(&turns.extents, run, number, &turns.threads, &CancelToken::default())
                .unwrap();
            let held = Held { readahead: &turns.readahead, extents: &turns.extents, window };
            std::thread::scope(|scope| {
                let later = scope.spawn(|| turns.has(start + 2..start + 10));
                turns.wait_until_waiting(1);
                let first = scope.spawn(|| turns.has(start..start + 2));
                turns.wait_until_waiting(2);
                drop(held);
                assert!(first.join().unwrap() && later.join().unwrap());
            });
        }
    }
}
