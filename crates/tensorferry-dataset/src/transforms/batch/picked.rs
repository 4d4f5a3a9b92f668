//! Iterators over elements whose indices only iterating tells: see
//! [`Picks`](crate::stage::Picks).

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::stage::{Context, Dataset, Element, ElementIter, Picked, Step, uninterrupted, value_of};
use crate::transforms::batch::gathered::is_no_memory;
use crate::transforms::batch::stacked::{gathered, stacked};
use tensorferry_io::memory::room::Room;

/// The elements, one by one.
struct PickedIter {
    picked: Picked,
    /// The state before `index`.
    before: State,
    /// An index whose element was interrupted.
    index: Option<u64>,
    cx: Context,
}

/// The elements, one by one.
pub(crate) fn picked_elements(picked: Picked, cx: &Context) -> Box<dyn ElementIter> {
    Box::new(PickedIter { picked, before: State::Nothing, index: None, cx: cx.clone() })
}

impl ElementIter for PickedIter {
    fn next(&mut self) -> Step {
        if self.index.is_none() {
            self.before = self.picked.indices.save();
            self.index = Some(value_of!(self.picked.indices.next()));
        }
        let Some(index) = self.index else { return Ok(None) };
        let element = uninterrupted(self.picked.source.stage.get(index, &self.cx))?;
        self.index = None;
        Ok(Some(element))
    }

    fn save(&self) -> Result<State> {
        Ok(if self.index.is_some() { self.before.clone() } else { self.picked.indices.save() })
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.index = None;
        self.picked.indices.restore(state)
    }
}

/// Batches whose rows are gathered together.
struct PickedBatches<F> {
    picked: Picked,
    names: Names,
    size: usize,
    drop_remainder: bool,
    cx: Context,
    /// Index of the next batch.
    index: u64,
    /// The state before the next batch.
    before: State,
    /// Indices of the next batch. Empty between calls, except after an interruption.
    rows: Vec<u64>,
    failed: Option<Error>,
    /// How many elements the next batch has, failed ones included.
    count: usize,
    stage: &'static str,
    /// The batch of elements of the source.
    gather: F,
}

/// The elements of an indexed dataset, stacked.
pub(crate) fn stacked_rows(source: &Dataset, rows: &[u64], cx: &Context) -> Result<Element> {
    let run = rows.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    match rows.first() {
        Some(&first) if run => stacked(source, first, rows.len(), "batch", cx),
        _ => gathered(source, rows.len(), |slot| rows[slot], "batch", cx),
    }
}

/// Batches of `size` elements of `input`, which are `picked`, each computed by `gather` from the
/// indices of its elements in the source.
pub(crate) fn picked_batches(
    picked: Picked,
    input: &Dataset,
    cx: &Context,
    (size, drop_remainder): (usize, bool),
    stage: &'static str,
    gather: impl Fn(&[u64], &Context) -> Result<Element> + Send + 'static,
) -> Box<dyn ElementIter> {
    Box::new(PickedBatches {
        picked,
        names: input.names.clone(),
        size,
        drop_remainder,
        cx: cx.clone(),
        index: 0,
        before: State::Nothing,
        rows: Vec::new(),
        failed: None,
        count: 0,
        stage,
        gather,
    })
}

impl<F> PickedBatches<F> {
    /// Collects the indices of the next batch. An element that failed fails the whole batch, so the
    /// batches after it keep their elements.
    fn collect(&mut self) -> Step<()> {
        if self.count == 0 {
            self.before = self.picked.indices.save();
        }
        while self.count < self.size {
            if let Err(error) = self.rows.make_room(1) {
                return Ok(Some(Err(error.into())));
            }
            match self.picked.indices.next()? {
                Some(Ok(row)) => self.rows.push(row),
                Some(Err(error)) => {
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
        Ok(Some(Ok(())))
    }

    fn begin_next(&mut self) {
        (self.count, self.failed) = (0, None);
        self.rows.clear();
    }
}

impl<F: Fn(&[u64], &Context) -> Result<Element> + Send> ElementIter for PickedBatches<F> {
    fn next(&mut self) -> Step {
        value_of!(self.collect());
        let too_few = self.count == 0 || (self.drop_remainder && self.count < self.size);
        let batch = match self.failed.take() {
            Some(error) => Err(error),
            None if too_few => {
                self.begin_next();
                return Ok(None);
            }
            None => uninterrupted((self.gather)(&self.rows, &self.cx))?,
        };
        self.begin_next();
        let index = self.index;
        self.index = index.saturating_add(1);
        Ok(Some(batch.map_err(|error| self.names.explain(error).at_element(self.stage, index))))
    }

    fn save(&self) -> Result<State> {
        let picks = match self.count {
            0 => self.picked.indices.save(),
            _ => self.before.clone(),
        };
        Ok(State::List(vec![State::Int(self.index), picks]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.index = parts[0].int()?;
        self.begin_next();
        self.picked.indices.restore(&parts[1])
    }
}
