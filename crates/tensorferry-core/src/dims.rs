//! Shapes and strides, as they are stored.

use smallvec::SmallVec;

/// NumPy's limit on the number of dimensions (`NPY_MAXDIMS` since NumPy 2.0).
pub const MAX_NDIM: usize = 64;

/// A shape; up to six dimensions are stored in place.
pub type Dims = SmallVec<[usize; 6]>;
/// Strides in bytes; up to six are stored in place.
pub type Strides = SmallVec<[isize; 6]>;
