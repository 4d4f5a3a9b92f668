//! Queues for whoever reads just now.
//!
//! # Rationale
//! A ring takes some system calls and the memory of its slots. So there are as many as threads that
//! read at the same time, and a few that wait for the next batch. Those that were made before the
//! process was forked are left alone, and a lock that was held then is not waited for.

use crate::storage::local::direct::queue::{Done, Queue, Read, Shape};
use crate::storage::local::direct::threads::Threads;
use crate::storage::local::direct::uring::ring;
use std::io;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

/// Rings that wait, at most.
const MOST_IDLE: usize = 4;

static IDLE: Mutex<Idle> = Mutex::new(Idle { process: 0, rings: Vec::new() });
/// This kernel, or whoever guards it, refuses rings.
static REFUSED: AtomicBool = AtomicBool::new(false);

struct Idle {
    process: u32,
    rings: Vec<Box<dyn Queue>>,
}

/// A queue that nobody else uses.
pub(crate) struct Lent {
    queue: Box<dyn Queue>,
    is_ring: bool,
}

/// The threads of one reader, and the process they are in.
#[derive(Debug, Default)]
pub(crate) struct OwnThreads(Mutex<Option<(u32, Threads)>>);

impl Lent {
    /// An idle ring, a new one, or where there are none, a queue of these threads.
    pub(super) fn new(threads: &OwnThreads, shape: Shape) -> Self {
        if let Some(mut queue) = idle().and_then(|mut idle| idle.rings.pop()) {
            queue.cut(shape);
            return Self { queue, is_ring: true };
        }
        if !REFUSED.load(Ordering::Relaxed) {
            match ring(shape) {
                Ok(queue) => return Self { queue, is_ring: true },
                Err(error) => refused(&error),
            }
        }
        Self { queue: Box::new(threads.queue(shape)), is_ring: false }
    }

    /// Puts a queue in which nothing is under way where the next reader finds it.
    pub(super) fn give_back(self) {
        if let Some(mut idle) = idle()
            && self.is_ring
            && idle.rings.len() < MOST_IDLE
        {
            idle.rings.push(self.queue);
        }
    }

    /// How it reads, in words.
    pub(super) fn means(&self) -> &'static str {
        if self.is_ring { "io_uring" } else { "threads" }
    }
}

impl Queue for Lent {
    fn cut(&mut self, shape: Shape) {
        self.queue.cut(shape);
    }

    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()> {
        self.queue.begin(slot, read)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.flush()
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>> {
        self.queue.next(patience)
    }

    fn bytes(&mut self, slot: usize) -> &[u8] {
        self.queue.bytes(slot)
    }
}

impl OwnThreads {
    fn queue(&self, shape: Shape) -> crate::storage::local::direct::threads::Pooled {
        let Some(mut own) = briefly(&self.0) else { return Threads::default().queue(shape) };
        let here = crate::sync::process::process_id();
        if own.as_ref().is_some_and(|(process, _)| *process != here) {
            // They are in the parent, and one of them may have held their lock.
            std::mem::forget(own.take());
        }
        own.get_or_insert_with(|| (here, Threads::default())).1.queue(shape)
    }
}

/// The idle rings of this process.
fn idle() -> Option<MutexGuard<'static, Idle>> {
    let mut idle = briefly(&IDLE)?;
    if idle.process != crate::sync::process::process_id() {
        idle.process = crate::sync::process::process_id();
        // The parent reads with them.
        std::mem::forget(std::mem::take(&mut idle.rings));
    }
    Some(idle)
}

/// A lock that is only ever held for a moment, unless it was held when the process was forked.
pub fn briefly<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for attempt in 0..1000 {
        match lock.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if attempt < 50 => std::hint::spin_loop(),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Says once why there is no ring, if there never will be one.
fn refused(error: &io::Error) {
    let for_now = matches!(error.kind(), ErrorKind::OutOfMemory | ErrorKind::WouldBlock)
        || error.raw_os_error() == Some(TOO_MANY_FILES);
    if !for_now && !REFUSED.swap(true, Ordering::Relaxed) {
        log::info!("no io_uring ({error}): files are read by threads");
    }
}

/// `EMFILE`.
const TOO_MANY_FILES: i32 = 24;
