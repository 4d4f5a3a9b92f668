//! Memory: recycled blocks, pages, memory maps, and limits.

pub mod arenas;
pub mod limits;
pub mod mmap;
pub mod pages;
pub mod pool;
pub mod room;
pub(crate) mod shelves;
pub mod spare;
