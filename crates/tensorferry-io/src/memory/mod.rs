//! Memory: recycled blocks, whole pages, mappings, and how much there may be.

pub mod arenas;
pub mod limits;
pub mod mmap;
pub mod pages;
pub mod pool;
pub mod room;
pub(crate) mod shelves;
pub mod spare;
