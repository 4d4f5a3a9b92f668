//! Datasets on disk and in object stores.

pub(crate) mod directory;
pub(crate) mod home;
pub(crate) mod layout;
pub(crate) mod load;
pub(crate) mod manifest;
pub(crate) mod parts;
pub(crate) mod reader;
pub(crate) mod remote;
pub(crate) mod save;
pub(crate) mod target;
pub(crate) mod writer;
