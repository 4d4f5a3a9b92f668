//! Stages that select, repeat or number elements without changing their components.

pub(crate) mod cache;
pub(crate) mod components;
pub(crate) mod enumerate;
pub(crate) mod filter;
pub(crate) mod prefetch;
pub(crate) mod repeat;
pub(crate) mod shard;
pub(crate) mod skip;
pub(crate) mod take;
pub(crate) mod unique;
