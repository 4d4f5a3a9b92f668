//! Locks that a forked process never waits for in vain.

pub mod fork_safe;
#[allow(unsafe_code, reason = "a handler of forks")]
pub mod process;

/// Old names, until their users are renamed.
pub mod shared {
    pub use crate::sync::fork_safe::ForkSafe as Shared;
}
