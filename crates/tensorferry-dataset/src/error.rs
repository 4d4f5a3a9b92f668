//! What can go wrong.

pub use tensorferry_core::{ComponentId, Error, Result};
