//! The differences between a plan and the one that a checkpoint restores.

use crate::transforms::select::parts::Parts;
use std::collections::VecDeque;

/// Shard positions of an earlier run with another number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resharded {
    /// How many elements each old shard handed out, in the order of the shards.
    pub positions: Vec<u64>,
    /// The parts that the shards were.
    pub parts: Parts,
}

/// What [`Stage::rebuild`](crate::stage::Stage::rebuild) changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// Seeds that replace drawn ones, in the order of
    /// [`Dataset::drawn_seeds`](crate::stage::Dataset::drawn_seeds).
    pub(crate) seeds: VecDeque<u64>,
    /// Shard positions of the run that this one continues.
    pub(crate) resharded: Option<Resharded>,
}
