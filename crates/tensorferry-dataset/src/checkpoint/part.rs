//! The last `shard` of a plan, and the part of the whole plan that it selects.

use crate::checkpoint::cut::{Cut, append};
use crate::shuffle::prng;
use crate::stage::Dataset;
use crate::transforms::select::parts::Parts;

/// The part of a whole that a plan is: the shard, and a hash of everything else but the sizes of
/// batches. A plan without `shard` is the only part of its whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) shards: u64,
    pub(crate) index: u64,
    pub(crate) whole: u64,
    /// Which elements its shards take.
    pub(crate) parts: Parts,
    /// Whether the number of elements that were handed out gives the position of the shard.
    pub(crate) counts: bool,
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
    pub(crate) fn of(dataset: &Dataset, cut: &Cut) -> Self {
        let Some((shard, after)) = sharded(dataset) else {
            let whole = prng::hash(cut.describe().as_bytes());
            return Self { shards: 1, index: 0, whole, parts: Parts::Strided, counts: true };
        };
        let (shards, index, parts) =
            shard.stage.checkpoint().shard.unwrap_or((1, 0, Parts::Strided));
        let mut words = shard.stage.inputs().first().map(ToString::to_string).unwrap_or_default();
        for (at, stage) in after.iter().enumerate().rev() {
            let is_batches = at < cut.len();
            let stage = &stage.stage;
            append(
                &mut words,
                &if is_batches { stage.describe_any_size() } else { stage.describe() },
            );
        }
        let counts = after.iter().all(|stage| stage.stage.checkpoint().consumes.is_some());
        Self { shards, index, whole: prng::hash(words.as_bytes()), parts, counts }
    }
}
