//! `map`: applies a user function to each element.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::epochs::plan_key;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage, Step};
use crate::transforms::map::batched::{check_rows, rows_of};
use crate::transforms::map::parallel::{Apply, MakeInput, ParallelMap};
use crate::user_fn::function::{Function, UserFn};
use crate::user_fn::sessions::Many;
use crate::value::check;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Mapping {
    function: Function<Element, Element>,
    spec: Arc<[Component]>,
    /// The components of strings in elements and results, if a result has to have as many rows as
    /// the element.
    pub(super) keeps_rows: Option<[Arc<[usize]>; 2]>,
    /// The key of the plan that the function was given to map, if sessions may read it.
    read: Option<u64>,
}

struct Map {
    input: Dataset,
    mapping: Mapping,
    /// The seeds that the input's stages drew, if sessions read it.
    seeds: Option<Vec<u64>>,
}

impl Dataset {
    /// Applies `function` to each element. `spec` describes the results. The result is indexed if
    /// the input is. A sequential function ([`Function::sequential`]) is still called by one
    /// thread, in order, and later stages wait for it. A parallel function
    /// ([`Function::parallel`]) is called ahead of the consumer, on threads of the iteration, while
    /// one thread at a time reads an input that is not indexed. The results are in order.
    ///
    /// If `function` fails, or its result does not match `spec`, the error takes the element's
    /// place.
    ///
    /// ```
    /// use tensorferry_core::{DType, Tensor};
    /// use tensorferry_dataset::{Dataset, Element, Function};
    ///
    /// let numbers = Dataset::range(0, 5, 1, DType::Int64)?;
    /// let square = Function::new("square", |element: Element| {
    ///     let value = element[0].tensor()?.view::<i64>()?.get(&[]).unwrap_or(0);
    ///     Ok(vec![Tensor::from_vec(vec![value * value], &[])?.into()])
    /// });
    /// let squares = numbers.map(square, numbers.spec().to_vec());
    /// assert_eq!(squares.get(3)?[0].tensor()?.view::<i64>()?.get(&[]), Some(9));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn map(&self, function: Function<Element, Element>, spec: Vec<Component>) -> Self {
        Self::of(Map::new(self.clone(), Mapping::new(self, function, spec, None)))
    }

    /// As [`Dataset::map`] of batches. A result has as many rows as its batch. `strings` are the
    /// components with the bytes of several strings, of batches and of results.
    pub(crate) fn map_rows(
        &self,
        function: Function<Element, Element>,
        spec: Vec<Component>,
        strings: [Arc<[usize]>; 2],
    ) -> Self {
        Self::of(Map::new(self.clone(), Mapping::new(self, function, spec, Some(strings))))
    }
}

impl Mapping {
    fn new(
        input: &Dataset,
        function: Function<Element, Element>,
        spec: Vec<Component>,
        keeps_rows: Option<[Arc<[usize]>; 2]>,
    ) -> Self {
        // Functions of the input are called where the user wants: here.
        let may_read = function.takes_many() && input.indexed && !input.hints.sequential;
        let read = may_read.then(|| plan_key(input));
        Self { function, spec: spec.into(), keeps_rows, read }
    }

    /// For calls in another process.
    pub(super) fn apart(function: Function<Element, Element>, spec: Vec<Component>) -> Self {
        Self { function, spec: spec.into(), keeps_rows: None, read: None }
    }

    pub(super) fn apply(&self, element: Element, cx: &Context) -> Result<Element> {
        let rows = self.rows_of(&element)?;
        self.checked(rows, self.function.call_in(cx.sessions.as_deref(), element)?)
    }

    /// The number of rows of an element, if the result has to have as many.
    fn rows_of(&self, element: &Element) -> Result<Option<usize>> {
        self.keeps_rows.as_ref().map_or(Ok(None), |[strings, _]| rows_of(element, strings))
    }

