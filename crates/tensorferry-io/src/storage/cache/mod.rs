//! A disk cache of remote objects, shared by processes.

mod object;
mod pieces;

pub use object::{CacheCounts, CachedObject};
pub use pieces::PieceCache;
