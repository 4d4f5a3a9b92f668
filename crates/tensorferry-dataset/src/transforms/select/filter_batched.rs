//! `filter_batched`: elements for which a predicate of whole batches is true.
//!
//! # Rationale
//! An indexed input is asked for the components that the predicate reads, a batch at a time. The
//! elements that pass are known by their indices, so a later `batch` gathers them together, and the
//! others are never read. Batches begin at multiples of their size, also after a resume.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec::{self, Cardinality};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Interrupted, Picked, Picks, Stage, Step,
    step, uninterrupted, value_of,
};
use crate::transforms::batch::batch::BatchOptions;
use crate::transforms::batch::measured::consecutive;
use crate::transforms::batch::picked::picked_elements;
use crate::transforms::batch::ragged_batch::RaggedBatch;
use crate::transforms::batch::stacked::{stack, stacked};
use crate::user_fn::function::{Function, UserFn};
use std::sync::Arc;

/// Bytes that the predicate is called with at most, unless one element has more.
const CALL_BYTES: usize = 16 << 20;
/// Elements of unknown shape that it is called with at most.
const CALL_UNKNOWN: usize = 64;

/// What [`Dataset::filter_batched`] calls its predicate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterOptions {
    /// The components that it reads, in their order; `None` for all.
    pub components: Option<Vec<usize>>,
    /// Elements of one call, at least 1. Fewer if they have more than 16 MiB.
    pub batch_size: usize,
    /// The components that are one string each, numbered as the predicate reads them. It gets the
    /// bytes of all and their row splits, as in [`Dataset::batch_ragged`].
    pub strings: Vec<usize>,
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self { components: None, batch_size: 4096, strings: Vec::new() }
    }
}

struct FilterBatched {
    input: Dataset,
    /// The input's components that the predicate reads.
    asked: Dataset,
    /// Their batches, if they hold strings.
    batches: Option<Arc<RaggedBatch>>,
    predicate: Function<Element, Vec<bool>>,
    options: FilterOptions,
    /// Elements of one call.
    size: u64,
}

impl Dataset {
    /// The elements for which `predicate` is true. It is called with a batch of elements (their
    /// components stacked), and returns one bool for each. Whether an element passes must not
    /// depend on the others of its batch.
    ///
    /// Of an indexed dataset, only the components that the predicate reads are gathered for it, and
    /// all components of the elements that pass; [`Dataset::batch`] gathers these together. Any
    /// other dataset is filtered in batches of one element.
    ///
    /// If a call fails, the predicate is called again with each element of that batch alone. The
    /// error takes the place of the elements that fail then.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, Element, FilterOptions, Function};
    ///
    /// let odd = Function::new("odd", |batch: Element| {
    ///     Ok(batch[0].tensor()?.view::<i64>()?.iter().map(|value| value % 2 == 1).collect())
    /// });
    /// let numbers = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let batch = numbers.filter_batched(odd, FilterOptions::default())?.batch(5)?.iter().next();
    /// let batch = batch.unwrap()?;
    /// assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[1, 3, 5, 7, 9][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if a component does not exist or is a dataset, or `batch_size` is 0.
    pub fn filter_batched(
        &self,
        predicate: Function<Element, Vec<bool>>,
        options: FilterOptions,
    ) -> Result<Self> {
        let asked = match &options.components {
            Some(which) => self.components(which)?,
            None => self.clone(),
        };
        if options.batch_size == 0 {
            let what = "batch_size has to be at least 1".into();
            return Err(Error::Argument { stage: "filter", what });
        }
        let parts = spec::tensors(asked.spec(), "filter")?;
        let bytes: Option<usize> = parts.iter().map(|part| Some(part.fixed()?.1)).sum();
        let most = bytes.map_or(CALL_UNKNOWN, |bytes| (CALL_BYTES / bytes.max(1)).max(1));
        let size = options.batch_size.min(most) as u64;
        let batches = if options.strings.is_empty() {
            None
        } else {
            let strings = Some(options.strings.as_slice().into());
            let last = BatchOptions::default();
            Some(Arc::new(RaggedBatch::new(&asked, options.batch_size, strings, last)?))
        };
        let input = self.clone();
        Ok(Self::of(FilterBatched { input, asked, batches, predicate, options, size }))
    }
}

/// The predicate's answers for `len` elements.
fn answers(
    predicate: &Function<Element, Vec<bool>>,
    elements: Element,
    len: usize,
) -> Result<Vec<bool>> {
    let passes = predicate.call(elements)?;
    if passes.len() == len {
        return Ok(passes);
    }
    let what = format!(
        "the predicate has to return one bool for each of {len} elements, and returned {}. Compare \
         row by row, and reduce other dimensions with all() or any().",
        passes.len()
    );
    Err(Error::Argument { stage: "filter", what })
}

