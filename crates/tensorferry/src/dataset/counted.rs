//! The input of a stage that names, in its errors, the input's element it was at.

use super::node::{Context, Element, Stream};
use super::state::State;
use super::{Dataset, Stop};
use crate::Result;

/// A stream, and how many elements it has given. Elements that are errors count too.
pub(crate) struct Counted {
    stream: Box<dyn Stream>,
    stop: Stop,
    index: u64,
}

impl Counted {
    pub(crate) fn new(input: &Dataset, cx: &Context) -> Result<Self> {
        Ok(Self { stream: input.stream(cx)?, stop: cx.stop.clone(), index: 0 })
    }

    /// The next element and its index. Asks each time whether somebody still waits, so that a loop over it ends when it should.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, Element)>> {
        if let Err(stopped) = self.stop.check() {
            return Some(Err(stopped));
        }
        let element = self.stream.next()?;
        let index = self.index;
        self.index = index.saturating_add(1);
        Some(element.map(|element| (index, element)))
    }

    pub(crate) fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.index), self.stream.save()?]))
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.index = parts[0].int()?;
        self.stream.restore(&parts[1])
    }
}
