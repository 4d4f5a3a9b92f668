//! Iteration: when, where and how far ahead elements are computed.
//!
//! # Rationale
//! The plan decides which of three ways computes its elements. Without readahead, an indexed plan
//! computes each element on request, in the caller's thread. With readahead, threads share the work
//! ([`workers`]), unless user functions have to run in order. All other plans run in order: in the
//! caller's thread if they call user functions and do not read ahead, so that a function is called
//! exactly when its result is requested; otherwise on a thread of their own ([`producer`]).
//! Functions that allow it are called on threads ahead of all of these ([`calls`]).

pub(crate) mod calls;
pub(crate) mod compute;
pub(crate) mod in_order;
pub(crate) mod in_parallel;
pub(crate) mod iter;
pub(crate) mod memory_budget;
pub(crate) mod options;
mod pace;
pub(crate) mod producer;
pub(crate) mod reach;
pub(crate) mod reservation;
pub(crate) mod stats;
pub(crate) mod workers;

#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;
