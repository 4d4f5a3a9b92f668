//! The inline vectors that hold shapes and strides.

use smallvec::SmallVec;

/// The maximum number of dimensions: NumPy's limit (`NPY_MAXDIMS` since NumPy 2.0).
pub const MAX_NDIM: usize = 64;

/// A shape. Up to six dimensions are stored inline.
pub type Dims = SmallVec<[usize; 6]>;
/// Strides in bytes. Up to six are stored inline.
pub type Strides = SmallVec<[isize; 6]>;
