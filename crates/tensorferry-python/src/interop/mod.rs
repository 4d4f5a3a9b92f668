//! Values of Python and other libraries: arrays, DLPack, buffers, numbers and nested lists.

pub(crate) mod array;
pub(crate) mod capsule;
pub(crate) mod dtype;
pub(crate) mod exports;
mod foreign;
mod frozen;
pub(crate) mod index;
mod interface;
pub(crate) mod kinds;
pub(crate) mod masked;
pub(crate) mod memory;
pub(crate) mod nested;
pub(crate) mod source;
