//! Where bytes lie, and how they are read.

pub mod local;
pub mod mode;
pub mod section;
