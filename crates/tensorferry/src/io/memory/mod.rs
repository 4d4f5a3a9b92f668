//! Memory: recycled blocks, whole pages, mappings, and how much there may be.

pub(crate) mod arenas;
pub(crate) mod limits;
pub(crate) mod mmap;
pub(crate) mod pages;
pub mod pool;
pub(crate) mod room;
pub(crate) mod spare;
