//! Shuffles: permutations, blocks, buffers, and their random numbers.

pub(crate) mod block_order;
pub(crate) mod block_shuffle;
pub(crate) mod buffer;
pub(crate) mod group_buffer;
pub(crate) mod orders;
pub(crate) mod permutation;
pub(crate) mod prng;
#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod shuffle;
