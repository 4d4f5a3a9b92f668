//! [`Buffer`] and [`BufferMut`]: memory and the owner that keeps it alive.

use crate::{Error, Result};
use alloc::alloc::{Layout as Block, alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::ptr::NonNull;

/// The alignment of every allocation, in bytes.
///
/// TensorFlow aborts the process if foreign memory of a tensor is aligned to less (`Check failed:
/// IsAligned()`).
pub const ALIGNMENT: usize = 64;

/// Immutable bytes and the owner that keeps them alive. Clones share both.
#[derive(Clone)]
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: a Buffer only reads its bytes, which are not written by the contract of `from_raw_parts`,
// and its owner is Send + Sync, so a Buffer may be used and dropped on any thread.
unsafe impl Send for Buffer {}
// SAFETY: as for Send: shared reads of bytes that are not written.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The bytes of a value that owns them: a `Vec<u8>`, a memory map, `bytes::Bytes`.
    ///
    /// Calls `as_ref` once.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let owner = Arc::new(owner);
        let bytes: &[u8] = (*owner).as_ref();
        let (ptr, len) = (NonNull::from(bytes).cast(), bytes.len());
        Self { ptr, len, owner }
    }

    /// The elements of a vector, without a copy.
    #[must_use]
    pub fn from_vec<T: crate::Element>(elements: alloc::vec::Vec<T>) -> Self {
        let (ptr, len) =
            (NonNull::from(elements.as_slice()).cast(), size_of_val(elements.as_slice()));
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(elements);
        // SAFETY: moving a Vec does not move its elements, which are initialised and have no
        // padding (Element is sealed: numbers and pairs of numbers). The Vec lives in `owner`, out
        // of reach of writers.
        unsafe { Self::from_raw_parts(ptr, len, owner) }
    }

    /// Describes memory that `owner` keeps alive.
    ///
    /// # Safety
    /// The `len` bytes at `ptr` are readable and initialised, stay where they are, and are not
    /// written, until `owner` is dropped.
    #[must_use]
    pub unsafe fn from_raw_parts(
        ptr: NonNull<u8>,
        len: usize,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { ptr, len, owner }
    }

    /// The first byte.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `ptr` and `len` describe initialised bytes that are not written and live as long
        // as `owner`, which `self` holds.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The owner that keeps the bytes alive.
    #[must_use]
    pub fn owner(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.owner
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes at {:p})", self.len, self.ptr)
    }
}

/// Freshly allocated bytes that one owner may write, aligned to [`ALIGNMENT`].
/// [`BufferMut::freeze`] makes them a [`Buffer`].
pub struct BufferMut {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a BufferMut has exclusive access to its bytes.
unsafe impl Send for BufferMut {}
// SAFETY: a shared BufferMut only gives out shared slices.
unsafe impl Sync for BufferMut {}

impl BufferMut {
    /// `len` zero bytes.
    ///
    /// # Errors
    /// [`Error::Allocation`].
    pub fn zeroed(len: usize) -> Result<Self> {
        let block = Self::block(len).ok_or(Error::Allocation { bytes: len })?;
        // SAFETY: `block` is at least ALIGNMENT bytes, so not of size zero.
        let ptr = unsafe { alloc_zeroed(block) };
        let ptr = NonNull::new(ptr).ok_or(Error::Allocation { bytes: len })?;
        Ok(Self { ptr, len })
    }

    fn block(len: usize) -> Option<Block> {
        Block::from_size_align(len.max(ALIGNMENT), ALIGNMENT).ok()
    }

    /// The bytes, to read.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes were allocated and zeroed at `ptr` and are reachable only through
        // `self`.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// The same bytes, immutable and shareable.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        let (ptr, len) = (self.ptr, self.len);
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(self);
        // SAFETY: the bytes live until the BufferMut is dropped, which the owner now holds out of
        // reach of writers.
        unsafe { Buffer::from_raw_parts(ptr, len, owner) }
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferMut({} bytes at {:p})", self.len, self.ptr)
    }
}

impl Drop for BufferMut {
    fn drop(&mut self) {
        if let Some(block) = Self::block(self.len) {
            // SAFETY: `zeroed` allocated `ptr` with this same block, and nothing else frees it.
            unsafe { dealloc(self.ptr.as_ptr(), block) };
        }
    }
}
