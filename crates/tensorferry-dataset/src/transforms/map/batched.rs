//! `map` with a function of whole batches, whose rows are the elements.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Hints, Stage};
use crate::transforms::batch::batch::BatchOptions;
use crate::transforms::batch::strings;
use crate::user_fn::function::{Function, UserFn};
use std::sync::Arc;
use tensorferry_core::TensorSpec;

struct MapBatches {
    input: Dataset,
    size: usize,
    function: Function<Element, Element>,
    /// The specification of its results.
    batched: Vec<Component>,
    /// The components of elements that are one string, and those of results with the bytes of
    /// several, whose splits follow.
    strings: [Arc<[usize]>; 2],
    /// The rows of its results.
    rows: Dataset,
}

impl Dataset {
    /// Applies `function` to batches of `size` elements, and hands out the rows of its results.
    /// `spec` describes the results. They have as many rows as the batches.
    ///
    /// The result has no random access: one element would take the time of a batch. A following
    /// [`Dataset::batch`] of the same size takes the results as they are. If `function` fails, the
    /// error takes the place of all elements of its batch.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset, Function};
    ///
    /// let numbers = Dataset::range(0, 7, 1, DType::Int64)?;
    /// let identity = Function::new("identity", Ok);
    /// let spec = numbers.batch(3)?.spec().to_vec();
    /// assert_eq!(numbers.map_batches(3, identity, spec)?.cardinality(), Cardinality::Finite(7));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::batch`], and [`Error::Argument`] if a component of `spec` has no rows.
    pub fn map_batches(
        &self,
        size: usize,
        function: Function<Element, Element>,
        spec: Vec<Component>,
    ) -> Result<Self> {
        self.map_batches_with(size, function, spec, &[], &[])
    }

    /// As [`Dataset::map_batches`] of elements with strings. Each of `strings` is a component that
    /// is one string: a batch has the bytes of all, and their row splits. Each of `made` is a
    /// component of results with the bytes of several, whose int64 row splits are the next one.
    ///
    /// # Errors
    /// As [`Dataset::map_batches`] and [`Dataset::batch_ragged`].
    pub fn map_batches_with(
        &self,
        size: usize,
        function: Function<Element, Element>,
        spec: Vec<Component>,
        strings: &[usize],
        made: &[usize],
    ) -> Result<Self> {
        let batches = if strings.is_empty() {
            self.batch(size)?
        } else {
            self.batch_ragged(size, strings, BatchOptions::default())?
        };
        // In a batch, the splits of the strings before are components too.
        let batched = strings.iter().enumerate().map(|(before, at)| at + before).collect();
        let rows = batches
            .map_rows(function.clone(), spec.clone(), [batched, made.into()])
            .unbatch_strings(made)?;
        let strings = [strings.into(), made.into()];
        let input = self.clone();
        Ok(Self::of(MapBatches { input, size, function, batched: spec, strings, rows }))
    }
}

/// Number of rows of a batch, whose `strings` are components with the bytes of several.
pub(crate) fn rows_of(batch: &Element, strings: &[usize]) -> Result<Option<usize>> {
    match batch.first() {
        Some(_) if strings.contains(&0) => strings::rows(batch, 0),
        Some(first) => Ok(first.tensor()?.shape().first().copied()),
        None => Ok(None),
    }
}

/// Refuses a result with another number of rows than the batch.
pub(crate) fn check_rows(expected: Option<usize>, made: &Element, strings: &[usize]) -> Result<()> {
    for (at, value) in made.iter().enumerate() {
        if at.checked_sub(1).is_some_and(|before| strings.contains(&before)) {
            continue;
        }
        let found = match strings.contains(&at) {
            true => strings::rows(made, at)?,
            false => value.tensor()?.shape().first().copied(),
        };
        if found != expected {
            let shown = |rows: Option<usize>| rows.map_or("no".into(), |rows| rows.to_string());
            let what = format!(
                "the function returned {} rows for a batch of {}. Return a row for each.",
                shown(found),
                shown(expected)
            );
            return Err(Error::ElementMismatch { what }.in_component(at));
        }
    }
    Ok(())
}

