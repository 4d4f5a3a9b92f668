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

static BLOCK: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// The reserve from the allocator's free memory, if the system has none.
static HEAP: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// Whether the reserve was used.
static LOW: AtomicBool = AtomicBool::new(false);

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
    if BLOCK.load(Ordering::Relaxed).is_null()
        && let Some(block) = pages::map(SPARE)
        && BLOCK
            .compare_exchange(null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
    {
        // SAFETY: `map` made it just now, and it is nowhere else.
        unsafe { pages::unmap(block, SPARE) };
    }
}

/// Fails if the reserve was used and cannot be renewed.
///
/// # Errors
/// [`Error::Allocation`].
#[inline]
pub(crate) fn check() -> Result<()> {
    if LOW.load(Ordering::Relaxed) { recover() } else { Ok(()) }
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

#[cold]
fn recover() -> Result<()> {
    keep_spare();
    if BLOCK.load(Ordering::Relaxed).is_null() {
        shelves::trim();
        keep_spare();
    }
    if BLOCK.load(Ordering::Relaxed).is_null() && !keep_from_heap() {
        return Err(Error::Allocation { bytes: SPARE });
    }
    LOW.store(false, Ordering::Relaxed);
    Ok(())
}

/// The layout of [`HEAP`].
fn heap_layout() -> Option<Layout> {
    Layout::from_size_align(SPARE, align_of::<usize>()).ok()
}

/// Reserves memory from the allocator. Returns false if there is none.
fn keep_from_heap() -> bool {
    if !HEAP.load(Ordering::Relaxed).is_null() {
        return true;
    }
    let Some(layout) = heap_layout() else { return false };
    // SAFETY: the size is not zero.
    let Some(block) = NonNull::new(unsafe { System.alloc(layout) }) else { return false };
    if HEAP
        .compare_exchange(null_mut(), block.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        // SAFETY: `System` made it just now with this layout, and it is nowhere else.
        unsafe { System.dealloc(block.as_ptr(), layout) };
    }
    true
}

/// Returns the reserve to the system. False if there is none.
fn give_back() -> bool {
    if let (Some(block), Some(layout)) =
        (NonNull::new(HEAP.swap(null_mut(), Ordering::AcqRel)), heap_layout())
    {
        LOW.store(true, Ordering::Relaxed);
        // SAFETY: `System` made it with this layout, and the swap took the only pointer to it.
        unsafe { System.dealloc(block.as_ptr(), layout) };
        return true;
    }
    let Some(block) = NonNull::new(BLOCK.swap(null_mut(), Ordering::AcqRel)) else { return false };
    LOW.store(true, Ordering::Relaxed);
    // SAFETY: `map` made it, and the swap took the only pointer to it.
    unsafe { pages::unmap(block, SPARE) };
    true
}

/// Retries a small allocation after releasing the reserve.
#[cold]
fn again(size: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
    if size > SMALL {
        return null_mut();
    }
    give_back();
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
        keep_spare();
        assert!(give_back());
        assert!(!give_back());
        assert!(check().is_ok());
        assert!(give_back());
        assert!(keep_from_heap() && keep_from_heap());
        assert!(give_back());
        assert!(!give_back());
        assert!(again(SMALL + 1, || NonNull::dangling().as_ptr()).is_null());
        assert!(!again(SMALL, || NonNull::dangling().as_ptr()).is_null());
        assert!(check().is_ok());
    }
}
