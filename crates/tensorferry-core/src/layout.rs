//! [`Layout`]: shape and strides, overflow-checked.

use crate::dims::{Dims, MAX_NDIM, Strides};
use crate::{Error, Result};
use core::ops::Range;

/// The shape and strides of an array, without its memory. Strides are in bytes.
///
/// A layout has at most [`MAX_NDIM`] dimensions, and every size computed from it fits in an
/// `isize`. Constructors check both, so arithmetic on a layout cannot overflow.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Dims,
    strides: Strides,
    itemsize: usize,
}

// A derived `clone` copies element by element, which slows small arrays down measurably.
impl Clone for Layout {
    fn clone(&self) -> Self {
        Self {
            shape: Dims::from_slice(&self.shape),
            strides: Strides::from_slice(&self.strides),
            itemsize: self.itemsize,
        }
    }
}

/// One part of a basic index, such as those between the commas of `a[3, 1:7:2, ..., None]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Index {
    /// A single position, counted from the end if negative. Removes the dimension.
    At(isize),
    /// `start:stop:step` as resolved by Python's `slice.indices`: `len` elements from `start`,
    /// `step` apart.
    Slice {
        /// The first position; any value if `len` is 0.
        start: usize,
        /// The distance from one element to the next, in positions; may be negative.
        step: isize,
        /// The number of elements.
        len: usize,
    },
    /// All dimensions that no other part of the index consumes. At most once.
    Ellipsis,
    /// A new dimension of length 1.
    NewAxis,
}

impl Layout {
    /// Row-major (C-contiguous) layout.
    ///
    /// # Errors
    /// [`Error::TooManyDimensions`]; [`Error::SizeOverflow`] if the bytes do not fit in an `isize`.
    pub fn contiguous(shape: &[usize], itemsize: usize) -> Result<Self> {
        check_size(shape, itemsize)?;
        let mut strides = Strides::from_elem(0, shape.len());
        let mut step = itemsize;
        for (stride, &dim) in strides.iter_mut().zip(shape).rev() {
            *stride = step.cast_signed();
            // Only strides of an empty array can saturate.
            step = step.saturating_mul(dim.max(1));
        }
        Ok(Self { shape: Dims::from_slice(shape), strides, itemsize })
    }

    /// Column-major (Fortran-contiguous) layout.
    ///
    /// # Errors
    /// As [`Layout::contiguous`].
    pub fn fortran(shape: &[usize], itemsize: usize) -> Result<Self> {
        let reversed: Dims = shape.iter().rev().copied().collect();
        let mut layout = Self::contiguous(&reversed, itemsize)?;
        layout.shape.reverse();
        layout.strides.reverse();
        Ok(layout)
    }

    /// A layout with the given strides in bytes, which may be negative, zero (broadcast) or
    /// overlapping.
    ///
    /// # Errors
    /// [`Error::TooManyDimensions`]; [`Error::SizeOverflow`] if the bytes of the elements, packed
    /// or as spanned by the strides, do not fit in an `isize`; [`Error::StridesMismatch`] if
    /// `shape` and `strides` differ in length.
    pub fn strided(shape: &[usize], strides: &[isize], itemsize: usize) -> Result<Self> {
        if shape.len() != strides.len() {
            return Err(Error::StridesMismatch { ndim: shape.len(), strides: strides.len() });
        }
        check_size(shape, itemsize)?;
        let layout = Self {
            shape: Dims::from_slice(shape),
            strides: Strides::from_slice(strides),
            itemsize,
        };
        match layout.checked_span() {
            Some(_) => Ok(layout),
            None => Err(Error::SizeOverflow { shape: shape.into(), itemsize }),
        }
    }

    /// The length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes from one element to the next along each dimension.
    #[must_use]
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The bytes per element.
    #[must_use]
    pub fn itemsize(&self) -> usize {
        self.itemsize
    }

