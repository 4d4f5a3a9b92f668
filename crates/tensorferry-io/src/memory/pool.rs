//! Aligned, recycled memory.
//!
//! # Rationale
//! The hidden cost of a big conversion is first touch: the kernel faults in and clears every page
//! of fresh memory. A block that comes back is kept and handed out again, its pages still there.
//! The smallest blocks come from the allocator, which recycles well itself.
//!
//! # Limitations
//! Blocks are kept by size class (eight to a power of two, so at most an eighth is wasted) and are
//! not split or joined. Free blocks are kept up to `min(memory that the process may use / 8, 2
//! GiB)`, or the bytes that the environment variable `TENSORFERRY_POOL_BYTES` says (read once, 0
//! keeps none); beyond that the longest unused are given back to the system. [`trim`] gives back
//! all. A process forked while another thread held the pool's lock never waits for it: it goes on
//! with fresh memory.

use crate::error::{Error, Result};
use crate::memory::limits as memory;
use crate::memory::pages;
use crate::memory::pages::HUGE_PAGE;
use crate::memory::spare;
use core::any::Any;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use tensorferry_core::{ALIGNMENT, Buffer};

/// Smaller blocks are left to the allocator: clearing them costs less than the pool's lock.
const POOLED_FROM: usize = 1 << 10;
/// Size classes to a power of two.
const STEPS: usize = 8;
const SMALLEST_CLASS_LOG2: u32 = POOLED_FROM.trailing_zeros();
const CLASSES: usize = (usize::BITS - SMALLEST_CLASS_LOG2) as usize * STEPS + 1;
const DEFAULT_LIMIT: usize = 2 << 30;
/// From so many bytes on it is asked whether the process may use them: the system may promise more
/// than it has.
const WORTH_ASKING: usize = 1 << 30;

/// A pooled block's size: one of a fixed series, so that blocks of about the same size are
/// interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    bytes: usize,
    index: usize,
}

impl Class {
    /// The smallest class that holds `len` bytes; `None` if `len` is past any memory. Asks for `len
    /// >= POOLED_FROM`.
    fn holding(len: usize) -> Option<Self> {
        if len > isize::MAX.unsigned_abs() / 2 {
            return None;
        }
        let len = len.max(POOLED_FROM);
        // The power of two below `len`: 1 KiB and 1 KiB + 1 have the same one, the classes above it
        // are its eighths.
        let log2 = (len - 1).ilog2().max(SMALLEST_CLASS_LOG2);
        let step = (1 << log2) / STEPS;
        let steps = len.saturating_sub(1 << log2).div_ceil(step);
        Some(Self {
            bytes: (1 << log2) + steps * step,
            index: (log2 - SMALLEST_CLASS_LOG2) as usize * STEPS + steps,
        })
    }

    fn is_mapped(self) -> bool {
        self.bytes >= HUGE_PAGE
    }

    /// A new block of zeros.
    fn create(self) -> Option<NonNull<u8>> {
        if self.is_mapped() {
            return pages::map(self.bytes);
        }
        let block = Layout::from_size_align(self.bytes, ALIGNMENT).ok()?;
        // SAFETY: the size of a class is not zero.
        NonNull::new(unsafe { alloc_zeroed(block) })
    }

    /// Gives a block back to the system.
    ///
    /// # Safety
    /// `create` of this class returned `block`, and nothing uses it any more.
    unsafe fn destroy(self, block: NonNull<u8>) {
        if self.is_mapped() {
            // SAFETY: the caller's promise: `map` made it with this size.
            unsafe { pages::unmap(block, self.bytes) };
        } else if let Ok(layout) = Layout::from_size_align(self.bytes, ALIGNMENT) {
            // SAFETY: the caller's promise: `alloc_zeroed` made it with this layout.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
    }
}

/// A block that nobody uses: initialised, though with old bytes.
#[derive(Debug)]
struct Free {
    block: NonNull<u8>,
    class: Class,
    /// Counts releases: the smallest is the longest unused.
    released: u64,
}

// SAFETY: a Free is the only way to its block.
unsafe impl Send for Free {}

impl Free {
    fn destroy(self) {
        // SAFETY: `create` of this class made the block, and a Free is the only way to it.
        unsafe { self.class.destroy(self.block) };
    }
}

/// The free blocks, by class; in each the longest unused stands first.
struct Shelves {
    classes: [VecDeque<Free>; CLASSES],
    retained: usize,
    releases: u64,
}

impl Shelves {
    const fn new() -> Self {
        Self { classes: [const { VecDeque::new() }; CLASSES], retained: 0, releases: 0 }
    }

