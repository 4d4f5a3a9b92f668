//! Where memory comes from: recycled blocks and memory-mapped files.

pub(crate) mod gather;
mod mapped;
mod memory;
mod pages;
pub mod pool;

pub(crate) use mapped::map;
pub(crate) use memory::holds;