    /// The number of dimensions.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The bytes of all elements when packed.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.len() * self.itemsize
    }

    /// Whether the elements are packed in row-major order. Strides of dimensions of length 1 do not
    /// count, nor does any stride of an empty array.
    #[must_use]
    pub fn is_c_contiguous(&self) -> bool {
        self.is_empty() || packed(self.shape.iter().rev(), self.strides.iter().rev(), self.itemsize)
    }

    /// Whether the elements are packed in column-major order, as [`Layout::is_c_contiguous`].
    #[must_use]
    pub fn is_f_contiguous(&self) -> bool {
        self.is_empty() || packed(self.shape.iter(), self.strides.iter(), self.itemsize)
    }

    /// The bytes that the elements occupy, from the lowest to one past the highest, relative to
    /// element `[0, 0, ...]`. `0..0` for an empty array.
    #[must_use]
    pub fn span(&self) -> Range<isize> {
        // Constructors refuse layouts whose span overflows.
        self.checked_span().unwrap_or(0..0)
    }

    fn checked_span(&self) -> Option<Range<isize>> {
        if self.is_empty() {
            return Some(0..0);
        }
        let (mut low, mut high) = (0_isize, 0_isize);
        for (&dim, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = isize::try_from(dim - 1).ok()?.checked_mul(stride)?;
            if reach < 0 {
                low = low.checked_add(reach)?;
            } else {
                high = high.checked_add(reach)?;
            }
        }
        let high = high.checked_add(isize::try_from(self.itemsize).ok()?)?;
        high.checked_sub(low)?;
        Some(low..high)
    }

    /// The layout of `self[index]`, and the byte offset of its element `[0, 0, ...]` from this
    /// layout's.
    ///
    /// ```
    /// # use tensorferry_core::{Index, Layout};
    /// let layout = Layout::contiguous(&[4, 3], 8)?;
    /// let (row, offset) = layout.index(&[Index::At(-1)])?;
    /// assert_eq!((row.shape(), offset), (&[3][..], 72));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyIndices`], [`Error::IndexOutOfRange`], [`Error::TooManyDimensions`].
    pub fn index(&self, index: &[Index]) -> Result<(Self, isize)> {
        let consumed =
            index.iter().filter(|i| matches!(i, Index::At(_) | Index::Slice { .. })).count();
        let ellipses = index.iter().filter(|i| matches!(i, Index::Ellipsis)).count();
        if consumed > self.ndim() || ellipses > 1 {
            return Err(Error::TooManyIndices { ndim: self.ndim(), given: consumed });
        }
        let rest = self.ndim() - consumed;
        let (mut shape, mut strides, mut offset) = (Dims::new(), Strides::new(), 0_isize);
        let mut axis = 0;
        let trailing = if ellipses == 0 { Some(Index::Ellipsis) } else { None };
        for part in index.iter().copied().chain(trailing) {
            match part {
                Index::NewAxis => {
                    shape.push(1);
                    strides.push(0);
                }
                Index::Ellipsis => {
                    shape.extend_from_slice(&self.shape[axis..axis + rest]);
                    strides.extend_from_slice(&self.strides[axis..axis + rest]);
                    axis += rest;
                }
                Index::At(at) => {
                    offset += self.position(axis, at)? * self.strides[axis];
                    axis += 1;
                }
                Index::Slice { start, step, len } => {
                    let reach = len.saturating_sub(1).cast_signed().checked_mul(step);
                    let last = reach.and_then(|reach| start.cast_signed().checked_add(reach));
                    if len > 0 {
                        self.position(axis, start.cast_signed())?;
                        match last {
                            Some(last @ 0..) => self.position(axis, last)?,
                            _ => return Err(self.out_of_range(axis, last.unwrap_or(isize::MAX))),
                        };
                        offset += start.cast_signed() * self.strides[axis];
                    }
                    shape.push(len);
                    // The product overflows only with fewer than two elements, which use no stride.
                    strides.push(self.strides[axis].checked_mul(step).unwrap_or(0));
                    axis += 1;
                }
            }
        }
        check_size(&shape, self.itemsize)?;
        Ok((Self { shape, strides, itemsize: self.itemsize }, offset))
    }

    /// The byte offsets of the elements from element `[0, 0, ...]`, in row-major order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = isize> + '_ {
        let (mut index, mut next) = (Dims::from_elem(0, self.ndim()), 0_isize);
        (0..self.len()).map(move |_| {
            let offset = next;
            let dims = self.shape.iter().zip(&self.strides);
            for (at, (&dim, &stride)) in index.iter_mut().zip(dims).rev() {
                *at += 1;
                // Wraps only past the last element of a dimension, from where it returns.
                next = next.wrapping_add(stride);
                if *at < dim {
                    break;
                }
                *at = 0;
                next = next.wrapping_sub(stride.wrapping_mul(dim.cast_signed()));
            }
            offset
        })
    }

    fn position(&self, axis: usize, at: isize) -> Result<isize> {
        let dim = self.shape[axis].cast_signed();
        let position = if at < 0 { at + dim } else { at };
        if (0..dim).contains(&position) { Ok(position) } else { Err(self.out_of_range(axis, at)) }
    }

    fn out_of_range(&self, axis: usize, index: isize) -> Error {
        Error::IndexOutOfRange { index, axis, len: self.shape[axis] }
    }
}

fn packed<'a>(
    shape: impl Iterator<Item = &'a usize>,
    strides: impl Iterator<Item = &'a isize>,
    itemsize: usize,
) -> bool {
    let mut step = itemsize.cast_signed();
    shape.zip(strides).filter(|&(&dim, _)| dim != 1).all(|(&dim, &stride)| {
        let fits = stride == step;
        // Cannot wrap before `all` stops, because the bytes fit in an `isize`.
        step = step.wrapping_mul(dim.cast_signed());
        fits
    })
}

/// Checks the number of dimensions and that the bytes of a packed array fit in an `isize`.
///
/// Like NumPy, it refuses a shape whose non-zero dimensions overflow even if another dimension is
/// 0.
fn check_size(shape: &[usize], itemsize: usize) -> Result<()> {
    if shape.len() > MAX_NDIM {
        return Err(Error::TooManyDimensions { ndim: shape.len() });
    }
    let bytes = shape
        .iter()
        .filter(|&&dim| dim != 0)
        .try_fold(itemsize, |bytes, &dim| bytes.checked_mul(dim))
        .filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes {
        Some(_) => Ok(()),
        None => Err(Error::SizeOverflow { shape: shape.into(), itemsize }),
    }
}
