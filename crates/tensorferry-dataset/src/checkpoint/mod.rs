//! The saved position of an iteration.

#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod reshard;
pub(crate) mod state;
