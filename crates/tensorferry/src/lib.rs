//! Arrays to tensors: checked conversion, zero-copy sharing, recycled memory, memory-mapped files.
//!
//! Everything of [`tensorferry_core`] is here too.

pub mod buffers;
mod format;

pub use format::{open_npy, save_npy};

pub use tensorferry_core::*;
