//! Arrays to tensors: checked conversion, zero-copy sharing, recycled memory, memory-mapped files.
//!
//! Everything of [`tensorferry_core`] is here too.

pub mod buffers {
    //! Where memory comes from: recycled blocks and memory-mapped files.
    pub use crate::io::memory::arenas::spare_address_space;
    pub use crate::io::memory::pool;
    pub use crate::io::memory::spare::{SpareAllocator, keep_spare, make_room};
    pub use crate::io::sync::process::process_id;
}
pub mod dataset;
mod io;

pub use io::array::array::Array;
pub use io::array::arrays::Arrays;
pub use io::array::progress::Progress;
pub use io::array::reader::RowReader;
pub use io::array::row_source::Stored;
pub use io::convert;
pub use io::convert::{can_convert, convert, convert_into, smallest_dtype, value_range};
pub use io::format::npy::{open_npy, save_npy};
pub use io::format::raw::Raw;
pub use io::format::save::{save, save_arrays, save_arrays_with};
pub use io::format::sniff::Format;
pub use io::format::verify::{Verified, verify};
#[cfg(feature = "ndarray")]
pub use io::ndarray;
pub use io::open::{OpenOptions, Opened, matching_files, open, open_raw, open_with};
pub use io::storage::local::regular::open_beside;
pub use io::storage::mode::Mode;
pub use io::write::atomic::{can_replace, remove_leftovers, replace_file};
pub use io::write::resumable::{Continued, save_continued};

pub use tensorferry_core::*;

// The README's Rust code runs with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
