//! Conversions between tensors and `ndarray` arrays (feature `ndarray`), without a copy if packed.
//!
//! # Examples
//! ```
//! use ndarray::ArrayViewD;
//! use tensorferry_core::{Casting, DType, Tensor, convert};
//!
//! let ids = ndarray::arr2(&[[1_i64, 2], [3, 4]]);
//! let tensor = Tensor::try_from(ids)?;
//! let narrow = convert(&tensor.as_view(), DType::Int32, Casting::Checked)?;
//! let array = ArrayViewD::<i32>::try_from(&narrow)?;
//! assert_eq!(array.sum(), 10);
//! # Ok::<(), tensorferry_core::Error>(())
//! ```
//!
//! # Limitations
//! A tensor whose elements are not packed (sliced with steps, reversed, broadcast) cannot be viewed
//! in place. Convert it first.

use crate::{Buffer, ByteOrder, Element, Error, Layout, Result, Tensor};
use ndarray::{Array, ArrayViewD, Dimension, IxDyn, ShapeBuilder};

/// The elements of a tensor as an `ndarray` view in the tensor's memory order.
///
/// # Errors
/// Those of [`Tensor::view`]; [`Error::NotViewable`] if the elements are not packed.
impl<'a, T: Element> TryFrom<&'a Tensor> for ArrayViewD<'a, T> {
    type Error = Error;

    fn try_from(tensor: &'a Tensor) -> Result<Self> {
        let (view, shape) = (tensor.view::<T>()?, IxDyn(tensor.shape()));
        let array = match (view.as_slice(), view.as_column_major_slice()) {
            (Some(elements), _) => Self::from_shape(shape, elements),
            (None, Some(elements)) => Self::from_shape(shape.f(), elements),
            (None, None) => {
                let why = "the elements are not packed. Convert the tensor first.";
                return Err(Error::NotViewable { why });
            }
        };
        let overflow =
            |_| Error::SizeOverflow { shape: tensor.shape().into(), itemsize: size_of::<T>() };
        array.map_err(overflow)
    }
}

/// A tensor that owns the elements of an array. They are moved if they are packed, else copied in
/// row-major order.
///
/// # Errors
/// [`Error::TooManyDimensions`].
impl<T: Element, D: Dimension> TryFrom<Array<T, D>> for Tensor {
    type Error = Error;

    fn try_from(array: Array<T, D>) -> Result<Self> {
        let (shape, itemsize) = (array.shape().to_vec(), size_of::<T>());
        let layout = if array.is_standard_layout() {
            Layout::contiguous(&shape, itemsize)?
        } else if array.t().is_standard_layout() {
            Layout::fortran(&shape, itemsize)?
        } else {
            return Self::from_vec(array.iter().copied().collect(), &shape);
        };
        let (elements, first) = array.into_raw_vec_and_offset();
        let offset = first.unwrap_or(0) * itemsize;
        Self::new(T::DTYPE, ByteOrder::Native, layout, Buffer::from_vec(elements), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use ndarray::s;

    #[test]
    fn arrays_of_every_order_keep_their_values_and_packed_ones_their_memory() {
        let row_major = Array::from_shape_vec(IxDyn(&[2, 3]), vec![1_i32, 2, 3, 4, 5, 6]).unwrap();
        let column_major =
            Array::from_shape_vec(IxDyn(&[2, 3]).f(), vec![1_i32, 2, 3, 4, 5, 6]).unwrap();
        let every_other = row_major.clone().slice_move(s![.., ..;2]).into_dyn();
        for (array, moved) in [(row_major, true), (column_major, true), (every_other, false)] {
            let (expected, address) = (array.clone(), array.as_ptr());
            let tensor = Tensor::try_from(array).unwrap();
            assert_eq!(ArrayViewD::<i32>::try_from(&tensor).unwrap(), expected);
            assert_eq!(tensor.as_ptr().cast() == address, moved);
        }
    }

    #[test]
    fn a_sliced_array_starts_at_its_first_element() {
        let array = Array::from_vec(vec![1_u8, 2, 3, 4]).slice_move(s![2..]).into_dyn();
        let tensor = Tensor::try_from(array).unwrap();
        assert_eq!(tensor.view::<u8>().unwrap().as_slice(), Some(&[3, 4][..]));
    }

    #[test]
    fn elements_with_gaps_are_not_viewed() {
        let tensor = Tensor::from_vec(vec![1_i16, 2, 3, 4], &[4]).unwrap();
        let gaps = tensor.index(&[crate::Index::Slice { start: 0, step: 2, len: 2 }]).unwrap();
        assert_eq!(ArrayViewD::<i16>::try_from(&gaps).unwrap_err().code(), "not_viewable");
    }
}