    fn take(&mut self, class: Class) -> Option<Free> {
        let free = self.classes.get_mut(class.index)?.pop_back()?;
        self.retained -= class.bytes;
        Some(free)
    }

    /// Keeps a block, and returns those that no longer fit under the limit.
    fn put(&mut self, block: NonNull<u8>, class: Class, limit: usize) -> Vec<Free> {
        let mut evicted = Vec::new();
        let free = Free { block, class, released: self.releases };
        if class.bytes > limit {
            evicted.push(free);
            return evicted;
        }
        self.releases += 1;
        while self.retained + class.bytes > limit {
            let Some(oldest) = self.take_oldest() else { break };
            evicted.push(oldest);
        }
        match self.classes.get_mut(class.index) {
            Some(shelf) => {
                shelf.push_back(free);
                self.retained += class.bytes;
            }
            None => evicted.push(free),
        }
        evicted
    }

    fn take_oldest(&mut self) -> Option<Free> {
        let shelf = self
            .classes
            .iter_mut()
            .filter(|shelf| !shelf.is_empty())
            .min_by_key(|shelf| shelf.front().map(|f| f.released))?;
        let free = shelf.pop_front()?;
        self.retained -= free.class.bytes;
        Some(free)
    }
}

/// Free blocks and how many bytes of them are kept.
struct Pool {
    shelves: Mutex<Shelves>,
    limit: AtomicUsize,
    /// The lock was waited for in vain: it is no longer waited for, only tried.
    abandoned: AtomicBool,
}

static POOL: Pool = Pool::new(UNKNOWN);
/// No limit has been worked out yet.
const UNKNOWN: usize = usize::MAX;

impl Pool {
    const fn new(limit: usize) -> Self {
        Self {
            shelves: Mutex::new(Shelves::new()),
            limit: AtomicUsize::new(limit),
            abandoned: AtomicBool::new(false),
        }
    }

    /// The lock, unless somebody holds it for far longer than anybody here does: then it was held
    /// while this process was forked.
    fn lock(&self) -> Option<MutexGuard<'_, Shelves>> {
        let attempts = if self.abandoned.load(Ordering::Relaxed) { 1 } else { 200 };
        for attempt in 0..attempts {
            match self.shelves.try_lock() {
                Err(TryLockError::WouldBlock) if attempt < 50 => core::hint::spin_loop(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Ok(shelves) => {
                    self.abandoned.store(false, Ordering::Relaxed);
                    return Some(shelves);
                }
            }
        }
        self.abandoned.store(true, Ordering::Relaxed);
        None
    }

    fn limit(&self) -> usize {
        let known = self.limit.load(Ordering::Relaxed);
        if known != UNKNOWN {
            return known;
        }
        let asked = std::env::var("TENSORFERRY_POOL_BYTES")
            .ok()
            .and_then(|bytes| bytes.trim().parse().ok());
        let limit = asked
            .unwrap_or_else(|| {
                DEFAULT_LIMIT.min(usize::try_from(memory::usable() / 8).unwrap_or(usize::MAX))
            })
            .min(UNKNOWN - 1);
        self.limit.store(limit, Ordering::Relaxed);
        limit
    }

