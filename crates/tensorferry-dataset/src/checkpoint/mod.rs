//! Checkpoints: the saved position of an iteration.

pub(crate) mod change;
#[allow(clippy::module_inception, reason = "a checkpoint has the name of its folder")]
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod elements;
pub(crate) mod part;
pub(crate) mod reshard;
pub(crate) mod resume;
pub(crate) mod state;
