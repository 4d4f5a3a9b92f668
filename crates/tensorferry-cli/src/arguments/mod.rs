//! Arguments that several commands take: files to open, stores, dtypes, sizes.

pub(crate) mod dtype;
pub(crate) mod open;
pub(crate) mod select;
pub(crate) mod size;
pub(crate) mod storage;
