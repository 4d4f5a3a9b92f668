//! Indexed plans whose functions are called on several threads.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::calls::{Calls, Jobs};
use crate::execute::compute::compute;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Step, step, value_of};
use std::ops::Range;
use tensorferry_io::sync::process::process_id;

/// The elements of an indexed plan in order, as [`Dataset::part_iter`] computes them. Its state is
/// a position: after resuming, elements that were computed ahead are computed again.
pub(crate) struct InParallel {
    dataset: Dataset,
    cx: Context,
    position: u64,
    len: u64,
    /// The pass from `position` on, and the process that made it.
    iter: Option<(Box<dyn ElementIter>, u32)>,
}

impl InParallel {
    pub(crate) fn new(dataset: Dataset, cx: Context) -> Self {
        let len = match dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        };
        Self { dataset, cx, position: 0, len, iter: None }
    }
}

impl ElementIter for InParallel {
    fn next(&mut self) -> Step {
        if self.position >= self.len {
            return Ok(None);
        }
        // Threads do not survive a fork.
        if self.iter.as_ref().is_none_or(|(_, process)| *process != process_id()) {
            let part = self.position..self.len;
            let iter = value_of!(step(self.dataset.part_iter(part, &self.cx)));
            self.iter = Some((iter, process_id()));
        }
        let Some((iter, _)) = &mut self.iter else { return Ok(None) };
        // Advance first: after a panic, the next call continues with the element after it.
        self.position += 1;
        let element = iter.next();
        if !matches!(element, Ok(Some(_))) {
            self.position -= 1;
        }
        element
    }

    fn save(&self) -> Result<State> {
        Ok(State::Int(self.position))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        (self.position, self.iter) = (state.int()?, None);
        Ok(())
    }
}

/// The elements of a part of an indexed plan, each computed from its index on one of several
/// threads.
pub(crate) struct Computed(Calls<Indices>);

struct Indices(Range<u64>);

impl Jobs for Indices {
    type Job = u64;

    fn next(&mut self) -> Step<u64> {
        Ok(self.0.next().map(Ok))
    }
}

impl Computed {
    pub(crate) fn new(dataset: Dataset, cx: &Context, part: Range<u64>) -> Self {
        let contexts = Calls::<Indices>::context(cx);
        let (threads, cx) = (dataset.hints.calls, contexts.0.clone());
        let call = move |index| compute(&dataset, index, &cx);
        Self(Calls::new(Indices(part), threads, contexts, call))
    }
}

impl ElementIter for Computed {
    fn next(&mut self) -> Step {
        self.0.next()
    }

    fn save(&self) -> Result<State> {
        Err(stateless())
    }

    fn restore(&mut self, _state: &State) -> Result<()> {
        Err(stateless())
    }
}

/// The error of a part's iterator, whose position [`InParallel`] keeps.
fn stateless() -> Error {
    Error::State { what: "a part of a plan has no state of its own".into() }
}
