//! [`Array`](array::Array): an array that is opened, not loaded, and what its rows come from.

#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod array;
pub(crate) mod arrays;
pub(crate) mod cast;
pub(crate) mod convert;
pub(crate) mod in_memory;
pub(crate) mod inflating;
pub(crate) mod joined;
pub(crate) mod packed;
pub(crate) mod part;
pub(crate) mod parts;
pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod records;
pub(crate) mod row_source;
pub(crate) mod shards;
pub(crate) mod tensor_rows;
#[cfg(test)]
mod tests;
