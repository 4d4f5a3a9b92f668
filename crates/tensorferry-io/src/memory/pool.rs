//! Aligned, recycled memory.
//!
//! # Rationale
//! The hidden cost of a big conversion is first touch: the kernel faults in and clears every page
//! of fresh memory. So a released block is kept and reused with its pages. The smallest blocks come
//! from the allocator, which recycles well itself.
//!
//! # Limitations
//! Blocks are kept by size class (eight to a power of two, so at most an eighth is wasted) and are
//! not split or joined. Free blocks are kept up to `min(usable memory / 8, 2 GiB)`, or the bytes in
//! the environment variable `TENSORFERRY_POOL_BYTES` (read once, 0 keeps none); beyond that the
//! least recently used go back to the system. [`trim`] returns all. A process that was forked while
//! another thread held the pool's lock does not wait for it, and uses fresh memory.

use crate::memory::shelves::{Class, POOL, POOLED_FROM};
use crate::memory::spare;
use core::any::Any;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::sync::Arc;
use tensorferry_core::{ALIGNMENT, Buffer};
use tensorferry_core::{Error, Result};

pub use crate::memory::shelves::{retained, trim};

/// A writable, uniquely owned buffer, aligned to [`ALIGNMENT`]. [`PoolBuffer::freeze`] converts it
/// into a [`Buffer`].
#[derive(Debug)]
pub struct PoolBuffer {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a PoolBuffer is the only way to its bytes.
unsafe impl Send for PoolBuffer {}
// SAFETY: a shared PoolBuffer only hands out shared slices.
unsafe impl Sync for PoolBuffer {}

/// Takes `len` bytes, aligned to [`ALIGNMENT`]. Their contents are unspecified: zeros, or the bytes
/// of an earlier owner.
///
/// ```
/// use tensorferry_io::memory::pool;
///
/// let mut bytes = pool::take(1 << 20)?;
/// bytes.as_mut_slice().fill(7);
/// let buffer = bytes.freeze();
/// assert_eq!(buffer.as_slice()[12], 7);
/// # Ok::<(), tensorferry_io::Error>(())
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

/// Number of bytes of memory that [`take`] uses for `len` bytes.
pub fn footprint(len: usize) -> usize {
    if len < POOLED_FROM { len } else { Class::holding(len).map_or(len, |class| class.bytes) }
}

/// The layout of a block that comes from the allocator.
fn small(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(1), ALIGNMENT).ok()
}

impl PoolBuffer {
    /// The address of the first byte, even of an empty buffer.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, mutably.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `len` initialised bytes (blocks are born zero) that are only reachable through
        // `self`, which is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Converts the buffer into an immutable, shareable one. The block returns to the pool when the
    /// last clone is dropped, on any thread.
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
                // initialised from birth and writing bytes keeps them so; only this buffer reaches
                // them.
                unsafe { POOL.release(self.ptr, class) };
            }
        } else if let Some(layout) = small(self.len) {
            // SAFETY: `take` allocated the block with the layout of the same length.
            unsafe { dealloc(self.ptr.as_ptr(), layout) };
        }
    }
}

/// The header in the [`ALIGNMENT`] bytes before memory of [`allocate`].
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    /// Number of requested bytes including the header. They determine how the block was allocated.
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

    /// Number of bytes of the block after the header.
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
/// The block stores its size, so [`deallocate`] needs none. Without `zeroed` its contents must be
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
                // SAFETY: the block has room for `total` bytes, and has no other user.
                unsafe { block.as_ptr().write_bytes(0, total) };
            }
            block
        })
    };
    let Some(block) = block else { return core::ptr::null_mut() };
    // SAFETY: the block has at least ALIGNMENT bytes, is aligned to as many, and has no other user.
    unsafe { block.as_ptr().cast::<Header>().write(Header { total }) };
    block.as_ptr().wrapping_add(ALIGNMENT)
}

/// Resizes a block to `size` bytes, in place if they fit. Returns null and keeps the old block if
/// there is no memory. A null `ptr` allocates.
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
    // SAFETY: both blocks have at least the copied number of bytes, and they are different blocks.
    unsafe { core::ptr::copy_nonoverlapping(ptr, new, size.min(capacity)) };
    // SAFETY: the caller's promise; the old block is no longer used.
    unsafe { deallocate(ptr) };
    new
}

/// Frees memory that [`allocate`] or [`reallocate`] returned. Ignores null.
///
/// # Safety
/// As for [`reallocate`]; and the memory is no longer used.
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
            // SAFETY: `allocate` made the block with this layout, and it is no longer used.
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
