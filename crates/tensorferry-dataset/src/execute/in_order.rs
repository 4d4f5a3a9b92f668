//! An indexed plan as a stream.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::stage::{Context, Element, ElementIter};

/// The elements of an indexed plan one after the other: a position is all its state.
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
}

impl ElementIter for InOrder {
    fn next(&mut self) -> Option<Result<Element>> {
        if self.position >= self.len {
            return None;
        }
        if let Err(stopped) = self.cx.stop.check() {
            return Some(Err(stopped));
        }
        // First, so that even after a panic the next element is the next.
        self.position += 1;
        let element = self.dataset.stage.get(self.position - 1, &self.cx);
        if matches!(element, Err(Error::Stopped)) {
            self.position -= 1;
        }
        Some(element)
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
