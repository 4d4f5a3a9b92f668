//! [`View`] and [`ViewMut`]: borrowed arrays in any layout, byte order and alignment.

use crate::accessors::accessors;
use crate::{ByteOrder, DType, Element, Error, Index, Layout, Result};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A borrowed array to read. It may be strided, reversed, broadcast, byte-swapped and unaligned.
#[derive(Clone, Debug)]
pub struct View<'a> {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    data: *const u8,
    memory: PhantomData<&'a [u8]>,
}

/// A borrowed array to write, in any layout, byte order and alignment. No two indices may name the
/// same byte.
#[derive(Debug)]
pub struct ViewMut<'a> {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    data: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: a View only reads bytes that are not written while it lives, like the `&[u8]` it stands
// for.
unsafe impl Send for View<'_> {}
// SAFETY: as for Send.
unsafe impl Sync for View<'_> {}
// SAFETY: a ViewMut has exclusive access to its bytes while it lives, like the `&mut [u8]` it
// stands for.
unsafe impl Send for ViewMut<'_> {}

/// The row-major layout of elements that fill `len` bytes exactly.
fn filled(shape: &[usize], itemsize: usize, len: usize) -> Result<Layout> {
    let layout = Layout::contiguous(shape, itemsize)?;
    if layout.nbytes() == len {
        Ok(layout)
    } else {
        Err(Error::OutOfBounds { start: 0, end: layout.nbytes() as i128, len })
    }
}

impl<'a> View<'a> {
    accessors!();

    /// A row-major array over a slice.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] unless the slice has exactly as many elements as the shape; those of
    /// [`Layout::contiguous`].
    pub fn from_slice<T: Element>(data: &'a [T], shape: &[usize]) -> Result<Self> {
        let layout = filled(shape, size_of::<T>(), size_of_val(data))?;
        let data = data.as_ptr().cast();
        Ok(Self { dtype: T::DTYPE, order: ByteOrder::Native, layout, data, memory: PhantomData })
    }

    /// A row-major array over bytes.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] unless there are exactly as many bytes as the elements need; those of
    /// [`Layout::contiguous`].
    pub fn from_bytes(
        dtype: DType,
        order: ByteOrder,
        bytes: &'a [u8],
        shape: &[usize],
    ) -> Result<Self> {
        let layout = filled(shape, dtype.size(), bytes.len())?;
        Ok(Self { dtype, order, layout, data: bytes.as_ptr(), memory: PhantomData })
    }

    /// Describes foreign memory. `data` is the address of element `[0, 0, ...]`.
    ///
    /// # Safety
    /// During `'a`, the bytes from `data + layout.span().start` to `data + layout.span().end` are
    /// readable, initialised, in one allocation, and not written. (If the layout is empty, nothing
    /// is read, and `data` may be any address.)
    #[must_use]
    pub unsafe fn from_raw(
        dtype: DType,
        order: ByteOrder,
        layout: Layout,
        data: *const u8,
    ) -> Self {
        Self { dtype, order, layout, data, memory: PhantomData }
    }

    /// The address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.data
    }

    /// The bytes of all elements, or `None` if they are packed neither in row-major nor in
    /// column-major order.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if self.layout.is_empty() {
            return Some(&[]);
        }
        let packed = self.layout.is_c_contiguous() || self.layout.is_f_contiguous();
        // SAFETY: packed elements start with `[0, 0, ...]` and fill the layout's span, which the
        // constructors' contracts make readable, initialised and not written during `'a`.
        packed.then(|| unsafe { core::slice::from_raw_parts(self.data, self.layout.nbytes()) })
    }

    /// Whether every bool is stored as 0 or 1, which foreign memory does not guarantee. True for
    /// other dtypes.
    #[must_use]
    pub fn has_normal_bools(&self) -> bool {
        if self.dtype != DType::Bool {
            return true;
        }
        if let Some(bytes) = self.as_bytes() {
            return bytes.iter().fold(0, |all, byte| all | byte) <= 1;
        }
        // SAFETY: the byte of an element, which is in the layout's span: readable and initialised.
        let byte = |offset| unsafe { self.data.wrapping_offset(offset).read() };
        self.layout.offsets().all(|offset| byte(offset) <= 1)
    }

    /// `self[index]`.
    ///
    /// # Errors
    /// Those of [`Layout::index`].
    pub fn index(&self, index: &[Index]) -> Result<Self> {
        let (layout, offset) = self.layout.index(index)?;
        // The elements of the result are elements of `self`, so they are readable as those are.
        Ok(Self { layout, data: self.data.wrapping_offset(offset), ..*self })
    }

    /// The elements before position `at` of dimension `axis`, and the rest.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is no such dimension or position.
    pub fn split_at(&self, axis: usize, at: usize) -> Result<(Self, Self)> {
        let shape = self.layout.shape();
        let len = shape.get(axis).copied().unwrap_or(0);
        if at > len || axis >= shape.len() {
            return Err(Error::IndexOutOfRange { index: at.cast_signed(), axis, len });
        }
        let slice = |start, len| Index::Slice { start, step: 1, len };
        let part = |start, len| {
            let outer = shape[..axis].iter().map(|&dim| slice(0, dim));
            self.index(&outer.chain([slice(start, len)]).collect::<Vec<_>>())
        };
        Ok((part(0, at)?, part(at, len - at)?))
    }
}

impl<'a> ViewMut<'a> {
    accessors!();

    /// A row-major array over a slice.
    ///
    /// # Errors
    /// As [`View::from_slice`].
    pub fn from_slice<T: Element>(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        let layout = filled(shape, size_of::<T>(), size_of_val(data))?;
        let data = data.as_mut_ptr().cast();
        Ok(Self { dtype: T::DTYPE, order: ByteOrder::Native, layout, data, memory: PhantomData })
    }

    /// A row-major array over bytes, to be written in this machine's byte order.
    ///
    /// # Errors
    /// As [`View::from_bytes`].
    pub fn from_bytes(dtype: DType, bytes: &'a mut [u8], shape: &[usize]) -> Result<Self> {
        let layout = filled(shape, dtype.size(), bytes.len())?;
        let data = bytes.as_mut_ptr();
        Ok(Self { dtype, order: ByteOrder::Native, layout, data, memory: PhantomData })
    }

    /// Describes foreign memory. `data` is the address of element `[0, 0, ...]`.
    ///
    /// # Safety
    /// During `'a`, the bytes from `data + layout.span().start` to `data + layout.span().end` are
    /// writable, in one allocation, and accessed only through the result; and no two indices of the
    /// layout name overlapping bytes. (If the layout is empty, nothing is written, and `data` may
    /// be any address.)
    #[must_use]
    pub unsafe fn from_raw(dtype: DType, order: ByteOrder, layout: Layout, data: *mut u8) -> Self {
        Self { dtype, order, layout, data, memory: PhantomData }
    }

    /// The address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.data
    }
}
