//! An indexed plan as an iterator.

use crate::checkpoint::state::State;
use crate::error::Result;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Step, step, value_of};
use std::ops::Range;

/// The elements of an indexed plan in order. Its state is a position.
pub(crate) struct InOrder {
    dataset: Dataset,
    cx: Context,
    position: u64,
    len: u64,
}

impl InOrder {
    pub(crate) fn new(dataset: Dataset, cx: Context) -> Self {
        let len = match dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        };
        Self { dataset, cx, position: 0, len }
    }

    /// The elements of a part.
    pub(crate) fn of_part(dataset: Dataset, cx: Context, part: Range<u64>) -> Self {
        Self { dataset, cx, position: part.start, len: part.end }
    }
}

impl ElementIter for InOrder {
    fn next(&mut self) -> Step {
        if self.position >= self.len {
            return Ok(None);
        }
        value_of!(step(self.cx.cancel.check()));
        // Advance first: after a panic, the next call continues with the element after it.
        self.position += 1;
        let element = step(self.dataset.stage.get(self.position - 1, &self.cx));
        if element.is_err() {
            self.position -= 1;
        }
        element
    }

    fn back(&mut self) -> bool {
        self.position = self.position.saturating_sub(1);
        true
    }

    fn save(&self) -> Result<State> {
        Ok(State::Int(self.position))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.position = state.int()?;
        Ok(())
    }
}
