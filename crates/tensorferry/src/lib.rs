//! Arrays to tensors.
pub use tensorferry_core::*;
