//! Checkpoints: the saved position of an iteration.

pub(crate) mod change;
#[allow(clippy::module_inception, reason = "a checkpoint has the name of its folder")]
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod cut;
pub(crate) mod differs;
pub(crate) mod elements;
pub(crate) mod merge;
pub(crate) mod part;
pub(crate) mod progress;
pub(crate) mod reshard;
pub(crate) mod resume;
#[cfg(test)]
mod resume_tests;
pub(crate) mod state;