    /// A block, and whether it is fresh, that is, zero.
    fn acquire(&self, class: Class) -> Option<(NonNull<u8>, bool)> {
        let recycled = self.lock().and_then(|mut shelves| shelves.take(class));
        if let Some(free) = recycled {
            return Some((free.block, false));
        }
        if class.bytes >= WORTH_ASKING && class.bytes as u64 > memory::usable() {
            return None;
        }
        let fresh = class.create().or_else(|| {
            // What is kept for reuse is of other sizes.
            self.trim();
            class.create()
        });
        Some((fresh?, true))
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `acquire` of this class returned `block`, all of whose bytes are initialised, and nothing
    /// uses it any more.
    unsafe fn release(&self, block: NonNull<u8>, class: Class) {
        let limit = self.limit();
        let evicted = match self.lock() {
            Some(mut shelves) => shelves.put(block, class, limit),
            None => vec![Free { block, class, released: 0 }],
        };
        // The lock is no longer held: giving memory back can take long.
        evicted.into_iter().for_each(Free::destroy);
    }

    fn trim(&self) {
        let mut all = Vec::new();
        if let Some(mut shelves) = self.lock() {
            for shelf in &mut shelves.classes {
                all.extend(shelf.drain(..));
            }
            shelves.retained = 0;
        }
        all.into_iter().for_each(Free::destroy);
    }

    fn retained(&self) -> usize {
        self.lock().map_or(0, |shelves| shelves.retained)
    }
}

/// Gives all free blocks back to the system.
pub fn trim() {
    POOL.trim();
}

/// Bytes of free blocks that are kept for reuse.
#[must_use]
pub fn retained() -> usize {
    POOL.retained()
}

/// Writable bytes, aligned to [`ALIGNMENT`], that one owner may write; [`PoolBuffer::freeze`] makes
/// them a [`Buffer`].
#[derive(Debug)]
pub struct PoolBuffer {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a PoolBuffer is the only way to its bytes.
unsafe impl Send for PoolBuffer {}
// SAFETY: a shared PoolBuffer only hands out shared slices.
unsafe impl Sync for PoolBuffer {}

/// `len` bytes, aligned to [`ALIGNMENT`]. What they hold is unspecified: zeros, or what an earlier
/// owner left.
///
/// ```
/// use tensorferry_io::memory::pool;
///
/// let mut bytes = pool::take(1 << 20)?;
/// bytes.as_mut_slice().fill(7);
/// let buffer = bytes.freeze();
/// assert_eq!(buffer.as_slice()[12], 7);
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Allocation`].
pub fn take(len: usize) -> Result<PoolBuffer> {
    spare::check()?;
    let ptr = match len {
        ..POOLED_FROM => small(len).and_then(|layout| {
            // SAFETY: `small` never returns a layout of size zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        }),
        _ => Class::holding(len).and_then(|class| POOL.acquire(class)).map(|(block, _fresh)| block),
    };
    ptr.map(|ptr| PoolBuffer { ptr, len }).ok_or(Error::Allocation { bytes: len })
}

/// Bytes of memory that [`take`] of so many bytes uses.
pub fn footprint(len: usize) -> usize {
    if len < POOLED_FROM { len } else { Class::holding(len).map_or(len, |class| class.bytes) }
}

/// The layout of a block left to the allocator.
fn small(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(1), ALIGNMENT).ok()
}

impl PoolBuffer {
    /// The first byte. A zero-length buffer has an address too.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, to write.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `len` initialised bytes (blocks are born zero) that are only reachable through
        // `self`, which is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Ends writing: the same bytes, immutable and shareable. The block goes back to the pool when
    /// the last clone drops, on whatever thread that is.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        let (ptr, len) = (self.ptr, self.len);
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(self);
        // SAFETY: the bytes live until the PoolBuffer, now the owner, is dropped, and it is out of
        // reach for writing.
        unsafe { Buffer::from_raw_parts(ptr, len, owner) }
    }
}

impl Drop for PoolBuffer {
    fn drop(&mut self) {
        if self.len >= POOLED_FROM {
            if let Some(class) = Class::holding(self.len) {
                // SAFETY: `take` acquired the block with the class of the same length; blocks are
                // initialised from birth and writing bytes keeps them so; nobody else reaches them.
                unsafe { POOL.release(self.ptr, class) };
            }
        } else if let Some(layout) = small(self.len) {
            // SAFETY: `take` allocated the block with the layout of the same length.
            unsafe { dealloc(self.ptr.as_ptr(), layout) };
        }
    }
}

/// What stands in the [`ALIGNMENT`] bytes before memory that [`allocate`] returned.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    /// Bytes asked for, header included: tells how the block was made and what it holds.
    total: usize,
}

impl Header {
    /// # Safety
    /// `allocate` or `reallocate` returned `ptr`, and it was not deallocated.
    unsafe fn of(ptr: *mut u8) -> Self {
        let header = ptr.wrapping_sub(ALIGNMENT).cast::<Self>();
        // SAFETY: `allocate` wrote a header there, aligned to ALIGNMENT; the block is still
        // allocated.
        unsafe { header.read() }
    }

    /// How many bytes after the header the block has.
    fn capacity(self) -> usize {
        let block = if self.total < POOLED_FROM {
            self.total
        } else {
            Class::holding(self.total).map_or(self.total, |c| c.bytes)
        };
        block - ALIGNMENT
    }
}

/// `size` bytes, aligned to [`ALIGNMENT`], for a foreign owner such as a NumPy memory handler (NEP
/// 49); null if there is no memory.
///
/// The block remembers its size: [`deallocate`] needs none. Without `zeroed` its contents must be
/// written before they are read.
#[must_use]
pub fn allocate(size: usize, zeroed: bool) -> *mut u8 {
    let Some(total) = size.checked_add(ALIGNMENT) else { return core::ptr::null_mut() };
    let block = if total < POOLED_FROM {
        small(total).and_then(|layout| {
            NonNull::new(if zeroed {
                // SAFETY: `total` is at least ALIGNMENT.
                unsafe { alloc_zeroed(layout) }
            } else {
                // SAFETY: as above.
                unsafe { alloc(layout) }
            })
        })
    } else {
        Class::holding(total).and_then(|class| POOL.acquire(class)).map(|(block, fresh)| {
            if zeroed && !fresh {
                // SAFETY: the block has room for `total` bytes, and is ours alone.
                unsafe { block.as_ptr().write_bytes(0, total) };
            }
            block
        })
    };
    let Some(block) = block else { return core::ptr::null_mut() };
    // SAFETY: the block has at least ALIGNMENT bytes, is aligned to as many, and is ours alone.
    unsafe { block.as_ptr().cast::<Header>().write(Header { total }) };
    block.as_ptr().wrapping_add(ALIGNMENT)
}

/// The same bytes in a block of `size` bytes, at the same place if they fit there; null, and the
/// old block untouched, if there is no memory. A null `ptr` allocates.
///
/// # Safety
/// `ptr` is null, or [`allocate`] or `reallocate` returned it and it was neither deallocated nor
/// reallocated since.
#[must_use]
pub unsafe fn reallocate(ptr: *mut u8, size: usize) -> *mut u8 {
    if ptr.is_null() {
        return allocate(size, false);
    }
    // SAFETY: the caller's promise.
    let header = unsafe { Header::of(ptr) };
    let capacity = header.capacity();
    if size <= capacity && size >= capacity / 2 {
        return ptr;
    }
    let new = allocate(size, false);
    if new.is_null() {
        return new;
    }
    // SAFETY: both blocks have at least so many bytes, and they are different blocks.
    unsafe { core::ptr::copy_nonoverlapping(ptr, new, size.min(capacity)) };
    // SAFETY: the caller's promise; the old block is no longer used.
    unsafe { deallocate(ptr) };
    new
}

/// Takes back memory that [`allocate`] or [`reallocate`] returned. Null is ignored.
///
/// # Safety
/// As for [`reallocate`]; and nothing uses the memory any more.
pub unsafe fn deallocate(ptr: *mut u8) {
    let Some(block) =
        NonNull::new(ptr).and_then(|ptr| NonNull::new(ptr.as_ptr().wrapping_sub(ALIGNMENT)))
    else {
        return;
    };
    // SAFETY: the caller's promise.
    let Header { total } = unsafe { Header::of(ptr) };
    if total < POOLED_FROM {
        if let Some(layout) = small(total) {
            // SAFETY: `allocate` made the block with this layout, and nothing uses it any more.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
    } else if let Some(class) = Class::holding(total) {
        // SAFETY: `allocate` acquired the block with this class; pooled blocks are initialised from
        // birth.
        unsafe { POOL.release(block, class) };
    }
}

#[cfg(test)]
mod tests;
