//! Memory and what keeps it alive: the one place that owns it.

use crate::{Error, Result};
use alloc::alloc::{Layout as Block, alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::ptr::NonNull;

/// Bytes to which every allocation here is aligned.
///
/// TensorFlow aborts the process when a tensor made from foreign memory is aligned to less (`Check
/// failed: IsAligned()`).
pub const ALIGNMENT: usize = 64;

/// Immutable bytes and the owner that keeps them alive. Cloning shares.
#[derive(Clone)]
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the bytes are only read through a Buffer (`from_raw_parts` makes its caller promise that
// nobody writes them), and the owner is Send + Sync by its bound, so a Buffer may be used and
// dropped on any thread.
unsafe impl Send for Buffer {}
// SAFETY: as for Send: shared reads of bytes that nobody writes.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes the bytes of a value that owns them: a `Vec<u8>`, a memory map, `bytes::Bytes`.
    ///
    /// `as_ref` is called once.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let owner = Arc::new(owner);
        let bytes: &[u8] = (*owner).as_ref();
        let (ptr, len) = (NonNull::from(bytes).cast(), bytes.len());
        Self { ptr, len, owner }
    }

    /// Takes the elements of a vector, without a copy.
    #[must_use]
    pub fn from_vec<T: crate::Element>(elements: alloc::vec::Vec<T>) -> Self {
        let (ptr, len) =
            (NonNull::from(elements.as_slice()).cast(), size_of_val(elements.as_slice()));
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(elements);
        // SAFETY: moving a Vec does not move its elements, which are initialised and have no
        // padding (Element is sealed: numbers and pairs of numbers); nobody can reach the Vec to
        // write them, and it lives in `owner`.
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

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `ptr` and `len` describe initialised bytes that live as long as `owner`, which
        // `self` holds, and that nobody writes.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// What keeps the bytes alive.
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

/// Freshly allocated bytes, aligned to [`ALIGNMENT`], that one owner may write;
/// [`BufferMut::freeze`] makes them a [`Buffer`].
pub struct BufferMut {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a BufferMut is the only way to its bytes.
unsafe impl Send for BufferMut {}
// SAFETY: a shared BufferMut only hands out shared slices.
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
        // SAFETY: `len` bytes were allocated and zeroed at `ptr` and are only reachable through
        // `self`.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Ends writing: the same bytes, immutable and shareable.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        let (ptr, len) = (self.ptr, self.len);
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(self);
        // SAFETY: the bytes live until the BufferMut, now the owner, is dropped, and it is out of
        // reach for writing.
        unsafe { Buffer::from_raw_parts(ptr, len, owner) }
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
