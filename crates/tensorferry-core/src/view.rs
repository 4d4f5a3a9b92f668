//! Someone else's array, for the time of a borrow: any layout, byte order and alignment.

use crate::{ByteOrder, DType, Element, Error, Index, Layout, Result};
use core::marker::PhantomData;

/// Elements to read. May be strided, reversed, broadcast, byte-swapped and unaligned.
#[derive(Clone, Debug)]
pub struct View<'a> {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    data: *const u8,
    memory: PhantomData<&'a [u8]>,
}

/// Elements to write, in any layout, byte order and alignment; no two indices may name the same
/// byte.
#[derive(Debug)]
pub struct ViewMut<'a> {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    data: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: a View only reads bytes that nobody writes while it lives, like the `&[u8]` it stands
// for.
unsafe impl Send for View<'_> {}
// SAFETY: as for Send.
unsafe impl Sync for View<'_> {}
// SAFETY: a ViewMut is the only way to its bytes while it lives, like the `&mut [u8]` it stands
// for.
unsafe impl Send for ViewMut<'_> {}

fn bytes_of<T: Element>(data: &[T], shape: &[usize]) -> Result<Layout> {
    let layout = Layout::contiguous(shape, size_of::<T>())?;
    if layout.len() == data.len() {
        Ok(layout)
    } else {
        Err(Error::OutOfBounds { start: 0, end: layout.nbytes() as i128, len: size_of_val(data) })
    }
}

impl<'a> View<'a> {
    /// A row-major array over a slice.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] unless the slice has exactly as many elements as the shape; those of
    /// [`Layout::contiguous`].
    pub fn from_slice<T: Element>(data: &'a [T], shape: &[usize]) -> Result<Self> {
        let layout = bytes_of(data, shape)?;
        Ok(Self {
            dtype: T::DTYPE,
            order: ByteOrder::Native,
            layout,
            data: data.as_ptr().cast(),
            memory: PhantomData,
        })
    }

    /// Describes foreign memory. `data` is the address of element `[0, 0, ...]`.
    ///
    /// # Safety
    /// While `'a` lasts, the bytes from `data + layout.span().start` to `data + layout.span().end`
    /// are readable, initialised, in one allocation, and not written. (Of an empty layout nothing
    /// is read, and `data` may be anything.)
    #[must_use]
    pub unsafe fn from_raw(
        dtype: DType,
        order: ByteOrder,
        layout: Layout,
        data: *const u8,
    ) -> Self {
        Self { dtype, order, layout, data, memory: PhantomData }
    }

    /// The elements before position `at` of a dimension, and the rest.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is no such dimension or position.
    pub fn split_at(&self, axis: usize, at: usize) -> Result<(Self, Self)> {
        let shape = self.layout.shape();
        let len = shape.get(axis).copied().unwrap_or(0);
        if at > len || axis >= shape.len() {
            return Err(Error::IndexOutOfRange { index: at.cast_signed(), axis, len });
        }
        let part = |start: usize, len: usize| {
            let whole =
                shape[..axis].iter().map(|&dim| Index::Slice { start: 0, step: 1, len: dim });
            let index: alloc::vec::Vec<Index> =
                whole.chain([Index::Slice { start, step: 1, len }]).collect();
            let (layout, by) = self.layout.index(&index)?;
            // Elements of a view are elements of its parts: what may be read of it may be read of
            // them.
            Ok(Self { layout, data: self.data.wrapping_offset(by), ..*self })
        };
        Ok((part(0, at)?, part(at, len - at)?))
    }

    /// The dtype, byte order aside.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether elements are stored in this machine's byte order.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Shape and strides.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.data
    }
}

impl<'a> ViewMut<'a> {
    /// A row-major array over a slice.
    ///
    /// # Errors
    /// As [`View::from_slice`].
    pub fn from_slice<T: Element>(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        let layout = bytes_of(data, shape)?;
        let data = data.as_mut_ptr().cast();
        Ok(Self { dtype: T::DTYPE, order: ByteOrder::Native, layout, data, memory: PhantomData })
    }

    /// Describes foreign memory. `data` is the address of element `[0, 0, ...]`.
    ///
    /// # Safety
    /// While `'a` lasts, the bytes from `data + layout.span().start` to `data + layout.span().end`
    /// are writable, in one allocation, and reached through nothing else; and no two indices of the
    /// layout name overlapping bytes. (Of an empty layout nothing is written, and `data` may be
    /// anything.)
    #[must_use]
    pub unsafe fn from_raw(dtype: DType, order: ByteOrder, layout: Layout, data: *mut u8) -> Self {
        Self { dtype, order, layout, data, memory: PhantomData }
    }

    /// The dtype, byte order aside.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether elements are stored in this machine's byte order.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Shape and strides.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.data
    }
}

fn packed(dtype: DType, bytes: &[u8], shape: &[usize]) -> Result<Layout> {
    let layout = Layout::contiguous(shape, dtype.size())?;
    if layout.nbytes() == bytes.len() {
        Ok(layout)
    } else {
        Err(Error::OutOfBounds { start: 0, end: layout.nbytes() as i128, len: bytes.len() })
    }
}

/// Bytes and parts.
impl<'a> View<'a> {
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
        let layout = packed(dtype, bytes, shape)?;
        Ok(Self { dtype, order, layout, data: bytes.as_ptr(), memory: PhantomData })
    }

    /// The bytes of all elements, if they lie packed in row-major or column-major order.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if self.layout.is_empty() {
            return Some(&[]);
        }
        let packed = self.layout.is_c_contiguous() || self.layout.is_f_contiguous();
        // SAFETY: packed elements start with `[0, 0, ...]` and fill the layout's span, which
        // `from_raw` and `from_slice` say is readable, initialised and not written during `'a`.
        packed.then(|| unsafe { core::slice::from_raw_parts(self.data, self.layout.nbytes()) })
    }

    /// Whether every bool is stored as 0 or 1, which memory of others does not promise. True of
    /// other dtypes.
    #[must_use]
    pub fn has_normal_bools(&self) -> bool {
        if self.dtype != DType::Bool {
            return true;
        }
        if let Some(bytes) = self.as_bytes() {
            return bytes.iter().fold(0, |all, byte| all | byte) <= 1;
        }
        let rows = self.layout.shape().first().copied().unwrap_or(0).cast_signed();
        (0..rows)
            .all(|row| self.index(&[crate::Index::At(row)]).is_ok_and(|row| row.has_normal_bools()))
    }

    /// `self[index]`.
    ///
    /// # Errors
    /// Those of [`Layout::index`].
    pub fn index(&self, index: &[crate::Index]) -> Result<Self> {
        let (layout, by) = self.layout.index(index)?;
        Ok(Self { layout, data: self.data.wrapping_offset(by), ..*self })
    }
}

/// Bytes.
impl<'a> ViewMut<'a> {
    /// A row-major array over bytes, to be written in this machine's byte order.
    ///
    /// # Errors
    /// As [`View::from_bytes`].
    pub fn from_bytes(dtype: DType, bytes: &'a mut [u8], shape: &[usize]) -> Result<Self> {
        let layout = packed(dtype, bytes, shape)?;
        Ok(Self {
            dtype,
            order: ByteOrder::Native,
            layout,
            data: bytes.as_mut_ptr(),
            memory: PhantomData,
        })
    }
}
