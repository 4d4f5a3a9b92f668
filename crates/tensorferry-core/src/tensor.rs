//! An immutable array that keeps its memory alive.

use crate::{Buffer, ByteOrder, DType, Element, Error, Index, Layout, Result, View};
use core::marker::PhantomData;

/// dtype + layout + memory. Immutable; cloning and slicing share the memory.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    buffer: Buffer,
    /// Byte of the buffer at which element `[0, 0, ...]` starts.
    offset: usize,
}

impl Tensor {
    /// An array in `buffer`, whose element `[0, 0, ...]` starts at byte `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if an element reaches outside the buffer; [`Error::SizeOverflow`] if
    /// the layout is of another item size.
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
        let order = if dtype.size() == 1 { ByteOrder::Native } else { order };
        Ok(Self { dtype, order, layout, buffer, offset })
    }

    /// A row-major tensor that owns the elements of a vector.
    ///
    /// ```
    /// # use tensorferry_core::Tensor;
    /// let tensor = Tensor::from_vec(vec![1_i32, 2, 3, 4, 5, 6], &[2, 3])?;
    /// assert_eq!(tensor.view::<i32>()?.get(&[1, 0]), Some(4));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] unless there are exactly as many elements as the shape says.
    pub fn from_vec<T: Element>(data: alloc::vec::Vec<T>, shape: &[usize]) -> Result<Self> {
        let layout = View::from_slice(&data, shape)?.layout().clone();
        Self::new(T::DTYPE, ByteOrder::Native, layout, Buffer::from_vec(data), 0)
    }

    /// The dtype, byte order aside.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether elements are stored in this machine's byte order. Only tensors over foreign files
    /// are ever `Swapped`.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Shape and strides.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The memory.
    #[must_use]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Byte of [`Tensor::buffer`] at which element `[0, 0, ...]` starts.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.buffer.as_ptr().wrapping_add(self.offset)
    }

    /// The elements, dtype known at run time.
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
        // An empty result may point anywhere: it keeps the old start, which is inside the buffer.
        let offset =
            if layout.is_empty() { self.offset } else { self.offset.wrapping_add_signed(by) };
        Self::new(self.dtype, self.order, layout, self.buffer.clone(), offset)
    }

    /// The elements as Rust values, in any strides.
    ///
    /// # Errors
    /// [`Error::DTypeMismatch`]; [`Error::NotViewable`] if they are byte-swapped, misaligned for
    /// `T`, or a `bool` is neither 0 nor 1.
    pub fn view<T: Element>(&self) -> Result<TensorView<'_, T>> {
        if T::DTYPE != self.dtype {
            return Err(Error::DTypeMismatch { actual: self.dtype, asked: T::DTYPE });
        }
        if self.order == ByteOrder::Swapped {
            return Err(Error::NotViewable {
                why: "their byte order is not this machine's; convert the tensor first",
            });
        }
        let strides =
            self.layout.shape().iter().zip(self.layout.strides()).filter(|&(&dim, _)| dim > 1);
        let align = align_of::<T>();
        let aligned = self.as_ptr().addr().is_multiple_of(align)
            && strides.clone().all(|(_, stride)| stride.unsigned_abs().is_multiple_of(align));
        if !aligned && !self.layout.is_empty() {
            return Err(Error::NotViewable {
                why: "they are not aligned for the type; convert the tensor first",
            });
        }
        let view = TensorView { layout: &self.layout, data: self.as_ptr(), elements: PhantomData };
        if T::DTYPE == DType::Bool && !view.bytes_are_bools() {
            return Err(Error::NotViewable {
                why: "a bool is neither 0 nor 1; convert the tensor first",
            });
        }
        Ok(view)
    }
}

/// The elements of a tensor as Rust values, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a, T> {
    layout: &'a Layout,
    data: *const u8,
    elements: PhantomData<&'a [T]>,
}

// SAFETY: a TensorView only reads elements that nobody writes while it lives, like the `&[T]` it
// stands for.
unsafe impl<T: Sync> Send for TensorView<'_, T> {}
// SAFETY: as for Send.
unsafe impl<T: Sync> Sync for TensorView<'_, T> {}

impl<'a, T: Element> TensorView<'a, T> {
    /// Length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.layout.shape()
    }

    /// Bytes from one element to the next along each dimension.
    #[must_use]
    pub fn strides(&self) -> &'a [isize] {
        self.layout.strides()
    }

    /// Address of element `[0, 0, ...]`.
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        self.data.cast()
    }

    /// The element at an index, `None` outside the shape.
    #[must_use]
    pub fn get(&self, index: &[usize]) -> Option<T> {
        let inside = index.len() == self.layout.ndim()
            && index.iter().zip(self.shape()).all(|(at, dim)| at < dim);
        inside.then(|| self.at(index))
    }

    fn at(&self, index: &[usize]) -> T {
        let offset: isize =
            index.iter().zip(self.strides()).map(|(at, stride)| at.cast_signed() * stride).sum();
        // SAFETY: the index is inside the shape, so the element is inside the memory that
        // `Tensor::new` checked, aligned and a valid `T` as `Tensor::view` checked.
        unsafe { self.data.wrapping_offset(offset).cast::<T>().read() }
    }

    /// All elements in row-major order as one slice, `None` if they are not C-contiguous.
    #[must_use]
    pub fn as_slice(&self) -> Option<&'a [T]> {
        if self.layout.is_empty() {
            return Some(&[]);
        }
        // SAFETY: C-contiguous elements inside one memory, aligned and valid as `Tensor::view`
        // checked, not written for 'a.
        self.layout
            .is_c_contiguous()
            .then(|| unsafe { core::slice::from_raw_parts(self.data.cast(), self.layout.len()) })
    }

    /// All elements in column-major order as one slice, `None` if they are not Fortran-contiguous.
    #[must_use]
    pub fn as_column_major_slice(&self) -> Option<&'a [T]> {
        if self.layout.is_empty() {
            return Some(&[]);
        }
        // SAFETY: Fortran-contiguous elements inside one memory, aligned and valid as
        // `Tensor::view` checked, not written for 'a.
        self.layout
            .is_f_contiguous()
            .then(|| unsafe { core::slice::from_raw_parts(self.data.cast(), self.layout.len()) })
    }

    /// The elements in row-major order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let mut index = crate::Dims::from_elem(0, self.layout.ndim());
        (0..self.layout.len()).map(move |_| {
            let value = self.at(&index);
            for (at, &dim) in index.iter_mut().zip(self.shape()).rev() {
                *at += 1;
                if *at < dim {
                    break;
                }
                *at = 0;
            }
            value
        })
    }

    fn bytes_are_bools(&self) -> bool {
        let bytes =
            TensorView::<u8> { layout: self.layout, data: self.data, elements: PhantomData };
        match bytes.as_slice() {
            Some(slice) => slice.iter().fold(0, |all, byte| all | byte) <= 1,
            None => bytes.iter().all(|byte| byte <= 1),
        }
    }
}
