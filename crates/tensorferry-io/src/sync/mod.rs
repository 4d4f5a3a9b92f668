//! Synchronization that survives a fork.

pub mod fork_safe;
#[allow(unsafe_code, reason = "a handler of forks")]
pub mod process;
