//! A disk cache of remote objects, shared by processes.
//!
//! # Rationale
//! A piece is kept until its object makes way: reading does not change the order, because an epoch
//! reads every piece once. A cache of a tenth of the data so answers a tenth of the reads, in every
//! epoch. Nothing is synced: checksums tell what a power failure left.
//!
//! # Limitations
//! Pieces are not encrypted: they are as private as their folder.

mod folder;
mod header;
mod key;
mod layout;
mod lease;
mod ledger;
mod object;
mod pieces;
mod positional;
mod reader;
mod segment;
mod segment_file;
mod usage;

pub use object::{CacheCounts, CachedObject};
pub use pieces::PieceCache;
pub use reader::CacheReader;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod process_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
