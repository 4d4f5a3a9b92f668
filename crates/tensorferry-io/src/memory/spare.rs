//! A memory reserve, with which a failed small allocation becomes an error.
//!
//! # Rationale
//! Rust ends the process when a small allocation fails, and a list of a million elements is a
//! million small allocations. Large allocations are fallible. For the rest, [`keep_spare`] reserves
//! a few MiB. When an allocation fails, the reserve goes back to the system and the allocation is
//! retried; the next fallible allocation or cancellation check then fails with
//! [`Error::Allocation`].
//!
//! # Limitations
//! Does not help where the system overcommits memory and kills the process that touches it.

use crate::memory::pages;
use crate::memory::shelves;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};
use tensorferry_core::{Error, Result};

/// Bytes of the reserve.
const SPARE: usize = 2 << 20;
/// Maximum size of an allocation to retry.
const SMALL: usize = 256 << 10;

static RESERVE: Reserve = Reserve::new();

/// The system's allocator with the reserve of [`keep_spare`]. For programs, as their
/// `#[global_allocator]`.
///
/// ```
/// use tensorferry_io::memory::spare::{SpareAllocator, keep_spare};
///
/// #[global_allocator]
/// static ALLOCATOR: SpareAllocator = SpareAllocator;
///
/// keep_spare();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SpareAllocator;

/// Reserves memory for a [`SpareAllocator`]: 2 MiB of address space, which is not touched.
pub fn keep_spare() {
    RESERVE.keep();
}

/// Fails if the reserve was used and cannot be renewed.
///
/// # Errors
/// [`Error::Allocation`].
#[inline]
pub(crate) fn check() -> Result<()> {
    RESERVE.check()
}

/// Reserves space for `more` items in a list.
///
/// # Errors
/// [`Error::Allocation`].
pub fn make_room<T>(list: &mut Vec<T>, more: usize) -> Result<()> {
    check()?;
    let bytes = list.len().saturating_add(more).saturating_mul(size_of::<T>());
    list.try_reserve(more).map_err(|_| Error::Allocation { bytes })
}

/// The layout of [`Reserve::heap`].
fn heap_layout() -> Option<Layout> {
    Layout::from_size_align(SPARE, align_of::<usize>()).ok()
}

/// The reserve of a process.
struct Reserve {
    /// Address space of the system.
    block: AtomicPtr<u8>,
    /// The reserve from the allocator's free memory, if the system has none.
    heap: AtomicPtr<u8>,
    /// Whether the reserve was used.
    low: AtomicBool,
}

impl Reserve {
    const fn new() -> Self {
        Self {
            block: AtomicPtr::new(null_mut()),
            heap: AtomicPtr::new(null_mut()),
            low: AtomicBool::new(false),
        }
    }

    fn keep(&self) {
        if self.block.load(Ordering::Relaxed).is_null()
            && let Some(block) = pages::map(SPARE)
            && self
                .block
                .compare_exchange(null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            // SAFETY: `map` made it just now, and it is nowhere else.
            unsafe { pages::unmap(block, SPARE) };
        }
    }

    #[inline]
    fn check(&self) -> Result<()> {
        if self.low.load(Ordering::Relaxed) { self.recover() } else { Ok(()) }
    }

    #[cold]
    fn recover(&self) -> Result<()> {
        self.keep();
        if self.block.load(Ordering::Relaxed).is_null() {
            shelves::trim();
            self.keep();
        }
        if self.block.load(Ordering::Relaxed).is_null() && !self.keep_from_heap() {
            return Err(Error::Allocation { bytes: SPARE });
        }
        self.low.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Reserves memory from the allocator. Returns false if there is none.
    fn keep_from_heap(&self) -> bool {
        if !self.heap.load(Ordering::Relaxed).is_null() {
            return true;
        }
        let Some(layout) = heap_layout() else { return false };
        // SAFETY: the size is not zero.
        let Some(block) = NonNull::new(unsafe { System.alloc(layout) }) else { return false };
        if self
            .heap
            .compare_exchange(null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: `System` made it just now with this layout, and it is nowhere else.
            unsafe { System.dealloc(block.as_ptr(), layout) };
        }
        true
    }

    /// Returns the reserve to the system. False if there is none.
    fn give_back(&self) -> bool {
        if let (Some(block), Some(layout)) =
            (NonNull::new(self.heap.swap(null_mut(), Ordering::AcqRel)), heap_layout())
        {
            self.low.store(true, Ordering::Relaxed);
            // SAFETY: `System` made it with this layout, and the swap took the only pointer to it.
            unsafe { System.dealloc(block.as_ptr(), layout) };
            return true;
        }
        let Some(block) = NonNull::new(self.block.swap(null_mut(), Ordering::AcqRel)) else {
            return false;
        };
        self.low.store(true, Ordering::Relaxed);
        // SAFETY: `map` made it, and the swap took the only pointer to it.
        unsafe { pages::unmap(block, SPARE) };
        true
    }
}

/// Retries a small allocation after releasing the reserve.
#[cold]
fn again(size: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
    if size > SMALL {
        return null_mut();
    }
    RESERVE.give_back();
    // Retry in any case: another thread may have released the reserve just before.
    allocate()
}

// SAFETY: every call passes its arguments to `System` and returns the result.
unsafe impl GlobalAlloc for SpareAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is `System`'s.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() {
            // SAFETY: as above.
            again(layout.size(), || unsafe { System.alloc(layout) })
        } else {
            block
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is `System`'s.
        let block = unsafe { System.alloc_zeroed(layout) };
        if block.is_null() {
            // SAFETY: as above.
            again(layout.size(), || unsafe { System.alloc_zeroed(layout) })
        } else {
            block
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is `System`'s, which made the block.
        unsafe { System.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is `System`'s, which made the block.
        let moved = unsafe { System.realloc(block, layout, size) };
        if moved.is_null() {
            // SAFETY: as above; after a failure the block is what it was.
            again(size, || unsafe { System.realloc(block, layout, size) })
        } else {
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_given_back_once_and_set_aside_again() {
        // Its own: other tests renew the reserve of the process.
        let reserve = Reserve::new();
        reserve.keep();
        assert!(reserve.give_back());
        assert!(!reserve.give_back());
        assert!(reserve.check().is_ok());
        assert!(reserve.give_back());
        assert!(reserve.keep_from_heap() && reserve.keep_from_heap());
        assert!(reserve.give_back());
        assert!(!reserve.give_back());
        assert!(again(SMALL + 1, || NonNull::dangling().as_ptr()).is_null());
        assert!(!again(SMALL, || NonNull::dangling().as_ptr()).is_null());
        assert!(check().is_ok());
    }
}
