//! The error type of datasets, which core defines.

pub use tensorferry_core::{ComponentId, Error, Result};
