//! Datasets on disk.

pub(crate) mod directory;
pub(crate) mod layout;
pub(crate) mod load;
pub(crate) mod manifest;
pub(crate) mod reader;
pub(crate) mod save;
pub(crate) mod writer;