impl Stage for FilterBatched {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        match &self.options.components {
            Some(which) => format!("filter({}, batched, {which:?})", self.predicate.name()),
            None if !self.options.strings.is_empty() => {
                format!("filter({}, batched, strings)", self.predicate.name())
            }
            None => format!("filter({}, batched)", self.predicate.name()),
        }
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].filter_batched(self.predicate.clone(), self.options.clone())
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.predicate]
    }

    fn picks(&self, cx: &Context) -> Result<Option<Picked>> {
        if !self.input.indexed {
            return Ok(None);
        }
        let indices = Passing {
            asked: self.asked.clone(),
            batches: self.batches.clone(),
            predicate: self.predicate.clone(),
            size: self.size,
            len: self.input.cardinality().finite().unwrap_or(u64::MAX),
            position: 0,
            chunk: Chunk::default(),
            cx: cx.clone(),
        };
        Ok(Some(Picked { source: self.input.clone(), indices: Box::new(indices) }))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        if let Some(picked) = self.picks(cx)? {
            return Ok(picked_elements(picked, cx));
        }
        Ok(Box::new(OneByOne {
            input: Counted::new(&self.input, cx)?,
            components: self.options.components.clone(),
            batches: self.batches.clone(),
            predicate: self.predicate.clone(),
        }))
    }
}

/// The indices of the elements that pass.
struct Passing {
    asked: Dataset,
    batches: Option<Arc<RaggedBatch>>,
    predicate: Function<Element, Vec<bool>>,
    size: u64,
    len: u64,
    /// The first index that is not known to be handed out or to fail the predicate.
    position: u64,
    /// The answers for the elements around `position`.
    chunk: Chunk,
    cx: Context,
}

/// The answers for some neighbouring elements.
#[derive(Default)]
struct Chunk {
    start: u64,
    answers: Vec<Answer>,
}

enum Answer {
    Passes,
    Fails,
    Failed(Error),
}

impl From<bool> for Answer {
    fn from(passes: bool) -> Self {
        if passes { Self::Passes } else { Self::Fails }
    }
}

impl Passing {
    fn ask(&self, start: u64, len: usize) -> Result<Vec<bool>> {
        let elements = match &self.batches {
            Some(batches) => batches.of(&consecutive(start, len)?, &self.cx)?,
            None => stacked(&self.asked, start, len, "filter", &self.cx)?,
        };
        answers(&self.predicate, elements, len)
    }

    /// The answers for the elements from `start` to the next multiple of the size.
    fn chunk(&self, start: u64) -> Result<Chunk, Interrupted> {
        let len = usize::try_from(self.size.min(self.len - start)).unwrap_or(usize::MAX);
        let answers = match uninterrupted(self.ask(start, len))? {
            Ok(all) => all.into_iter().map(Answer::from).collect(),
            Err(error) if len == 1 => vec![Answer::Failed(error.at_element("filter", start))],
            Err(_) => (start..start + len as u64)
                .map(|index| {
                    Ok(match uninterrupted(self.ask(index, 1))? {
                        Ok(one) => Answer::from(one == [true]),
                        Err(error) => Answer::Failed(error.at_element("filter", index)),
                    })
                })
                .collect::<Result<_, Interrupted>>()?,
        };
        Ok(Chunk { start, answers })
    }
}

impl Picks for Passing {
    fn next(&mut self) -> Step<u64> {
        while self.position < self.len {
            let start = self.position - self.position % self.size;
            if self.chunk.start != start || self.chunk.answers.is_empty() {
                value_of!(step(self.cx.cancel.check()));
                self.chunk = self.chunk(start)?;
            }
            let first = usize::try_from(self.position - start).unwrap_or(usize::MAX);
            let rest = self.chunk.answers.iter_mut().enumerate().skip(first);
            let Some((at, answer)) =
                rest.into_iter().find(|(_, answer)| !matches!(answer, Answer::Fails))
            else {
                self.position = start + self.chunk.answers.len() as u64;
                continue;
            };
            let index = start + at as u64;
            self.position = index + 1;
            return Ok(Some(match std::mem::replace(answer, Answer::Fails) {
                Answer::Failed(error) => Err(error),
                _ => Ok(index),
            }));
        }
        Ok(None)
    }

    fn save(&self) -> State {
        State::Int(self.position)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.position = state.int()?;
        self.chunk = Chunk::default();
        Ok(())
    }
}

/// The elements of an input without random access, asked for in batches of one.
struct OneByOne {
    input: Counted,
    components: Option<Vec<usize>>,
    batches: Option<Arc<RaggedBatch>>,
    predicate: Function<Element, Vec<bool>>,
}

impl ElementIter for OneByOne {
    fn next(&mut self) -> Step {
        loop {
            let call = |element: Element| {
                let asked = match &self.components {
                    Some(which) => which.iter().map(|&at| element[at].clone()).collect(),
                    None => element,
                };
                let batch = match &self.batches {
                    Some(batches) => batches.of_elements(&[asked])?,
                    None => stack(&[asked], "filter", None)?,
                };
                answers(&self.predicate, batch, 1)
            };
            let (element, passes) = value_of!(self.input.next_with("filter", call));
            if passes == [true] {
                return Ok(Some(Ok(element)));
            }
        }
    }

