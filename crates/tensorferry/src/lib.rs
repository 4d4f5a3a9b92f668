#![doc = include_str!("../README.md")]
//!
//! # Layers
//!
//! The public items of the layers, under one name: tensors and conversion ([`tensorferry_core`]),
//! arrays in memory and files ([`tensorferry_io`]), and datasets ([`dataset`]).

pub mod buffers {
    //! Where memory comes from: recycled blocks and memory-mapped files.
    pub use tensorferry_io::memory::arenas::spare_address_space;
    pub use tensorferry_io::memory::pool;
    pub use tensorferry_io::memory::spare::{SpareAllocator, keep_spare, make_room};
    pub use tensorferry_io::sync::process::process_id;
}
pub mod dataset {
    //! Datasets: arrays as batches, in any order, converted on the way, resumable.
    pub use tensorferry_core::{Shape, TensorSpec};
    pub use tensorferry_dataset::*;
    pub use tensorferry_io::{CancelToken, Source, governed, interrupt, interruptible};
}

pub use tensorferry_io::{
    Array, Arrays, Capabilities, FeatureSpec, Format, Mmap, Mode, OpenOptions, Opened, Progress,
    RaggedArray, Raw, ReadAt, ReadRange, ResumableWrite, RowReader, Stored, Strings, Verified,
    Version, can_convert, can_write, convert_into, find_sources, matching_files, open, open_beside,
    open_npy, open_raw, open_sources, open_with, remove_leftovers, save, save_arrays,
    save_arrays_with, save_examples, save_npy, save_resumable, smallest_dtype, value_range, verify,
    write_file,
};
pub use tensorferry_io::{
    CacheOptions, RequestCounts, SaveOptions, StorageOptions, WriteOptions, await_cleanup,
    is_remote, matching_files_with, open_one, request_counts, save_examples_with, save_npy_with,
    save_with, verify_with, write_file_with,
};
#[cfg(feature = "object-store")]
pub use tensorferry_io::{FindCredentials, ProfileCredentials, set_profile_credentials};
pub use tensorferry_io::{convert, system};

pub use tensorferry_core::{
    ALIGNMENT, Buffer, BufferMut, ByteOrder, Casting, CpuLevel, DType, Dims, Element, ErrorKind,
    Index, Kind, Layout, MAX_NDIM, Misfits, Scalar, Shape, Strides, Tensor, TensorSpec, TensorView,
    View, ViewMut, cpu_level, dlpack, npy_header,
};
pub use tensorferry_dataset::error::{Error, Result};

pub mod error {
    //! The errors of each layer, and the advice that their messages end with.
    pub use tensorferry_core::{Advice as ConversionAdvice, Error as CoreError, InRust};
    pub use tensorferry_dataset::error::{Advice, ComponentId, Error, Hint, Result};
    pub use tensorferry_io::{Advice as FileAdvice, Error as IoError, Hint as FileHint};
}

// The Rust code of the documents runs with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/start/rust.md")]
mod start {}
