//! Where memory comes from: recycled blocks and memory-mapped files.

mod arenas;
pub(crate) mod gather;
mod mapped;
mod memory;
mod pages;
pub mod pool;
mod process;
pub(crate) mod rows;
pub(crate) mod spare;

pub use arenas::spare_address_space;
pub(crate) use mapped::map;
pub(crate) use memory::{holds, open_files, usable};
pub use process::process_id;
pub use spare::{SpareAllocator, keep_spare, make_room};
