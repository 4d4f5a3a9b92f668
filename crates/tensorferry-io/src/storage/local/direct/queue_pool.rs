//! A pool of queues: one per reading thread, and a few idle ones.
//!
//! # Rationale
//! A ring costs several system calls and a buffer, so it is reused. A forked child never uses rings
//! of its parent.

use crate::storage::local::direct::queue::{Done, Queue, Read, Shape};
use crate::storage::local::direct::threads::Threads;
use crate::storage::local::direct::uring::ring;
use crate::sync::fork_safe::ForkSafe;
use std::io;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Maximum number of idle rings.
const MOST_IDLE: usize = 4;

static IDLE: ForkSafe<Vec<Box<dyn Queue>>> = ForkSafe::per_process(Vec::new());
/// Whether the kernel or a sandbox rejects rings.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// A queue taken from the pool.
pub(crate) struct PooledQueue {
    queue: Box<dyn Queue>,
    is_ring: bool,
}

/// The threads of one reader, started when there is no ring.
#[derive(Debug)]
pub(crate) struct ReaderThreads(ForkSafe<Threads>);

impl Default for ReaderThreads {
    fn default() -> Self {
        Self(ForkSafe::per_process(Threads::default()))
    }
}

impl PooledQueue {
    /// An idle ring or a new one. If rings are unavailable, a queue of these threads.
    pub(super) fn new(threads: &ReaderThreads, shape: Shape) -> Self {
        let idle = IDLE.lock().pop();
        if let Some(mut queue) = idle {
            queue.cut(shape);
            return Self { queue, is_ring: true };
        }
        if !REFUSED.load(Ordering::Relaxed) {
            match ring(shape) {
                Ok(queue) => return Self { queue, is_ring: true },
                Err(error) => refused(&error),
            }
        }
        Self { queue: Box::new(threads.0.lock().queue(shape)), is_ring: false }
    }

    /// Returns a queue with no read in flight to the pool.
    pub(super) fn give_back(self) {
        if self.is_ring {
            let mut idle = IDLE.lock();
            if idle.len() < MOST_IDLE {
                idle.push(self.queue);
            }
        }
    }

    /// How this queue reads, for the log.
    pub(super) fn means(&self) -> &'static str {
        if self.is_ring { "io_uring" } else { "threads" }
    }
}

impl Queue for PooledQueue {
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

/// Logs once why there is no ring, unless one may become available later.
fn refused(error: &io::Error) {
    let for_now = matches!(error.kind(), ErrorKind::OutOfMemory | ErrorKind::WouldBlock)
        || error.raw_os_error() == Some(TOO_MANY_FILES);
    if !for_now && !REFUSED.swap(true, Ordering::Relaxed) {
        log::info!("no io_uring ({error}): files are read by threads");
    }
}

/// `EMFILE`.
const TOO_MANY_FILES: i32 = 24;
