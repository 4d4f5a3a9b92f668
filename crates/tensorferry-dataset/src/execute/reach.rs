//! [`Reach`]: the elements of each source, and of each shuffle, that an iteration reads.

use std::collections::HashMap;
use std::ops::Range;

/// The elements of each source, and of each shuffle, that one pass over a plan reads, or more. They
/// are known by the addresses of their stages.
#[derive(Debug, Default)]
pub(crate) struct Reach(pub(crate) HashMap<usize, Part>);

/// Elements of a source or a shuffle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) elements: Range<u64>,
    /// Whether they are read one after the other, and all of them.
    pub(crate) in_order: bool,
}

impl Reach {
    /// The part of a source or a shuffle that is read. `None` if it is not of the plan.
    pub(crate) fn part<S>(&self, stage: &S) -> Option<&Part> {
        self.0.get(&std::ptr::from_ref(stage).addr())
    }

    /// Notes that a part of a stage is read, perhaps besides others.
    pub(crate) fn add(&mut self, stage: usize, part: Part) {
        let Range { start, end } = part.elements;
        self.0
            .entry(stage)
            .and_modify(|known| {
                known.elements = start.min(known.elements.start)..end.max(known.elements.end);
                known.in_order = false;
            })
            .or_insert(part);
    }
}
