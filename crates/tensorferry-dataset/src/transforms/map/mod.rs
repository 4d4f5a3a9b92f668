//! Stages that call a user function for each element.

pub(crate) mod apart;
pub(crate) mod batched;
pub(crate) mod fold;
#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod map;
pub(crate) mod parallel;
pub(crate) mod scan;
