//! `map`: applies a user function to each element.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::Result;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage, Step};
use crate::transforms::map::batched::{check_rows, rows_of};
use crate::transforms::map::parallel::{Apply, MakeInput, ParallelMap};
use crate::user_fn::function::{Function, UserFn};
use crate::value::check;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone)]
struct Mapping {
    function: Function<Element, Element>,
    spec: Arc<[Component]>,
    /// The components of strings in elements and results, if a result has to have as many rows as
    /// the element.
    keeps_rows: Option<[Arc<[usize]>; 2]>,
}

struct Map {
    input: Dataset,
    mapping: Mapping,
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
        let mapping = Mapping { function, spec: spec.into(), keeps_rows: None };
        Self::of(Map { input: self.clone(), mapping })
    }

    /// As [`Dataset::map`] of batches. A result has as many rows as its batch. `strings` are the
    /// components with the bytes of several strings, of batches and of results.
    pub(crate) fn map_rows(
        &self,
        function: Function<Element, Element>,
        spec: Vec<Component>,
        strings: [Arc<[usize]>; 2],
    ) -> Self {
        let mapping = Mapping { function, spec: spec.into(), keeps_rows: Some(strings) };
        Self::of(Map { input: self.clone(), mapping })
    }
}

impl Mapping {
    fn apply(&self, element: Element, cx: &Context) -> Result<Element> {
        let rows = match &self.keeps_rows {
            Some([strings, _]) => rows_of(&element, strings)?,
            None => None,
        };
        let made = self.function.call_in(cx.sessions.as_deref(), element)?;
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
        Ok(Dataset::of(Self { input: inputs[0].clone(), mapping: self.mapping.clone() }))
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
    fn in_order(&self, input: Counted, cx: &Context) -> Box<dyn ElementIter> {
        Box::new(MapIter { input, mapping: self.mapping.clone(), cx: cx.clone() })
    }

    fn parallel(&self, make: MakeInput, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (mapping, within) = (self.mapping.clone(), cx.clone());
        let apply: Apply = Arc::new(move |index, element| {
            mapping.apply(element, &within).map_err(|error| error.at_element("map", index))
        });
        Ok(Box::new(ParallelMap::new(make, apply, self.mapping.function.calls(), cx)?))
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
    use crate::error::Error;
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
