//! Arrays in memory and in files, opened without loading.

pub(crate) mod array;
pub(crate) mod cancel;
pub mod convert;
pub(crate) mod format;
pub(crate) mod gather;
pub mod memory;
#[cfg(feature = "ndarray")]
pub mod ndarray;
pub(crate) mod open;
pub(crate) mod storage;
pub(crate) mod sync;
pub(crate) mod write;
