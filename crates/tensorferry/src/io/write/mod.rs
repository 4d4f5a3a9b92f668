//! Files that are always whole: written under another name, then renamed.

pub(crate) mod atomic;
pub(crate) mod resumable;
pub(crate) mod sync_range;
pub(crate) mod writeback;
