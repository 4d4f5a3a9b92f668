//! Arrays in memory, files and other storage, opened without loading.
#![deny(unsafe_code)]

pub mod array;
pub mod cancel;
#[allow(unsafe_code, reason = "it describes the memory of the pool to core")]
pub mod convert;
pub mod error;
pub mod format;
pub mod gather;
#[allow(unsafe_code, reason = "it owns memory")]
pub mod memory;
pub mod open;
pub mod storage;
pub mod sync;
pub mod system;
pub mod write;

pub use array::array::Array;
pub use array::arrays::Arrays;
pub use array::progress::Progress;
pub use array::ragged::RaggedArray;
pub use array::reader::RowReader;
pub use array::row_source::Stored;
pub use array::tensor_rows::Source;
pub use cancel::{CancelToken, governed, interrupt, interruptible};
pub use convert::{can_convert, convert, convert_into, smallest_dtype, value_range};
pub use error::{Advice, Error, Hint, Result};
pub use format::file_format::{
    Capabilities, FeatureSpec, Format, OpenOptions, Opened, Raw, Strings,
};
pub use format::npy::{save_npy, save_npy_with};
pub use format::save::{
    SaveOptions, save, save_arrays, save_arrays_with, save_examples, save_examples_with, save_with,
};
pub use format::verify::{Verified, verify, verify_with};
pub use open::{
    find_sources, matching_files, matching_files_with, open, open_npy, open_raw, open_sources,
    open_with,
};
pub use storage::counts::{RequestCounts, request_counts};
pub use storage::local::regular::open_beside;
pub use storage::mode::Mode;
pub use storage::object_info::ObjectInfo;
#[cfg(feature = "object-store")]
pub use storage::object_store::{FindCredentials, ProfileCredentials, set_profile_credentials};
pub use storage::objects::await_cleanup;
pub use storage::options::{CacheOptions, StorageOptions};
pub use storage::place::open_one;
pub use storage::read_at::{Mmap, ReadAt, ReadRange, Version};
pub use storage::url::is_remote;
pub use write::atomic::{can_write, remove_leftovers, write_file, write_file_with};
pub use write::destination::WriteOptions;
pub use write::resumable::{ResumableWrite, save_resumable};
