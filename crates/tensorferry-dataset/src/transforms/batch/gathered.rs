//! Batches of elements from inputs without random access.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::spec::Component;
use crate::stage::{Context, Dataset, Element, ElementIter, Step, step, uninterrupted, value_of};
use std::ops::Range;
use tensorferry_core::Error as CoreError;
use tensorferry_io::memory::room::{Room, collected};

/// Whether an allocation failed, in a user function or here. The next elements would fail too, so a
/// batch stops there.
pub(crate) fn is_no_memory(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error.innermost() {
        Error::Function { source } => Some(&**source),
        _ => return error.code() == "allocation",
    };
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(CoreError::Allocation { .. })) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An iterator, and the elements read from it for the next batch.
pub(crate) struct Gathered {
    input: Box<dyn ElementIter>,
    /// Specification of the input's elements.
    spec: Vec<Component>,
    names: Names,
    /// Index of the next batch.
    pub(crate) index: u64,
    /// Elements of the next batch. Empty between calls, except after an interruption.
    elements: Vec<Element>,
    failed: Option<Error>,
    count: usize,
}

impl Gathered {
    /// Gathers the elements of `input`. Errors name components by `names`.
    pub(crate) fn new(input: &Dataset, names: Names, cx: &Context) -> Result<Self> {
        Ok(Self::of(input.element_iter(cx)?, input, names))
    }

    fn of(iter: Box<dyn ElementIter>, input: &Dataset, names: Names) -> Self {
        Self {
            input: iter,
            spec: input.spec().to_vec(),
            names,
            index: 0,
            elements: Vec::new(),
            failed: None,
            count: 0,
        }
    }

    /// The next `size` elements, or the remaining ones unless `drop_remainder`. An element that
    /// failed fails the whole batch, so the batches after it keep their elements.
    pub(crate) fn next(&mut self, size: usize, drop_remainder: bool) -> Step<Vec<Element>> {
        while self.count < size {
            value_of!(step(self.elements.make_room(1)));
            match self.input.next()? {
                Some(Ok(element)) if self.failed.is_none() => self.elements.push(element),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
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
            // Reported even if the batch would be dropped: the error may have ended the input.
            Some(error) => Some(Err(error)),
            None if count == 0 || (drop_remainder && count < size) => None,
            None => Some(Ok(elements)),
        })
    }

    /// The batch as a step. An error gets the stage, the batch's index and component names.
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
            // Failed elements count too.
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

/// An iterator over batches, each computed by `make` from its elements.
struct BatchIter<F> {
    gathered: Gathered,
    stage: &'static str,
    size: usize,
    drop_remainder: bool,
    make: F,
}

/// Batches of `size` elements of `input`, each computed by `make`.
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

/// As [`batches`], for a part of the batches of an indexed input: see [`Dataset::part_iter`].
///
/// # Errors
/// As [`Dataset::part_iter`].
pub(crate) fn batches_of_part(
    input: &Dataset,
    cx: &Context,
    stage: &'static str,
    (size, drop_remainder): (usize, bool),
    part: Range<u64>,
    make: impl Fn(&[Element]) -> Result<Element> + Send + 'static,
) -> Result<Box<dyn ElementIter>> {
    let len = input.cardinality().finite().unwrap_or(u64::MAX);
    let end = part.end.saturating_mul(size as u64).min(len);
    let elements = part.start.saturating_mul(size as u64).min(end)..end;
    let mut gathered = Gathered::of(input.part_iter(elements, cx)?, input, input.names.clone());
    gathered.index = part.start;
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

/// Number of batches of `size` elements.
pub(crate) fn count(
    input: &Dataset,
    size: usize,
    drop_remainder: bool,
) -> crate::spec::Cardinality {
    let size = size as u64;
    input.cardinality().map(|n| if drop_remainder { n / size } else { n.div_ceil(size) })
}

/// Number of elements in a batch of `size` that starts at `start`.
pub(crate) fn len_from(input: &Dataset, start: u64, size: usize) -> usize {
    let left = input.cardinality().finite().map(|n| n.saturating_sub(start));
    left.and_then(|left| usize::try_from(left).ok()).map_or(size, |left| left.min(size))
}
