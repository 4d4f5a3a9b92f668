//! A [`Queue`] of io_uring: many reads in flight without threads.
//!
//! # Rationale
//! The kernel writes into a read's buffer until it reports the end of the read, even if the thread
//! that started it or the ring is gone. So the buffer is freed only when no read is in flight. If
//! reads of a dropped ring do not end soon, because a device hangs, a separate thread waits for
//! them.
//!
//! # Limitations
//! Needs Linux 5.11 or later, and no sandbox that forbids io_uring (containers often do).
//! Otherwise, [`ring`] fails.

use crate::memory::pool;
use crate::memory::pool::PoolBuffer;
use crate::storage::local::direct::queue::{BYTES, DEPTH, Done, PAGE, Queue, Read, Shape};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use std::io;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Maximum wait for reads in flight when a ring is dropped.
const PATIENCE: Duration = Duration::from_millis(50);
/// Fraction of the slots that one system call waits for. Waiting for single reads would cost a call
/// each.
const TOGETHER: usize = 8;

/// A ring of the kernel and its buffer.
struct Uring {
    /// Taken out only by `drop`.
    ring: Option<Ring>,
}

struct Ring {
    ring: IoUring,
    memory: ManuallyDrop<Memory>,
    shape: Shape,
    /// The read in flight in each slot; keeps the file open.
    in_flight: [Option<Read>; DEPTH],
    count: usize,
}

/// A new ring.
///
/// # Errors
/// Errors of the operating system, if it has no io_uring, an old version, or forbids it.
pub(crate) fn ring(shape: Shape) -> io::Result<Box<dyn Queue>> {
    Ok(Box::new(Uring { ring: Some(Ring::new(shape)?) }))
}

impl Queue for Uring {
    fn cut(&mut self, shape: Shape) {
        if let Some(ring) = self.ring.as_mut().filter(|ring| ring.count == 0) {
            ring.shape = shape;
        }
    }

    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()> {
        self.ring
            .as_mut()
            .map_or_else(|| Err(ErrorKind::InvalidInput.into()), |ring| ring.begin(slot, read))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), Ring::flush)
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>> {
        self.ring.as_mut().map_or(Ok(None), |ring| ring.next(patience))
    }

    fn bytes(&mut self, slot: usize) -> &[u8] {
        self.ring.as_ref().map_or(&[], |ring| ring.bytes(slot))
    }
}

