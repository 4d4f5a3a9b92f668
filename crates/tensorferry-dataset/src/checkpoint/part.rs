//! The last `shard` of a plan, and the part of the whole plan that it selects.

use crate::shuffle::prng;
use crate::stage::Dataset;

/// The part of a whole that a plan is: the shard, and a hash of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) shards: u64,
    pub(crate) index: u64,
    pub(crate) whole: u64,
}

/// The last `shard` of a plan, and the stages after it, last first. Each of these must have one
/// input.
pub(crate) fn sharded(dataset: &Dataset) -> Option<(Dataset, Vec<Dataset>)> {
    let (mut stage, mut after) = (dataset.clone(), Vec::new());
    while stage.stage.checkpoint().shard.is_none() {
        let [input] = stage.stage.inputs() else { return None };
        let input = input.clone();
        after.push(std::mem::replace(&mut stage, input));
    }
    Some((stage, after))
}

impl Part {
    pub(crate) fn of(dataset: &Dataset) -> Option<Self> {
        let (shard, after) = sharded(dataset)?;
        let (shards, index) = shard.stage.checkpoint().shard?;
        let mut words = shard.stage.inputs().first().map(ToString::to_string).unwrap_or_default();
        for stage in after.iter().rev() {
            words.push_str(" | ");
            words.push_str(&stage.stage.describe());
        }
        Some(Self { shards, index, whole: prng::hash(words.as_bytes()) })
    }
}
