//! [`TensorSpec`] and [`Shape`]: the dtype and the partly known shape of tensors to come.

use crate::{ByteOrder, DType, Dims, Error, Result, Tensor};
use alloc::vec::Vec;
use core::fmt;

/// A shape of which dimensions, or their number, may be unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Option<Vec<Option<usize>>>);

impl Shape {
    /// A shape of an unknown number of dimensions.
    #[must_use]
    pub fn unknown() -> Self {
        Self(None)
    }

    /// A shape of a known number of dimensions. `None` is an unknown length.
    pub fn new(dims: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self(Some(dims.into_iter().collect()))
    }

    /// A fully known shape.
    #[must_use]
    pub fn fixed(dims: &[usize]) -> Self {
        Self::new(dims.iter().copied().map(Some))
    }

    /// The dimensions, or `None` if their number is unknown.
    #[must_use]
    pub fn dims(&self) -> Option<&[Option<usize>]> {
        self.0.as_deref()
    }

    /// The shape if it is fully known, else `None`.
    #[must_use]
    pub fn as_fixed(&self) -> Option<Dims> {
        self.0.as_ref()?.iter().copied().collect()
    }

    /// The shape of a batch: `len` as a new first dimension.
    #[must_use]
    pub fn batched(&self, len: Option<usize>) -> Self {
        let Some(dims) = self.dims() else { return Self::unknown() };
        Self::new(core::iter::once(len).chain(dims.iter().copied()))
    }

    /// The most specific shape that admits whatever either of the two admits.
    #[must_use]
    pub fn relaxed(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Self::new(a.iter().zip(b).map(|(a, b)| if a == b { *a } else { None }))
            }
            _ => Self::unknown(),
        }
    }

    /// Whether a tensor may have the shape `shape`.
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

/// The dtype and shape of one component of a dataset's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The dtype, in native byte order.
    pub dtype: DType,
    /// The shape, which may be partly known.
    pub shape: Shape,
}

impl TensorSpec {
    /// The specification of tensors of this dtype and shape.
    #[must_use]
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape }
    }

    /// The shape and the bytes of one tensor if the shape is fully known, else `None`. Also `None`
    /// if the bytes overflow a `usize`.
    #[must_use]
    pub fn fixed(&self) -> Option<(Dims, usize)> {
        let shape = self.shape.as_fixed()?;
        let bytes =
            shape.iter().try_fold(self.dtype.size(), |bytes, &dim| bytes.checked_mul(dim))?;
        Some((shape, bytes))
    }

    /// Checks that a tensor has this dtype, in native byte order, and an admitted shape.
    ///
    /// # Errors
    /// [`Error::ElementMismatch`], which names both.
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
