//! Stages that select, repeat or number elements without changing their components.

pub(crate) mod cache;
pub(crate) mod components;
pub(crate) mod draw;
pub(crate) mod enumerate;
pub(crate) mod filter;
pub(crate) mod filter_batched;
pub(crate) mod indices;
pub(crate) mod parts;
pub(crate) mod prefetch;
pub(crate) mod repeat;
#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod select;
pub(crate) mod shard;
pub(crate) mod skip;
pub(crate) mod split;
pub(crate) mod stride;
pub(crate) mod take;
pub(crate) mod unique;
pub(crate) mod unseen;
