//! The free blocks of the pool, by size class.

use crate::memory::limits as memory;
use crate::memory::pages;
use crate::memory::pages::HUGE_PAGE;
use crate::sync::fork_safe::BriefLock;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::VecDeque;
use tensorferry_core::ALIGNMENT;

/// Smaller blocks come from the allocator: clearing them costs less than the pool's lock.
pub(super) const POOLED_FROM: usize = 1 << 10;
/// Size classes per power of two.
const STEPS: usize = 8;
const SMALLEST_CLASS_LOG2: u32 = POOLED_FROM.trailing_zeros();
const CLASSES: usize = (usize::BITS - SMALLEST_CLASS_LOG2) as usize * STEPS + 1;
const DEFAULT_LIMIT: usize = 2 << 30;
/// Minimum size to check against the usable memory: the system may promise more than it has.
const WORTH_ASKING: usize = 1 << 30;

/// The size of a pooled block: one of a fixed series, so that blocks of similar size are
/// interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) bytes: usize,
    pub(super) index: usize,
}

impl Class {
    /// The smallest class that holds `len` bytes; `None` if `len` exceeds any memory. `len` must be
    /// at least [`POOLED_FROM`].
    pub(super) fn holding(len: usize) -> Option<Self> {
        if len > isize::MAX.unsigned_abs() / 2 {
            return None;
        }
        let len = len.max(POOLED_FROM);
        // The power of two below `len`. The classes above it are its eighths; 1 KiB and 1 KiB + 1
        // share one.
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

    /// Returns a block to the system.
    ///
    /// # Safety
    /// `create` of this class returned `block`, and it is no longer used.
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

/// A free block: initialised, with old bytes.
#[derive(Debug)]
struct Free {
    block: NonNull<u8>,
    class: Class,
    /// Index of the release. The smallest is the least recently used.
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

/// The free blocks by class, the least recently used first.
pub(super) struct Shelves {
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

    /// Keeps a block, and returns the blocks that exceed the limit.
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

/// Free blocks, and the limit of their bytes.
pub(super) struct Pool {
    pub(super) shelves: BriefLock<Shelves>,
    limit: AtomicUsize,
}

pub(super) static POOL: Pool = Pool::new(UNKNOWN);
/// The limit has not been computed yet.
const UNKNOWN: usize = usize::MAX;

/// Bytes of unused memory that the pool keeps at most.
pub(crate) fn pool_limit() -> usize {
    POOL.limit()
}

impl Pool {
    pub(super) const fn new(limit: usize) -> Self {
        Self { shelves: BriefLock::new(Shelves::new()), limit: AtomicUsize::new(limit) }
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

    /// A block, and whether it is fresh (all zeros).
    pub(super) fn acquire(&self, class: Class) -> Option<(NonNull<u8>, bool)> {
        let recycled = self.shelves.lock().and_then(|mut shelves| shelves.take(class));
        if let Some(free) = recycled {
            return Some((free.block, false));
        }
        if class.bytes >= WORTH_ASKING && class.bytes as u64 > memory::usable() {
            return None;
        }
        let fresh = class.create().or_else(|| {
            // No kept block has this size.
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
    pub(super) unsafe fn release(&self, block: NonNull<u8>, class: Class) {
        let limit = self.limit();
        let evicted = match self.shelves.lock() {
            Some(mut shelves) => shelves.put(block, class, limit),
            None => vec![Free { block, class, released: 0 }],
        };
        // Without the lock, because returning memory can take long.
        evicted.into_iter().for_each(Free::destroy);
    }

    pub(super) fn trim(&self) {
        let mut all = Vec::new();
        if let Some(mut shelves) = self.shelves.lock() {
            for shelf in &mut shelves.classes {
                all.extend(shelf.drain(..));
            }
            shelves.retained = 0;
        }
        all.into_iter().for_each(Free::destroy);
    }

    pub(super) fn retained(&self) -> usize {
        self.shelves.lock().map_or(0, |shelves| shelves.retained)
    }
}

/// Returns all free blocks to the system.
pub fn trim() {
    POOL.trim();
}

/// Bytes of free blocks that are kept for reuse.
#[must_use]
pub fn retained() -> usize {
    POOL.retained()
}