    fn save(&self) -> Result<State> {
        self.input.save()
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.input.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShuffleOptions;
    use crate::all_ways::{shapeless, streamed};
    use crate::testing::{
        assert_goes_on_after_a_stop, assert_rebuilds, assert_rejects_damage, assert_resumes,
        counting, first, range, rows, values,
    };
    use crate::transforms::batch::batch::BatchOptions;
    use crate::user_fn::function::failed;

    /// Keeps what is not divisible by 3; fails for a batch with `bad`.
    fn picky(bad: i64) -> Function<Element, Vec<bool>> {
        Function::new("picky", move |batch: Element| {
            let values: Vec<i64> = batch[0].tensor()?.view::<i64>()?.iter().collect();
            if values.contains(&bad) {
                return Err(failed(format!("{bad} is refused")));
            }
            Ok(values.iter().map(|value| value % 3 != 0).collect())
        })
    }

    fn sized(batch_size: usize) -> FilterOptions {
        FilterOptions { batch_size, ..FilterOptions::default() }
    }

    fn one_by_one(bad: i64) -> Function<Element, bool> {
        Function::new("one by one", move |element: Element| match first(&element) {
            value if value == bad => Err(failed(format!("{bad} is refused"))),
            value => Ok(value % 3 != 0),
        })
    }

    /// Values, or the message of the error.
    fn all(dataset: &Dataset) -> Vec<std::result::Result<Vec<i64>, String>> {
        let numbers =
            |element: Element| element[0].tensor().unwrap().view::<i64>().unwrap().iter().collect();
        dataset
            .iter()
            .map(|element| element.map(numbers).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn agrees_with_filter_element_by_element_also_in_errors() -> Result<()> {
        for n in [0, 1, 7, 24, 25] {
            for bad in [-1, 0, 5, 24] {
                for size in [1, 4, 100] {
                    for input in [
                        range(n),
                        range(n).shuffle(ShuffleOptions::seeded(3))?,
                        streamed(&range(n)),
                        shapeless(&range(n)),
                    ] {
                        let batched = input.filter_batched(picky(bad), sized(size))?;
                        let plain = input.filter(one_by_one(bad));
                        assert_eq!(all(&batched), all(&plain), "{batched}");
                        for (batch, options) in
                            [(3, BatchOptions::default()), (4, BatchOptions::DROP_REMAINDER)]
                        {
                            assert_eq!(
                                all(&batched.batch_with(batch, options)?),
                                all(&plain.batch_with(batch, options)?),
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn only_the_components_that_are_asked_for_are_read() -> Result<()> {
        let failing = crate::all_ways::failing(&range(10), &[0, 3, 6]);
        let pairs = Dataset::zip(vec![failing, range(10)])?;
        let options = FilterOptions { components: Some(vec![1]), ..FilterOptions::default() };
        let kept = pairs.filter_batched(picky(-1), options)?;
        let expected: Vec<Vec<i64>> = vec![vec![1, 2, 4, 5, 7, 8]];
        assert_eq!(rows(&kept.batch(4)?).concat(), expected.concat()[..6].to_vec());
        assert!(kept.iter().take(3).all(|element| element.is_ok()));
        Ok(())
    }

    #[test]
    fn resumes_at_every_element_and_after_an_interruption() -> Result<()> {
        for bad in [-1, 5] {
            for input in [range(20), counting(20)] {
                let kept = input.filter_batched(picky(bad), sized(4))?;
                for dataset in [kept.clone(), kept.batch(3)?, kept.batch(3)?.unbatch()?] {
                    assert_resumes(&dataset);
                    assert_rejects_damage(&dataset);
                    assert_rebuilds(&dataset);
                    assert_goes_on_after_a_stop(&dataset);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_resumed_pass_calls_with_the_same_batches() -> Result<()> {
        let lens = Function::new("full", |batch: Element| {
            let len = batch[0].tensor()?.shape()[0];
            Ok(vec![len == 4; len])
        });
        let dataset = range(10).filter_batched(lens, sized(4))?;
        assert_eq!(values(&dataset), (0..8).collect::<Vec<_>>());
        assert_resumes(&dataset);
        Ok(())
    }

    #[test]
    fn answers_of_another_length_are_refused() -> Result<()> {
        let one = Function::new("one", |_| Ok(vec![true, true]));
        let said = all(&range(5).filter_batched(one, FilterOptions::default())?);
        assert_eq!(said.len(), 5);
        let error = said[3].as_ref().unwrap_err();
        assert!(error.starts_with("filter: element 3: the predicate has to return one"), "{error}");
        assert!(range(3).filter_batched(picky(0), sized(0)).is_err());
        let windows = range(3).window(2, crate::WindowOptions::default())?;
        assert!(windows.filter_batched(picky(0), FilterOptions::default()).is_err());
        Ok(())
    }
}
