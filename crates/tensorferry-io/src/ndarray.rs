//! Tensors to and from `ndarray`, where memory allows without a copy. Feature `ndarray`.
//!
//! # Examples
//! ```
//! use tensorferry_core::{Casting, DType};
//! use tensorferry_io::convert;
//! use tensorferry_io::ndarray::{array_view, from_array};
//!
//! let ids = ndarray::arr2(&[[1_i64, 2], [3, 4]]);
//! let tensor = from_array(ids.into_dyn())?;
//! let narrow = convert(&tensor.as_view(), DType::Int32, Casting::Checked)?;
//! let array = array_view::<i32>(&narrow)?;
//! assert_eq!(array.sum(), 10);
//! # Ok::<(), tensorferry_core::Error>(())
//! ```
//!
//! # Rationale
//! `ndarray` is what Rust programs compute with; a tensor is what they hand to frameworks. Both
//! keep packed elements, so the elements stay where they are.
//!
//! # Limitations
//! A tensor whose elements are not packed (a slice with steps, reversed, broadcast) is not viewed
//! in place: convert it first.

use crate::error::{Error, Result};
use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};
use tensorferry_core::{Buffer, ByteOrder, Element, Layout, Tensor};

/// The elements of a tensor as an `ndarray` view, row-major or column-major as they lie.
///
/// # Errors
/// Those of [`Tensor::view`]; [`Error::NotViewable`] if the elements are not packed.
pub fn array_view<T: Element>(tensor: &Tensor) -> Result<ArrayViewD<'_, T>> {
    let (view, shape) = (tensor.view::<T>()?, IxDyn(tensor.shape()));
    let array = match (view.as_slice(), view.as_column_major_slice()) {
        (Some(elements), _) => ArrayViewD::from_shape(shape, elements),
        (None, Some(elements)) => ArrayViewD::from_shape(shape.f(), elements),
        (None, None) => {
            return Err(Error::NotViewable {
                why: "they are not packed; convert the tensor first",
            });
        }
    };
    array
        .map_err(|_| Error::SizeOverflow { shape: tensor.shape().into(), itemsize: size_of::<T>() })
}

/// A tensor that owns the elements of an array: moved if they lie packed, row-major or
/// column-major, else copied into row-major order.
///
/// # Errors
/// [`Error::TooManyDimensions`].
pub fn from_array<T: Element>(array: ArrayD<T>) -> Result<Tensor> {
    let (shape, itemsize) = (array.shape().to_vec(), size_of::<T>());
    let layout = if array.is_standard_layout() {
        Layout::contiguous(&shape, itemsize)?
    } else if array.t().is_standard_layout() {
        Layout::fortran(&shape, itemsize)?
    } else {
        return Tensor::from_vec(array.iter().copied().collect(), &shape);
    };
    let (elements, first) = array.into_raw_vec_and_offset();
    let offset = first.unwrap_or(0) * itemsize;
    Tensor::new(T::DTYPE, ByteOrder::Native, layout, Buffer::from_vec(elements), offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, s};

    #[test]
    fn arrays_of_every_order_keep_their_values_and_packed_ones_their_memory() {
        let row_major = Array::from_shape_vec(IxDyn(&[2, 3]), vec![1_i32, 2, 3, 4, 5, 6]).unwrap();
        let column_major =
            Array::from_shape_vec(IxDyn(&[2, 3]).f(), vec![1_i32, 2, 3, 4, 5, 6]).unwrap();
        let every_other = row_major.clone().slice_move(s![.., ..;2]).into_dyn();
        for (array, moved) in [(row_major, true), (column_major, true), (every_other, false)] {
            let (expected, address) = (array.clone(), array.as_ptr());
            let tensor = from_array(array).unwrap();
            assert_eq!(array_view::<i32>(&tensor).unwrap(), expected);
            assert_eq!(tensor.as_ptr().cast() == address, moved);
        }
    }

    #[test]
    fn a_sliced_array_starts_at_its_first_element() {
        let array = Array::from_vec(vec![1_u8, 2, 3, 4]).slice_move(s![2..]).into_dyn();
        let tensor = from_array(array).unwrap();
        assert_eq!(tensor.view::<u8>().unwrap().as_slice(), Some(&[3, 4][..]));
    }

    #[test]
    fn elements_with_gaps_are_not_viewed() {
        let tensor = Tensor::from_vec(vec![1_i16, 2, 3, 4], &[4]).unwrap();
        let gaps =
            tensor.index(&[tensorferry_core::Index::Slice { start: 0, step: 2, len: 2 }]).unwrap();
        assert_eq!(array_view::<i16>(&gaps).unwrap_err().code(), "not_viewable");
    }
}
