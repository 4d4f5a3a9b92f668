//! Locks that a forked process never waits for in vain.

pub mod fork_safe;
#[allow(unsafe_code, reason = "a handler of forks")]
pub mod process;
