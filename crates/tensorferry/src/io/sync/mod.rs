//! Locks that a forked process never waits for.

pub(crate) mod process;
pub(crate) mod shared;
