//! Storage of bytes: sources, read engines and local files.

pub mod cache;
pub mod engine;
pub mod io_error;
pub mod local;
pub mod located;
#[cfg(test)]
mod memory_tests;
pub mod mode;
pub mod read_at;
pub mod section;
