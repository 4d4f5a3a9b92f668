//! Iterators that stages share: [`numbered`] keeps a number beside its input, and [`Counted`]
//! counts its elements and can take one back.

use crate::checkpoint::state::State;
use crate::error::Result;
use crate::spec::Component;
use crate::stage::{
    Context, Dataset, Element, ElementIter, Interrupted, Step, step, uninterrupted, value_of,
};
use std::collections::VecDeque;
use std::ops::Range;
use tensorferry_io::cancel::CancelToken;

/// An iterator over one input. Its own state is a number.
struct Numbered<F> {
    input: Box<dyn ElementIter>,
    number: u64,
    next: F,
}

/// An iterator that calls `next` with an iterator over `input` and a number. The number is `start`
/// at first, and saved and restored. `next` must change it only after its last `?`.
///
/// # Errors
/// As [`Dataset::element_iter`].
pub(crate) fn numbered(
    input: &Dataset,
    cx: &Context,
    start: u64,
    next: impl FnMut(&mut dyn ElementIter, &mut u64) -> Step + Send + 'static,
) -> Result<Box<dyn ElementIter>> {
    Ok(Box::new(Numbered { input: input.element_iter(cx)?, number: start, next }))
}

impl<F: FnMut(&mut dyn ElementIter, &mut u64) -> Step + Send> ElementIter for Numbered<F> {
    fn next(&mut self) -> Step {
        (self.next)(&mut *self.input, &mut self.number)
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.number), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.number = parts[0].int()?;
        self.input.restore(&parts[1])
    }
}

/// An iterator that counts its elements, including errors, and can take one back.
pub(crate) struct Counted {
    iter: Box<dyn ElementIter>,
    spec: Vec<Component>,
    cancel: CancelToken,
    index: u64,
    /// Elements that come before those of the iterator: one that was given back, or those that a
    /// saved iterator was working on.
    back: VecDeque<Result<Element>>,
}

impl Counted {
    pub(crate) fn new(input: &Dataset, cx: &Context) -> Result<Self> {
        Ok(Self::of(input.element_iter(cx)?, 0, input, cx))
    }

    /// A part of an indexed input: see [`Dataset::part_iter`].
    pub(crate) fn of_part(input: &Dataset, part: Range<u64>, cx: &Context) -> Result<Self> {
        let first = part.start;
        Ok(Self::of(input.part_iter(part, cx)?, first, input, cx))
    }

    fn of(iter: Box<dyn ElementIter>, index: u64, input: &Dataset, cx: &Context) -> Self {
        let (spec, cancel) = (input.spec().to_vec(), cx.cancel.clone());
        Self { iter, spec, cancel, index, back: VecDeque::new() }
    }

    /// The next element and its index. Checks for a cancellation each time, so a loop over it ends
    /// in time.
    pub(crate) fn next(&mut self) -> Step<(u64, Element)> {
        value_of!(step(self.cancel.check()));
        let element = match self.back.pop_front() {
            Some(element) => element,
            None => match self.iter.next()? {
                Some(element) => element,
                None => return Ok(None),
            },
        };
        let index = self.index;
        self.index = index.saturating_add(1);
        Ok(Some(element.map(|element| (index, element))))
    }

    /// The next element and the result of `call` for it. An error of `call` names the stage and the
    /// element. If `call` is interrupted, the next call returns the same element.
    pub(crate) fn next_with<T>(
        &mut self,
        stage: &'static str,
        call: impl FnOnce(Element) -> Result<T>,
    ) -> Step<(Element, T)> {
        let (index, element) = value_of!(self.next());
        let made = self.attempt(&element, call)?;
        Ok(Some(made.map(|made| (element, made)).map_err(|error| error.at_element(stage, index))))
    }

    /// The result of `call` for the last element, which is given back if `call` is interrupted.
    pub(crate) fn attempt<T>(
        &mut self,
        element: &Element,
        call: impl FnOnce(Element) -> Result<T>,
    ) -> Result<Result<T>, Interrupted> {
        uninterrupted(call(element.clone())).inspect_err(|_| self.give_back(element.clone()))
    }

    /// Gives back the last element, so that it is the next.
    pub(crate) fn give_back(&mut self, element: Element) {
        self.index = self.index.saturating_sub(1);
        if !self.iter.back() {
            self.back.push_front(Ok(element));
        }
    }

    pub(crate) fn save(&self) -> Result<State> {
        self.save_before(Vec::new())
    }

    /// The state of an iterator that hands out `elements` first: the last ones that this one did.
    pub(crate) fn save_before(&self, mut elements: Vec<State>) -> Result<State> {
        let index = self.index.saturating_sub(elements.len() as u64);
        for element in &self.back {
            elements.push(match element {
                Ok(element) => State::of_element(element)?,
                Err(error) => State::of_error(error),
            });
        }
        let back = match elements.len() {
            0 => State::Nothing,
            1 if matches!(elements[0], State::Tensors(_)) => elements.remove(0),
            _ => State::List(elements),
        };
        Ok(State::List(vec![State::Int(index), back, self.iter.save()?]))
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.index = parts[0].int()?;
        self.back = match &parts[1] {
            State::Nothing => VecDeque::new(),
            State::List(elements) => {
                elements.iter().map(|one| self.restored(one)).collect::<Result<_>>()?
            }
            one => [self.restored(one)?].into(),
        };
        self.iter.restore(&parts[2])
    }

    /// An element, or the error in its place.
    fn restored(&self, state: &State) -> Result<Result<Element>> {
        match state {
            State::List(_) => state.error().map(Err),
            _ => state.element_as(&self.spec).map(Ok),
        }
    }
}
