//! What can go wrong.

pub use tensorferry_core::{Error, Result};
