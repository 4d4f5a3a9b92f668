//! The input of a stage that names, in its errors, the input's element it was at.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::{Context, Element, ElementIter};
use tensorferry_io::cancel::Stop;

/// A stream, and how many elements it has given. Elements that are errors count too.
pub(crate) struct Counted {
    stream: Box<dyn ElementIter>,
    spec: Vec<Component>,
    stop: Stop,
    index: u64,
    /// An element that was given back.
    back: Option<Element>,
}

impl Counted {
    pub(crate) fn new(input: &Dataset, cx: &Context) -> Result<Self> {
        Ok(Self {
            stream: input.element_iter(cx)?,
            spec: input.spec().to_vec(),
            stop: cx.stop.clone(),
            index: 0,
            back: None,
        })
    }

    /// The next element and its index. Asks each time whether somebody still waits, so that a loop
    /// over it ends when it should.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, Element)>> {
        if let Err(stopped) = self.stop.check() {
            return Some(Err(stopped));
        }
        let element = match self.back.take() {
            Some(element) => Ok(element),
            None => self.stream.next()?,
        };
        if matches!(element, Err(Error::Stopped)) {
            return Some(Err(Error::Stopped));
        }
        let index = self.index;
        self.index = index.saturating_add(1);
        Some(element.map(|element| (index, element)))
    }

    /// Gives back the element that came last, because what was to be done with it was stopped, and
    /// says so.
    pub(crate) fn stopped<T>(&mut self, element: Element) -> Option<Result<T>> {
        self.index = self.index.saturating_sub(1);
        if !self.stream.back() {
            self.back = Some(element);
        }
        Some(Err(Error::Stopped))
    }

    pub(crate) fn save(&self) -> Result<State> {
        let back =
            self.back.as_ref().map_or(Ok(State::Nothing), |element| State::of_element(element))?;
        Ok(State::List(vec![State::Int(self.index), back, self.stream.save()?]))
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.index = parts[0].int()?;
        self.back = parts[1].optional(|element| element.element_as(&self.spec))?;
        self.stream.restore(&parts[2])
    }
}
