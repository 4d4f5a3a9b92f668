//! Where bytes lie, and how they are read.

pub(crate) mod local;
pub(crate) mod mode;
pub(crate) mod section;