    /// The result for an element with this number of rows.
    fn checked(&self, rows: Option<usize>, made: Element) -> Result<Element> {
        check(&made, &self.spec)?;
        if let Some([_, strings]) = &self.keeps_rows {
            check_rows(rows, &made, strings)?;
        }
        Ok(made)
    }
}

impl Stage for Map {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            std::slice::from_ref(&self.input),
            &self.mapping.spec,
            self.input.is_indexed(),
        )
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        format!("map({}, {})", self.mapping.function.name(), Component::list(&self.mapping.spec))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self::new(inputs[0].clone(), self.mapping.clone())))
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.mapping.function]
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(1), ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let element = self.input.stage.get(index, cx)?;
        self.mapping.apply(element, cx).map_err(|error| error.at_element("map", index))
    }

    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        if !self.mapping.function.takes_many() || cx.sessions.is_none() {
            return indices.iter().map(|index| self.get(*index, cx)).collect();
        }
        match self.read_each(indices, cx) {
            Ok(Some(found)) => found,
            Ok(None) => self.call_each(indices, cx),
            Err(error) => self.failed(indices, error, cx),
        }
    }

    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let (calls, hints) = (self.mapping.function.calls(), self.input.hints);
        if calls > 0 && hints.one_thread {
            let input = self.input.clone();
            let make = move |cx: &Context| Counted::of_part(&input, part.clone(), cx);
            return Some(self.parallel(Box::new(make), cx));
        }
        let in_order = self.mapping.function.is_sequential() && calls == 0;
        if !in_order || hints.calls == 0 {
            return None;
        }
        Some(Counted::of_part(&self.input, part, cx).map(|input| self.in_order(input, cx)))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        if self.mapping.function.calls() > 0 {
            let input = self.input.clone();
            return self.parallel(Box::new(move |cx| Counted::new(&input, cx)), cx);
        }
        Ok(self.in_order(Counted::new(&self.input, cx)?, cx))
    }
}

impl Map {
    fn new(input: Dataset, mapping: Mapping) -> Self {
        // A stage may be built again over another input.
        let is_same = mapping.read.is_some_and(|key| key == plan_key(&input));
        let seeds = is_same.then(|| input.drawn_seeds());
        Self { input, mapping, seeds }
    }

    /// The results for elements that the session reads; `None` if it cannot.
    fn read_each(&self, indices: &[u64], cx: &Context) -> Result<Option<Vec<Result<Element>>>> {
        let Some(seeds) = &self.seeds else { return Ok(None) };
        let inputs = Many::Read { epoch: cx.epoch.0, seeds, indices };
        let found = self.mapping.function.call_many(cx.sessions.as_deref(), inputs)?;
        let one = |(index, result): (&u64, Option<Result<Element>>)| match result {
            Some(made) => made
                .and_then(|made| check(&made, &self.mapping.spec).map(|()| made))
                .map_err(|error| error.at_element("map", *index)),
            // The session could not read this element. Here it can be read, or the error is told.
            None => self.get(*index, cx),
        };
        Ok(found.map(|found| indices.iter().zip(found).map(one).collect()))
    }

    /// The results for elements for which there could be no call.
    fn failed(&self, indices: &[u64], error: Error, cx: &Context) -> Vec<Result<Element>> {
        if matches!(error, Error::Interrupted) {
            return indices.iter().map(|_| Err(Error::Interrupted)).collect();
        }
        let Some((first, others)) = indices.split_first() else { return Vec::new() };
        let first = Err(error.at_element("map", *first));
        std::iter::once(first).chain(others.iter().map(|index| self.get(*index, cx))).collect()
    }

