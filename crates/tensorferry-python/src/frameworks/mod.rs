//! What TensorFlow calls, and what calls TensorFlow.

pub(crate) mod ops;
pub(crate) mod tensorflow;
