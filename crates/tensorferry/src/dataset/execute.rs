//! Iteration.

use super::node::{Context, Element, Stop, Stream};
use super::state::State;
use super::{Cardinality, Dataset, Epoch};
use crate::{Error, Result};

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

impl Stream for InOrder {
    fn next(&mut self) -> Option<Result<Element>> {
        if self.position >= self.len {
            return None;
        }
        if let Err(stopped) = self.cx.stop.check() {
            return Some(Err(stopped));
        }
        let element = self.dataset.node.get(self.position, &self.cx);
        self.position += 1;
        Some(element)
    }

    fn save(&self) -> Result<State> {
        Ok(State::Int(self.position))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.position = state.int()?;
        Ok(())
    }
}

/// One pass over a dataset.
pub struct Iter {
    stream: Result<Box<dyn Stream>>,
}

impl Dataset {
    /// The elements of the plan's first epoch.
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter { stream: self.stream(&Context { epoch: Epoch(0), stop: Stop::default() }) }
    }
}

impl Iterator for Iter {
    type Item = Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.stream {
            Ok(stream) => stream.next(),
            Err(error) => Some(Err(std::mem::replace(error, Error::Stopped))),
        }
    }
}

impl IntoIterator for &Dataset {
    type Item = Result<Element>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}