    /// The results for elements that are read here.
    fn call_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        let mut elements = Vec::with_capacity(indices.len());
        let mut results = Vec::with_capacity(indices.len());
        for index in indices {
            let read = cx.cancel.check().map_err(Error::from);
            let read = read.and_then(|()| self.input.stage.get(*index, cx));
            results.push(read.and_then(|element| {
                let rows = self.mapping.rows_of(&element)?;
                elements.push(element);
                Ok(rows)
            }));
        }
        let called =
            self.mapping.function.call_many(cx.sessions.as_deref(), Many::Inputs(elements));
        let mut made = match called {
            Ok(made) => made.unwrap_or_default().into_iter(),
            Err(error) => return self.failed(indices, error, cx),
        };
        let mut one = |(index, rows): (&u64, Result<Option<usize>>)| {
            let rows = rows?;
            match made.next().flatten() {
                Some(result) => result
                    .and_then(|made| self.mapping.checked(rows, made))
                    .map_err(|error| error.at_element("map", *index)),
                None => self.get(*index, cx),
            }
        };
        indices.iter().zip(results).map(&mut one).collect()
    }

    fn in_order(&self, input: Counted, cx: &Context) -> Box<dyn ElementIter> {
        Box::new(MapIter { input, mapping: self.mapping.clone(), cx: cx.clone() })
    }

    fn parallel(&self, make: MakeInput, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (mapping, within) = (self.mapping.clone(), cx.clone());
        let apply: Apply = Arc::new(move |index, element| {
            mapping.apply(element, &within).map_err(|error| error.at_element("map", index))
        });
        let function = &self.mapping.function;
        Ok(Box::new(ParallelMap::new(make, apply, (function.calls(), function.name()), cx)?))
    }
}

struct MapIter {
    input: Counted,
    mapping: Mapping,
    cx: Context,
}

impl ElementIter for MapIter {
    fn next(&mut self) -> Step {
        let next = self.input.next_with("map", |element| self.mapping.apply(element, &self.cx))?;
        Ok(next.map(|made| made.map(|(_, made)| made)))
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
    use crate::BatchOptions;
    use crate::order_tests::streamed;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, element, fails_at, first, range,
        values,
    };
    use tensorferry_core::Tensor;

    fn double() -> Function<Element, Element> {
        Function::new("double", |value: Element| Ok(element(2 * first(&value))))
    }

    #[test]
    fn map_applies_its_function_to_each_element() -> Result<()> {
        for input in [range(4), streamed(&range(4))] {
            let doubled = input.map(double(), input.spec().to_vec());
            assert_eq!(values(&doubled), [0, 2, 4, 6]);
            assert_eq!(doubled.is_indexed(), input.is_indexed());
            assert_resumes(&doubled);
            assert_rejects_damage(&doubled);
            assert_rebuilds(&doubled);
        }
        let batch = range(4)
            .map(double(), range(4).spec().to_vec())
            .batch_with(3, BatchOptions::DROP_REMAINDER)?
            .get(0)?;
        assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[0, 2, 4][..]));
        Ok(())
    }

    #[test]
    fn an_element_that_fails_is_named_and_costs_only_itself() {
        for input in [range(4), streamed(&range(4))] {
            let mapped = input.map(fails_at(1, Ok), input.spec().to_vec());
            let all: Vec<_> = mapped.iter().collect();
            assert_eq!(all.len(), 4);
            assert!(
                matches!(all[1], Err(Error::AtElement { stage: "map", index: 1, .. })),
                "{:?}",
                all[1]
            );
            assert!(all[2].is_ok());
        }
    }

    #[test]
    fn a_result_that_is_not_as_promised_is_refused() -> Result<()> {
        let wrong =
            Function::new("wrong", |_| Ok(vec![Tensor::from_vec(vec![1_i32], &[])?.into()]));
        let error = range(2).map(wrong, range(2).spec().to_vec()).get(1).unwrap_err();
        let Error::AtElement { index: 1, source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, Error::InComponent { .. }), "{error}");
        Ok(())
    }

    #[test]
    fn a_sequential_function_makes_all_that_follows_sequential() {
        let identity = Function::sequential("identity", Ok);
        let mapped = range(2).map(identity, range(2).spec().to_vec()).skip(Some(1));
        assert!(mapped.is_indexed() && mapped.hints.sequential);
        assert!(!range(2).map(double(), range(2).spec().to_vec()).hints.sequential);
    }
}