impl Stage for MapBatches {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), self.rows.spec())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        let spec = Component::list(&self.batched);
        let [one, several] = &self.strings;
        let strings = if one.is_empty() && several.is_empty() {
            String::new()
        } else {
            format!(", strings={one:?} to {several:?}")
        };
        format!("map({}, {spec}, batches of {}{strings})", self.function.name(), self.size)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let (function, [one, several]) = (self.function.clone(), &self.strings);
        inputs[0].map_batches_with(self.size, function, self.batched.clone(), one, several)
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.function]
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { may_end_early: true, ..inputs }
    }

    fn stacked(&self, size: usize, drop_remainder: bool) -> Result<Option<Dataset>> {
        if size != self.size || self.strings.iter().any(|strings| !strings.is_empty()) {
            return Ok(None);
        }
        let batched = |part: &TensorSpec| {
            let shape = part.shape.batched(drop_remainder.then_some(size));
            Component::Tensor(TensorSpec::new(part.dtype, shape))
        };
        let parts = spec::tensors(self.rows.spec(), "batch")?.into_iter().map(batched).collect();
        let batches = self.input.batch_with(size, BatchOptions { drop_remainder })?;
        Ok(Some(batches.map_rows(self.function.clone(), parts, self.strings.clone())))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        self.rows.element_iter(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::streamed;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, range, rows, values,
    };
    use tensorferry_core::Tensor;

    fn double() -> Function<Element, Element> {
        Function::parallel("double", 2, |batch: Element| {
            let view = batch[0].tensor()?.view::<i64>()?;
            let doubled: Vec<i64> = view.iter().map(|number| number * 2).collect();
            let len = doubled.len();
            Ok(vec![Tensor::from_vec(doubled, &[len])?.into()])
        })
    }

    #[test]
    fn the_rows_of_the_results_are_the_elements() -> Result<()> {
        for input in [range(10), streamed(&range(10))] {
            let spec = input.batch(4)?.spec().to_vec();
            let doubled = input.map_batches(4, double(), spec)?;
            assert_eq!(values(&doubled), (0..10).map(|i| 2 * i).collect::<Vec<i64>>());
            assert_eq!(doubled.cardinality(), input.cardinality());
            assert_eq!(doubled.spec(), input.spec());
            assert!(!doubled.is_indexed());
            assert_resumes(&doubled);
            assert_rejects_damage(&doubled);
            assert_rebuilds(&doubled);
            let spec = doubled.batch(2)?.spec().to_vec();
            assert!(values(&range(0).map_batches(4, double(), spec)?).is_empty());
        }
        Ok(())
    }

    #[test]
    fn batches_of_the_same_size_are_the_results_themselves() -> Result<()> {
        let spec = range(10).batch(4)?.spec().to_vec();
        let doubled = range(10).map_batches(4, double(), spec)?;
        for (size, drop_remainder) in [(4, false), (4, true), (3, false), (5, true)] {
            let batches = doubled.batch_with(size, BatchOptions { drop_remainder })?;
            let expected = range(10).batch_with(size, BatchOptions { drop_remainder })?;
            assert_eq!(batches.spec(), expected.spec());
            assert_eq!(batches.cardinality(), expected.cardinality());
            let twice = |rows: Vec<Vec<i64>>| -> Vec<Vec<i64>> {
                rows.into_iter().map(|row| row.into_iter().map(|i| 2 * i).collect()).collect()
            };
            assert_eq!(rows(&batches), twice(rows(&expected)));
            assert_eq!(batches.is_indexed(), size == 4, "it is a map of batches");
            assert_resumes(&batches);
            assert_rebuilds(&batches);
        }
        Ok(())
    }

    #[test]
    fn another_number_of_rows_is_the_error_of_its_batch() -> Result<()> {
        let spec = range(10).batch(4)?.spec().to_vec();
        let one = Function::new("one", |batch: Element| {
            let view = batch[0].tensor()?.view::<i64>()?;
            let kept: Vec<i64> = view.iter().filter(|number| *number != 5).collect();
            let len = kept.len();
            Ok(vec![Tensor::from_vec(kept, &[len])?.into()])
        });
        let all: Vec<_> = range(10).map_batches(4, one, spec)?.iter().collect();
        let found: Vec<bool> = all.iter().map(Result::is_ok).collect();
        assert_eq!(found, [true, true, true, true, false, true, true]);
        let message = all[4].as_ref().unwrap_err().to_string();
        assert!(message.contains("returned 3 rows for a batch of 4"), "{message}");
        Ok(())
    }
}
