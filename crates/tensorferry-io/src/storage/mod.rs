//! Storage of bytes: sources, read engines and local files.

#[cfg(feature = "object-store")]
pub mod cache;
pub mod counts;
pub mod engine;
pub mod io_error;
pub mod local;
pub mod located;
#[cfg(test)]
mod memory_tests;
pub mod mode;
pub mod object_info;
#[cfg(feature = "object-store")]
pub mod object_store;
pub mod objects;
pub mod options;
pub mod place;
pub mod read_at;
pub mod section;
pub mod url;
