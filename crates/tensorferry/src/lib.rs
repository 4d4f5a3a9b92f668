//! Arrays to tensors: checked conversion, zero-copy sharing, recycled memory, memory-mapped files.
//!
//! Everything of [`tensorferry_core`] is here too.

pub mod buffers;
pub mod convert;
pub mod dataset;
mod direct;
mod format;
#[cfg(feature = "ndarray")]
pub mod ndarray;
mod source;

pub use convert::{can_convert, convert, convert_into, smallest_dtype, value_range};
pub use format::{
    Continued, Format, Raw, Verified, can_replace, open_beside, open_npy, remove_leftovers,
    replace_file, save, save_arrays, save_arrays_with, save_continued, save_npy, verify,
};
pub use source::{
    Array, Arrays, Mode, OpenOptions, Opened, Progress, RowReader, Stored, matching_files, open,
    open_raw, open_with,
};

pub use tensorferry_core::*;

// The README's Rust code runs with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
