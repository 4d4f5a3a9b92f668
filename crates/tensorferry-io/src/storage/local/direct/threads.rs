//! A [`Queue`] of threads with one read each, for systems without io_uring.
//!
//! # Rationale
//! Threads start when there are more reads than idle threads, and end when their [`Threads`] is
//! dropped. A read in flight owns its buffer, so nothing waits for an abandoned read.

use crate::memory::pool;
use crate::memory::pool::PoolBuffer;
use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::queue::{Done, PAGE, Queue, Read, Shape};
use std::collections::VecDeque;
use std::io;
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum number of threads per reader.
const MOST_THREADS: usize = 32;

/// Threads that several queues share.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signalled for a new job, and when the threads have to end.
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    slot: usize,
    /// Bytes per slot.
    size: usize,
    read: Read,
    memory: Slot,
    ended: Sender<Ended>,
}

#[derive(Debug)]
struct Ended {
    slot: usize,
    memory: Slot,
    result: io::Result<usize>,
}

impl Threads {
    /// A new queue for these threads.
    pub(super) fn queue(&self, shape: Shape) -> ThreadQueue {
        let (sender, ended) = channel();
        ThreadQueue {
            shared: Arc::clone(&self.shared),
            shape,
            slots: slots(shape),
            sender,
            ended,
            in_flight: 0,
        }
    }
}

impl Drop for Threads {
    /// Ends the threads without waiting for them.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job to an idle or a new thread. If no thread can be started and none runs, the
    /// calling thread runs the job.
    fn give(self: &Arc<Self>, job: Job) {
        let mut waiting = self.lock();
        waiting.jobs.push_back(job);
        if waiting.idle >= waiting.jobs.len() || waiting.threads == MOST_THREADS {
            self.more.notify_one();
            return;
        }
        let worker = Arc::clone(self);
        match std::thread::Builder::new().name("tensorferry".into()).spawn(move || worker.work()) {
            Ok(_) => waiting.threads += 1,
            Err(_) if waiting.threads > 0 => self.more.notify_one(),
            Err(_) => {
                let job = waiting.jobs.pop_back();
                drop(waiting);
                if let Some(job) = job {
                    job.run();
                }
            }
        }
    }

    fn work(&self) {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                drop(waiting);
                job.run();
                waiting = self.lock();
            } else if waiting.closed {
                return;
            } else {
                waiting.idle += 1;
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                waiting.idle -= 1;
            }
        }
    }
}

impl Job {
    fn run(self) {
        let Self { slot, size, read, mut memory, ended } = self;
        let result = memory
            .room(size, read.skip, read.len)
            .and_then(|room| read_at(&read.file, room, read.offset));
        // The receiver is gone if the queue was dropped.
        let _unheard = ended.send(Ended { slot, memory, result });
    }
}

#[cfg(unix)]
fn read_at(file: &DirectFile, room: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file.file(), room, offset)
}

#[cfg(windows)]
fn read_at(file: &DirectFile, room: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file.file(), room, offset)
}

/// The memory of a slot, allocated by its first read.
#[derive(Debug)]
struct Slot(Option<PoolBuffer>);

impl Slot {
    /// `size` bytes, aligned to [`PAGE`].
    fn whole(&mut self, size: usize) -> io::Result<&mut [u8]> {
        let memory = match self.0.take() {
            Some(memory) => memory,
            None => pool::take(size + PAGE).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?,
        };
        let bytes = self.0.insert(memory).as_mut_slice();
        let before = bytes.as_ptr().addr().next_multiple_of(PAGE) - bytes.as_ptr().addr();
        bytes.get_mut(before..before + size).ok_or_else(|| ErrorKind::InvalidInput.into())
    }

    fn room(&mut self, size: usize, skip: usize, len: usize) -> io::Result<&mut [u8]> {
        let end = skip.checked_add(len).ok_or(ErrorKind::InvalidInput)?;
        self.whole(size)?.get_mut(skip..end).ok_or_else(|| ErrorKind::InvalidInput.into())
    }
}

fn slots(shape: Shape) -> Vec<Option<Slot>> {
    std::iter::repeat_with(|| Some(Slot(None))).take(shape.slots()).collect()
}

/// Slots that threads read into.
pub(crate) struct ThreadQueue {
    shared: Arc<Shared>,
    shape: Shape,
    /// `None` while a read is in flight.
    slots: Vec<Option<Slot>>,
    ended: Receiver<Ended>,
    sender: Sender<Ended>,
    in_flight: usize,
}

impl Queue for ThreadQueue {
    fn cut(&mut self, shape: Shape) {
        if self.in_flight == 0 {
            self.shape = shape;
            self.slots = slots(shape);
        }
    }

    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()> {
        let free = self.slots.get_mut(slot).and_then(Option::take);
        let Some(memory) = free else { return Err(ErrorKind::InvalidInput.into()) };
        self.shared.give(Job {
            slot,
            size: self.shape.slot(),
            read,
            memory,
            ended: self.sender.clone(),
        });
        self.in_flight += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>> {
        if self.in_flight == 0 {
            return Ok(None);
        }
        let Ok(Ended { slot, memory, result }) = self.ended.recv_timeout(patience) else {
            return Ok(None);
        };
        self.in_flight -= 1;
        self.slots[slot] = Some(memory);
        Ok(Some(Done { slot, result }))
    }

    fn bytes(&mut self, slot: usize) -> &[u8] {
        let memory = self.slots.get_mut(slot).and_then(Option::as_mut);
        memory.and_then(|memory| memory.whole(self.shape.slot()).ok()).map_or(&[], |bytes| bytes)
    }
}
