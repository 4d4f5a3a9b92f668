//! [`Tensor`]: an immutable array that keeps its memory alive, and [`TensorView`], its elements.

use crate::accessors::accessors;
use crate::{Buffer, ByteOrder, DType, Element, Error, Index, Layout, Result, View};
use core::marker::PhantomData;

/// A dtype, a byte order, a layout and the memory. Immutable; clones and slices share the memory.
///
/// Only tensors over foreign files are ever in the other byte order.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    buffer: Buffer,
    /// The byte of the buffer at which element `[0, 0, ...]` starts.
    offset: usize,
}

impl Tensor {
    accessors!();

    /// An array in `buffer`, whose element `[0, 0, ...]` starts at byte `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if an element reaches outside the buffer; [`Error::SizeOverflow`] if
    /// the layout's item size is not the dtype's.
    pub fn new(
        dtype: DType,
        order: ByteOrder,
        layout: Layout,
        buffer: Buffer,
        offset: usize,
    ) -> Result<Self> {
        if layout.itemsize() != dtype.size() {
            return Err(Error::SizeOverflow {
                shape: layout.shape().into(),
                itemsize: layout.itemsize(),
            });
        }
        let (span, at, len) = (layout.span(), offset as i128, buffer.len());
        let (start, end) = (at + span.start as i128, at + span.end as i128);
        if start < 0 || end > len as i128 {
            return Err(Error::OutOfBounds { start, end, len });
        }
        Ok(Self { dtype, order: order.of(dtype), layout, buffer, offset })
    }

    /// A row-major tensor that takes the elements of a vector, without a copy.
    ///
    /// ```
    /// # use tensorferry_core::Tensor;
    /// let tensor = Tensor::from_vec(vec![1_i32, 2, 3, 4, 5, 6], &[2, 3])?;
    /// assert_eq!(tensor.view::<i32>()?.get(&[1, 0]), Some(4));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] unless the vector has exactly as many elements as the shape; those of
    /// [`Layout::contiguous`].
    pub fn from_vec<T: Element>(data: alloc::vec::Vec<T>, shape: &[usize]) -> Result<Self> {
        let layout = View::from_slice(&data, shape)?.layout().clone();
        Self::new(T::DTYPE, ByteOrder::Native, layout, Buffer::from_vec(data), 0)
    }

    /// The memory.
    #[must_use]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The byte of [`Tensor::buffer`] at which element `[0, 0, ...]` starts.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.buffer.as_ptr().wrapping_add(self.offset)
    }

    /// The elements, with the dtype known at run time.
    #[must_use]
    pub fn as_view(&self) -> View<'_> {
        // SAFETY: `new` checked that the layout's span lies in the buffer, whose bytes are
        // readable, initialised and not written while `self` is borrowed.
        unsafe { View::from_raw(self.dtype, self.order, self.layout.clone(), self.as_ptr()) }
    }

    /// `self[index]`, sharing the memory.
    ///
    /// # Errors
    /// Those of [`Layout::index`].
    pub fn index(&self, index: &[Index]) -> Result<Self> {
        let (layout, by) = self.layout.index(index)?;
        // The start of an empty result may be outside the buffer, so it keeps the old start.
        let offset =
            if layout.is_empty() { self.offset } else { self.offset.wrapping_add_signed(by) };
        Self::new(self.dtype, self.order, layout, self.buffer.clone(), offset)
    }

    /// The elements as Rust values, with any strides.
    ///
    /// # Errors
    /// [`Error::DTypeMismatch`]; [`Error::NotViewable`] if the elements are byte-swapped or
    /// misaligned for `T`, or a `bool` is neither 0 nor 1.
    pub fn view<T: Element>(&self) -> Result<TensorView<'_, T>> {
        if T::DTYPE != self.dtype {
            return Err(Error::DTypeMismatch { actual: self.dtype, asked: T::DTYPE });
        }
        if self.order == ByteOrder::Swapped {
            return Err(Error::NotViewable {
                why: "their byte order is not this machine's. Convert the tensor first.",
            });
        }
        let strides =
            self.layout.shape().iter().zip(self.layout.strides()).filter(|&(&dim, _)| dim > 1);
        let align = align_of::<T>();
        let aligned = self.as_ptr().addr().is_multiple_of(align)
            && strides.clone().all(|(_, stride)| stride.unsigned_abs().is_multiple_of(align));
        if !aligned && !self.layout.is_empty() {
            return Err(Error::NotViewable {
                why: "they are not aligned for their type. Convert the tensor first.",
            });
        }
        if T::DTYPE == DType::Bool && !self.as_view().has_normal_bools() {
            return Err(Error::NotViewable {
                why: "a bool is neither 0 nor 1. Convert the tensor first.",
            });
        }
        Ok(TensorView { layout: &self.layout, data: self.as_ptr(), elements: PhantomData })
    }
}

/// The elements of a tensor as Rust values, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a, T> {
    layout: &'a Layout,
    data: *const u8,
    elements: PhantomData<&'a [T]>,
}

// SAFETY: a TensorView only reads elements that are not written while it lives, like the `&[T]` it
// stands for.
unsafe impl<T: Sync> Send for TensorView<'_, T> {}
// SAFETY: as for Send.
unsafe impl<T: Sync> Sync for TensorView<'_, T> {}

impl<'a, T: Element> TensorView<'a, T> {
    /// The length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.layout.shape()
    }

    /// The bytes from one element to the next along each dimension.
    #[must_use]
    pub fn strides(&self) -> &'a [isize] {
        self.layout.strides()
    }

    /// The address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        self.data.cast()
    }

    /// The element at an index, or `None` outside the shape.
    #[must_use]
    pub fn get(&self, index: &[usize]) -> Option<T> {
        let inside = index.len() == self.layout.ndim()
            && index.iter().zip(self.shape()).all(|(at, dim)| at < dim);
        let steps = index.iter().zip(self.strides());
        let offset = || steps.map(|(at, stride)| at.cast_signed() * stride).sum();
        // SAFETY: the index is inside the shape.
        inside.then(|| unsafe { self.at(offset()) })
    }

    /// The element `offset` bytes from element `[0, 0, ...]`.
    ///
    /// # Safety
    /// The offset is that of an index inside the shape.
    unsafe fn at(&self, offset: isize) -> T {
        // SAFETY: inside the memory that `Tensor::new` checked, aligned and a valid `T` as
        // `Tensor::view` checked.
        unsafe { self.data.wrapping_offset(offset).cast::<T>().read() }
    }

    /// All elements as one slice in row-major order, or `None` if they are not C-contiguous.
    #[must_use]
    pub fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: C-contiguous elements are packed.
        self.layout.is_c_contiguous().then(|| unsafe { self.packed() })
    }

    /// All elements as one slice in column-major order, or `None` if they are not
    /// Fortran-contiguous.
    #[must_use]
    pub fn as_column_major_slice(&self) -> Option<&'a [T]> {
        // SAFETY: Fortran-contiguous elements are packed.
        self.layout.is_f_contiguous().then(|| unsafe { self.packed() })
    }

    /// # Safety
    /// The elements are packed, in any order of the dimensions.
    unsafe fn packed(&self) -> &'a [T] {
        if self.layout.is_empty() {
            return &[];
        }
        // SAFETY: packed elements inside the memory that `Tensor::new` checked, aligned and valid
        // as `Tensor::view` checked, not written for 'a.
        unsafe { core::slice::from_raw_parts(self.data.cast(), self.layout.len()) }
    }

    /// The elements in row-major order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        // SAFETY: the offsets of the elements.
        self.layout.offsets().map(|offset| unsafe { self.at(offset) })
    }
}
