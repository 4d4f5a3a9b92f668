//! [`Array`](array::Array), an array that is opened without being loaded, and its row sources.

#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub mod array;
pub mod arrays;
pub mod cast;
pub mod convert;
pub mod in_memory;
pub mod joined;
pub mod packed;
pub mod part;
pub mod parts;
pub mod progress;
pub mod ragged;
pub mod reader;
pub(crate) mod record_rows;
pub mod row_source;
pub mod shards;
pub(crate) mod strided_rows;
pub mod tensor_rows;
#[cfg(test)]
mod tests;
