//! Where memory comes from: recycled blocks and memory-mapped files.

mod pages;
pub mod pool;
