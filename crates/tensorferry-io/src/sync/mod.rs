//! Locks that a forked process never waits for.

#[allow(unsafe_code, reason = "a handler of forks")]
pub mod process;
pub mod shared;