impl Ring {
    fn new(shape: Shape) -> io::Result<Self> {
        let entries = u32::try_from(DEPTH).map_err(io::Error::other)?;
        let ring = IoUring::builder().dontfork().build(entries)?;
        let params = ring.params();
        if !(params.is_feature_ext_arg()
            && params.is_feature_nodrop()
            && params.is_feature_submit_stable())
        {
            return Err(ErrorKind::Unsupported.into());
        }
        let memory = ManuallyDrop::new(Memory::new()?);
        Ok(Self { ring, memory, shape, in_flight: [const { None }; DEPTH], count: 0 })
    }

    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()> {
        let inside = read.skip.checked_add(read.len).is_some_and(|end| end <= self.shape.slot())
            && slot < self.shape.slots();
        let (Some(free @ None), true, Ok(len)) =
            (self.in_flight.get_mut(slot), inside, u32::try_from(read.len))
        else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let to = self.memory.slot(self.shape, slot).wrapping_add(read.skip);
        let entry = opcode::Read::new(Fd(read.file.file().as_raw_fd()), to, len)
            .offset(read.offset)
            .build()
            .user_data(slot as u64);
        // SAFETY: the `len` bytes at `to` lie in the slot (`inside`), which is not read or written
        // while it is in `in_flight` (nor does the shape change), and the memory lives until no
        // read is in flight (`Ring::drop`). The file stays open as long.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(io::Error::other)?;
        *free = Some(read);
        self.count += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        ignore_transient(self.ring.submit())
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>> {
        if let Some(done) = self.ended() {
            return Ok(Some(done));
        }
        if self.count == 0 {
            return Ok(None);
        }
        let timeout = Timespec::from(patience);
        let arguments = SubmitArgs::new().timespec(&timeout);
        ignore_transient(
            self.ring
                .submitter()
                .submit_with_args((self.shape.slots() / TOGETHER).min(self.count), &arguments),
        )?;
        Ok(self.ended())
    }

    /// A read that the kernel reports as ended.
    fn ended(&mut self) -> Option<Done> {
        let entry = self.ring.completion().next()?;
        let slot = usize::try_from(entry.user_data()).ok()?;
        self.in_flight.get_mut(slot)?.take()?;
        self.count -= 1;
        let result = usize::try_from(entry.result())
            .map_err(|_| io::Error::from_raw_os_error(entry.result().wrapping_neg()));
        Some(Done { slot, result })
    }

    fn bytes(&self, slot: usize) -> &[u8] {
        match self.in_flight.get(slot) {
            // SAFETY: no read is in flight in the slot, and none begins while `self` is borrowed.
            Some(None) if slot < self.shape.slots() => unsafe {
                self.memory.bytes(self.shape, slot)
            },
            _ => &[],
        }
    }

    /// Waits until no read is in flight, at most until `until`.
    fn drain(&mut self, until: Option<Instant>) {
        while self.count > 0 {
            let now = Instant::now();
            let left = until.map_or(PATIENCE, |until| until.saturating_duration_since(now));
            if left.is_zero() || self.next(left).is_err() {
                return;
            }
        }
    }
}

/// Ignores a timeout, a signal, and a full completion queue.
fn ignore_transient(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if !matches!(
                Errno::from_io_error(&error),
                Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY)
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let Some(mut ring) = self.ring.take() else { return };
        ring.drain(Some(Instant::now() + PATIENCE));
        if ring.count > 0 {
            // A busy disk may also take this long.
            log::info!("{} abandoned reads take long: a thread waits for them", ring.count);
            // If no thread can be started, the closure and its ring are dropped.
            let _thread = std::thread::Builder::new()
                .name("tensorferry".into())
                .spawn(move || ring.drain(None));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.count == 0 {
            // SAFETY: this is the only place that drops it, and it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
        // Otherwise the kernel may still write: the memory is leaked.
    }
}

/// The buffer of all slots. Forked children do not inherit it: a shared page is copied when either
/// process writes to it, and the kernel could then read into the other process's page.
struct Memory {
    /// Taken out only by `drop`.
    pool: Option<PoolBuffer>,
    base: NonNull<u8>,
}

// SAFETY: a Memory is the only way to its bytes.
unsafe impl Send for Memory {}

impl Memory {
    fn new() -> io::Result<Self> {
        let mut pool = pool::take(BYTES).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        let base = NonNull::new(pool.as_mut_ptr()).ok_or(ErrorKind::OutOfMemory)?;
        if !base.as_ptr().addr().is_multiple_of(PAGE) {
            return Err(ErrorKind::Unsupported.into());
        }
        let memory = Self { pool: Some(pool), base };
        memory.advise(Advice::LinuxDontFork)?;
        Ok(memory)
    }

    fn advise(&self, advice: Advice) -> io::Result<()> {
        // SAFETY: whole pages that this Memory owns; their inheritance changes nothing here.
        Ok(unsafe { madvise(self.base.as_ptr().cast(), BYTES, advice) }?)
    }

    /// Address of a slot.
    fn slot(&self, shape: Shape, slot: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(slot % shape.slots() * shape.slot())
    }

    /// The bytes of a slot.
    ///
    /// # Safety
    /// They must not be written to while they are borrowed.
    unsafe fn bytes(&self, shape: Shape, slot: usize) -> &[u8] {
        // SAFETY: a slot's bytes lie in the block (there are `BYTES` in the slots of every shape),
        // which was initialised when it was made and lives as long as `self`; the caller's promise.
        unsafe { std::slice::from_raw_parts(self.slot(shape, slot), shape.slot()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Blocks of the pool must be inheritable, so a block that is not is leaked.
        if self.advise(Advice::LinuxDoFork).is_err() {
            std::mem::forget(self.pool.take());
        }
    }
}
