//! Arrays in files: opening, reading and saving.

pub(crate) mod array;
mod array_methods;
pub(crate) mod arrays;
pub(crate) mod format;
pub(crate) mod npy;
pub(crate) mod open;
pub(crate) mod path;
mod rows;
pub(crate) mod save;
pub(crate) mod storage;
