//! Atomic and resumable writes.

pub mod atomic;
pub mod destination;
pub mod object;
pub(crate) mod out;
pub mod resumable;
#[allow(unsafe_code, reason = "a system call that has no other name")]
pub(crate) mod sync_range;
pub mod writeback;
