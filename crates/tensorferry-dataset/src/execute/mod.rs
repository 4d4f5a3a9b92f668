//! Iteration: when, where and how far ahead elements are computed.
//!
//! # Rationale
//! There are three ways to compute a plan's elements, and the plan decides. Where element `i`
//! follows from `i`, it is computed on request, in the caller's thread, at no further cost. Where
//! such a plan reads ahead, threads share the work ([`workers`]). A plan with a stage that cannot
//! be indexed runs in order: in the caller's thread if it calls user functions, so that they are
//! called exactly when their results are requested; else, or if it reads ahead, on a thread of its
//! own ([`producer`]).

pub(crate) mod compute;
pub(crate) mod in_order;
pub(crate) mod iter;
pub(crate) mod memory_budget;
pub(crate) mod options;
pub(crate) mod producer;
pub(crate) mod reservation;
pub(crate) mod stats;
pub(crate) mod workers;

#[cfg(test)]
mod tests;
