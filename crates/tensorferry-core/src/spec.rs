//! [`TensorSpec`]: the dtype of a tensor and what is known of its shape before its elements are.

use crate::{ByteOrder, DType, Dims, Error, Result, Tensor};
use alloc::vec::Vec;
use core::fmt;

/// A shape as far as it is known before the elements are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Option<Vec<Option<usize>>>);

impl Shape {
    /// Even the number of dimensions is unknown.
    #[must_use]
    pub fn unknown() -> Self {
        Self(None)
    }

    /// A known number of dimensions, each of a known length or `None`.
    pub fn new(dims: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self(Some(dims.into_iter().collect()))
    }

    /// A shape known entirely.
    #[must_use]
    pub fn fixed(dims: &[usize]) -> Self {
        Self::new(dims.iter().copied().map(Some))
    }

    /// The dimensions, `None` where even their number is unknown.
    #[must_use]
    pub fn dims(&self) -> Option<&[Option<usize>]> {
        self.0.as_deref()
    }

    /// The shape, if it is known entirely.
    #[must_use]
    pub fn as_fixed(&self) -> Option<Dims> {
        self.0.as_ref()?.iter().copied().collect()
    }

    /// The shape with one more dimension in front: that of a batch.
    #[must_use]
    pub fn batched(&self, len: Option<usize>) -> Self {
        Self(
            self.0.as_ref().map(|dims| core::iter::once(len).chain(dims.iter().copied()).collect()),
        )
    }

    /// The most that is known of both: where they differ, nothing.
    #[must_use]
    pub fn relaxed(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Self::new(a.iter().zip(b).map(|(a, b)| if a == b { *a } else { None }))
            }
            _ => Self(None),
        }
    }

    /// Whether a tensor of this shape is as promised.
    #[must_use]
    pub fn admits(&self, shape: &[usize]) -> bool {
        let Some(dims) = &self.0 else { return true };
        dims.len() == shape.len()
            && dims.iter().zip(shape).all(|(dim, len)| dim.is_none_or(|dim| dim == *len))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dims) = &self.0 else { return f.write_str("[...]") };
        f.write_str("[")?;
        for (at, dim) in dims.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match dim {
                Some(len) => write!(f, "{comma}{len}")?,
                None => write!(f, "{comma}?")?,
            }
        }
        f.write_str("]")
    }
}

/// dtype and shape of one component of a dataset's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The dtype, in native byte order.
    pub dtype: DType,
    /// The shape, as far as it is known.
    pub shape: Shape,
}

impl TensorSpec {
    /// A specification.
    #[must_use]
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape }
    }

    /// The shape and the bytes of one tensor, if they are known.
    #[must_use]
    pub fn fixed(&self) -> Option<(Dims, usize)> {
        let shape = self.shape.as_fixed()?;
        let bytes =
            shape.iter().try_fold(self.dtype.size(), |bytes, &dim| bytes.checked_mul(dim))?;
        Some((shape, bytes))
    }

    /// Checks that a tensor is as promised.
    ///
    /// # Errors
    /// [`Error::ElementMismatch`], naming what differs.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.dtype() == self.dtype
            && self.shape.admits(tensor.shape())
            && tensor.byte_order() == ByteOrder::Native
        {
            return Ok(());
        }
        let what = alloc::format!(
            "{}{:?} where the dataset's element_spec says {self}",
            tensor.dtype(),
            tensor.shape()
        );
        Err(Error::ElementMismatch { what })
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
