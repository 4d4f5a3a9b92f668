//! Batches of elements that only come in order.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::spec::Component;
use crate::stage::{Context, Dataset, Element, ElementIter, Step, step, uninterrupted, value_of};
use tensorferry_io::memory::room::{Room, collected};

/// Whether there was no memory for an element. The next elements find none either, so a batch of a
/// million does not try them.
pub(crate) fn is_no_memory(error: &Error) -> bool {
    error.code() == "allocation"
}

/// An iterator whose elements are gathered into batches, and the elements of the next batch.
pub(crate) struct Gathered {
    input: Box<dyn ElementIter>,
    /// Of the input's elements.
    spec: Vec<Component>,
    names: Names,
    /// The number of the next batch.
    pub(crate) index: u64,
    /// Those of the next batch, which there are only after an interruption.
    elements: Vec<Element>,
    failed: Option<Error>,
    count: usize,
}

impl Gathered {
    /// Over the elements of `input`, whose components errors name as `names` does.
    pub(crate) fn new(input: &Dataset, names: Names, cx: &Context) -> Result<Self> {
        Ok(Self {
            input: input.element_iter(cx)?,
            spec: input.spec().to_vec(),
            names,
            index: 0,
            elements: Vec::new(),
            failed: None,
            count: 0,
        })
    }

    /// The next `size` elements, or, unless they are to be dropped, the remaining ones. One that
    /// failed costs all of them, so that what follows stays where it would have been.
    pub(crate) fn next(&mut self, size: usize, drop_remainder: bool) -> Step<Vec<Element>> {
        while self.count < size {
            value_of!(step(self.elements.make_room(1)));
            match self.input.next()? {
                Some(Ok(element)) if self.failed.is_none() => self.elements.push(element),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    // The batch is lost, and its elements with it.
                    self.elements = Vec::new();
                    let no_memory = is_no_memory(&error);
                    self.failed.get_or_insert(error);
                    if no_memory {
                        break;
                    }
                }
                None => break,
            }
            self.count += 1;
        }
        let (count, elements) =
            (std::mem::take(&mut self.count), std::mem::take(&mut self.elements));
        Ok(match self.failed.take() {
            // Also in the place of a batch that is dropped: it may be what ended the input.
            Some(error) => Some(Err(error)),
            None if count == 0 || (drop_remainder && count < size) => None,
            None => Some(Ok(elements)),
        })
    }

    /// The batch that was made of the elements; an error names it and its components.
    pub(crate) fn batch(&self, stage: &'static str, index: u64, batch: Result<Element>) -> Step {
        Ok(Some(batch.map_err(|error| self.names.explain(error).at_element(stage, index))))
    }

    pub(crate) fn save(&self) -> Result<State> {
        let gathered = if self.count == 0 {
            State::Nothing
        } else {
            let elements = collected(self.elements.iter().map(|one| State::of_element(one)));
            let failed = self.failed.as_ref().map_or(State::Nothing, State::of_error);
            State::List(vec![State::Int(self.count as u64), State::List(elements?), failed])
        };
        Ok(State::List(vec![State::Int(self.index), gathered, self.input.save()?]))
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.index = parts[0].int()?;
        (self.elements, self.failed, self.count) = (Vec::new(), None, 0);
        if let gathered @ State::List(_) = &parts[1] {
            let parts = gathered.list(3)?;
            self.count = usize::try_from(parts[0].int()?).unwrap_or(usize::MAX);
            let elements = parts[1].parts()?.iter().map(|one| one.element_as(&self.spec));
            self.elements = collected(elements)?;
            self.failed = parts[2].optional(State::error)?;
            // Those that failed count too.
            if self.count < self.elements.len() + usize::from(self.failed.is_some()) {
                let what =
                    "the state counts fewer elements of a batch than it holds; it is damaged";
                return Err(Error::State { what: what.into() });
            }
        } else if !matches!(parts[1], State::Nothing) {
            parts[1].parts()?;
        }
        self.input.restore(&parts[2])
    }
}

/// An iterator over batches, each of which `make` makes of its elements.
struct BatchIter<F> {
    gathered: Gathered,
    stage: &'static str,
    size: usize,
    drop_remainder: bool,
    make: F,
}

/// Batches of `size` elements of `input`, made by `make`.
///
/// # Errors
/// As [`Dataset::element_iter`].
pub(crate) fn batches(
    input: &Dataset,
    cx: &Context,
    stage: &'static str,
    (size, drop_remainder): (usize, bool),
    make: impl Fn(&[Element]) -> Result<Element> + Send + 'static,
) -> Result<Box<dyn ElementIter>> {
    let gathered = Gathered::new(input, input.names.clone(), cx)?;
    Ok(Box::new(BatchIter { gathered, stage, size, drop_remainder, make }))
}

impl<F: Fn(&[Element]) -> Result<Element> + Send> ElementIter for BatchIter<F> {
    fn next(&mut self) -> Step {
        let elements = self.gathered.next(self.size, self.drop_remainder)?;
        let Some(elements) = elements else { return Ok(None) };
        let batch = match elements {
            Err(error) => Err(error),
            Ok(elements) => match uninterrupted((self.make)(&elements)) {
                Ok(batch) => batch,
                Err(interrupted) => {
                    self.gathered.count = elements.len();
                    self.gathered.elements = elements;
                    return Err(interrupted);
                }
            },
        };
        let index = self.gathered.index;
        self.gathered.index = index.saturating_add(1);
        self.gathered.batch(self.stage, index, batch)
    }

    fn save(&self) -> Result<State> {
        self.gathered.save()
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.gathered.restore(state)
    }
}

/// How many batches of `size` a dataset has.
pub(crate) fn count(
    input: &Dataset,
    size: usize,
    drop_remainder: bool,
) -> crate::spec::Cardinality {
    let size = size as u64;
    input.cardinality().map(|n| if drop_remainder { n / size } else { n.div_ceil(size) })
}

/// How many of `size` elements from `start` on there are.
pub(crate) fn len_from(input: &Dataset, start: u64, size: usize) -> usize {
    let left = input.cardinality().finite().map(|n| n.saturating_sub(start));
    left.and_then(|left| usize::try_from(left).ok()).map_or(size, |left| left.min(size))
}
