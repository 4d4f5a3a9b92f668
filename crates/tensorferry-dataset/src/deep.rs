//! Building a [`Dataset`] from a stage, with stack growth for deep plans.
//!
//! # Rationale
//! Every [`STEP`]th stage of a plan is wrapped in a [`Deep`] stage, which continues on a new piece
//! of stack where little is left. See [`crate::stack`].

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::in_order::InOrder;
use crate::execute::in_parallel::{Computed, InParallel};
use crate::names::Names;
use crate::request::{Columns, RowPart};
use crate::spec::{Cardinality, Component};
use crate::stack::{DEEPEST, STEP, check_depth, grown};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step,
};
use crate::user_fn::captures;
use crate::user_fn::function::UserFn;
use std::ops::Range;
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

impl Dataset {
    /// A plan that ends with this stage.
    pub(crate) fn of(stage: impl Stage + 'static) -> Self {
        let inputs = stage.inputs();
        let depth = inputs.iter().map(|input| input.depth).max().unwrap_or(0) + 1;
        let mut hints = inputs.iter().fold(Hints::default(), |all, input| all.and(input.hints));
        for function in stage.functions() {
            hints.sequential |= function.is_sequential();
            hints.one_thread |= function.is_sequential() && function.calls() == 0;
            hints.calls = hints.calls.max(function.calls());
            hints.in_chunks |= function.takes_many();
        }
        let elements = stage.elements();
        let spec = elements.spec();
        let shared = inputs.iter().find(|input| std::ptr::eq(input.spec(), spec));
        let mut hints = stage.hints(hints);
        hints.apart = hints.apart.saturating_mul(stage.checkpoint().consumes.unwrap_or(1));
        hints.elements_differ |= hints.depends_on_epoch && !stage.permutes();
        Self {
            names: Names::default(),
            spec: shared.map_or_else(|| spec.into(), |input| Arc::clone(&input.spec)),
            depth: depth.min(DEEPEST + 1),
            cardinality: stage.cardinality(),
            indexed: elements.is_indexed() && depth <= DEEPEST,
            hints,
            captures: captures::of(&stage),
            kept: None,
            stage: match depth {
                _ if depth > DEEPEST => Arc::new(TooDeep { spec: elements.spec().to_vec() }),
                _ if depth.is_multiple_of(STEP) => Arc::new(Deep { stage: Box::new(stage) }),
                _ => Arc::new(stage),
            },
        }
    }

    /// Refuses a plan of too many stages. Iterating it fails with the same error.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let range = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let deep = (0..1000).fold(range.clone(), |dataset, _| dataset.take(Some(5)));
    /// assert!(deep.check_depth().is_ok());
    /// let too_deep = (0..10_000).fold(range, |dataset, _| dataset.take(Some(5)));
    /// assert_eq!(too_deep.check_depth().unwrap_err().code(), "too_deep");
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooDeep`].
    pub fn check_depth(&self) -> Result<()> {
        check_depth(self.depth)
    }

    /// Runs one level of a recursion over inputs.
    pub(crate) fn deep<T>(&self, run: impl FnOnce() -> T) -> T {
        if self.depth.is_multiple_of(STEP) { grown(run) } else { run() }
    }

    /// One pass over the elements in order, for indexed and other plans.
    pub(crate) fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        check_depth(cx.outside + self.depth)?;
        if self.indexed && self.hints.calls > 0 {
            return Ok(Box::new(InParallel::new(self.clone(), cx.clone())));
        }
        if self.indexed {
            return Ok(Box::new(InOrder::new(self.clone(), cx.clone())));
        }
        self.stage.element_iter(cx)
    }

    /// A pass over a part of an indexed plan. Functions that allow it are called on several
    /// threads, ahead of the consumer. The iterator has no state: see [`InParallel`].
    pub(crate) fn part_iter(&self, part: Range<u64>, cx: &Context) -> Result<Box<dyn ElementIter>> {
        if self.hints.calls > 0
            && let Some(iter) = self.deep(|| self.stage.part_iter(part.clone(), cx))
        {
            return iter;
        }
        if self.hints.calls == 0 || self.hints.one_thread {
            return Ok(Box::new(InOrder::of_part(self.clone(), cx.clone(), part)));
        }
        Ok(Box::new(Computed::new(self.clone(), cx, part)))
    }

    /// As [`Dataset::element_iter`], for a dataset that a function made during another iteration.
    pub(crate) fn element_iter_inside(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let iter = self.element_iter(cx)?;
        Ok(if cx.outside < STEP { iter } else { Box::new(DeepIter { iter: Some(iter) }) })
    }
}

/// The last stage of a plan that is too deep.
struct TooDeep {
    spec: Vec<Component>,
}

impl Stage for TooDeep {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        "too_deep".into()
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Err(Error::TooDeep { most: DEEPEST })
    }

    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        Err(Error::TooDeep { most: DEEPEST })
    }
}

/// Forwards to a stage, after growing the stack if little is left.
struct Deep {
    stage: Box<dyn Stage>,
}

impl Drop for Deep {
    fn drop(&mut self) {
        let nothing = TooDeep { spec: Vec::new() };
        let stage = std::mem::replace(&mut self.stage, Box::new(nothing));
        grown(|| drop(stage));
    }
}

impl Stage for Deep {
    fn elements(&self) -> Elements<'_> {
        self.stage.elements()
    }

    fn cardinality(&self) -> Cardinality {
        self.stage.cardinality()
    }

    fn describe(&self) -> String {
        self.stage.describe()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        self.stage.rebuild(inputs, change)
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        self.stage.functions()
    }

    fn hints(&self, inputs: Hints) -> Hints {
        self.stage.hints(inputs)
    }

    fn permutes(&self) -> bool {
        self.stage.permutes()
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        self.stage.checkpoint()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        grown(|| self.stage.get(index, cx))
    }

    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        grown(|| self.stage.get_each(indices, cx))
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        grown(|| self.stage.slice(start, len, cx))
    }

    fn is_measured(&self, at: usize) -> bool {
        grown(|| self.stage.is_measured(at))
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        grown(|| self.stage.lengths(at, requests, out, cx))
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        grown(|| self.stage.gather_parts(at, parts, out, cx))
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        grown(|| self.stage.gather(columns, requests, out, cx))
    }

    fn unstacked(&self) -> Option<Dataset> {
        grown(|| self.stage.unstacked())
    }

    fn stacked(&self, size: usize, drop_remainder: bool) -> Result<Option<Dataset>> {
        grown(|| self.stage.stacked(size, drop_remainder))
    }

    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let iter = grown(|| self.stage.part_iter(part, cx))?;
        Some(iter.map(|iter| Box::new(DeepIter { iter: Some(iter) }) as Box<dyn ElementIter>))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(DeepIter { iter: Some(grown(|| self.stage.element_iter(cx))?) }))
    }
}

/// Forwards to an iterator, after growing the stack if little is left.
struct DeepIter {
    /// `None` only while it is dropped.
    iter: Option<Box<dyn ElementIter>>,
}

impl Drop for DeepIter {
    fn drop(&mut self) {
        let iter = self.iter.take();
        grown(|| drop(iter));
    }
}

impl ElementIter for DeepIter {
    fn next(&mut self) -> Step {
        self.iter.as_mut().map_or(Ok(None), |iter| grown(|| iter.next()))
    }

    fn back(&mut self) -> bool {
        self.iter.as_mut().is_some_and(|iter| grown(|| iter.back()))
    }

    fn save(&self) -> Result<State> {
        self.iter.as_ref().map_or(Ok(State::Nothing), |iter| grown(|| iter.save()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.iter.as_mut().map_or(Ok(()), |iter| grown(|| iter.restore(state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterleaveOptions;
    use crate::checkpoint::checkpoint::Checkpoint;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{counting, element_spec, even, first, range, values};
    use crate::user_fn::function::Function;
    use std::sync::OnceLock;
    use tensorferry_core::DType;

    /// Runs `run` on a thread with a small stack, such as a user's thread may have.
    fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
    }

    /// Stages that can be applied to their own output.
    fn stages() -> Vec<fn(&Dataset) -> Dataset> {
        vec![
            |input| input.take(Some(6)),
            |input| input.skip(Some(0)),
            |input| input.filter(even()),
            |input| {
                input
                    .scale(1.0, 0.0, None)
                    .unwrap()
                    .cast(&[Some(DType::Int64)], tensorferry_core::Casting::Saturate)
                    .unwrap()
            },
            |input| input.map(Function::new("same", Ok), element_spec()),
            |input| input.batch(1).unwrap().unbatch().unwrap(),
            |input| input.cache(),
            |input| input.prefetch(Some(1)),
            |input| input.unique().unwrap(),
            |input| input.concatenate(&range(0)).unwrap(),
        ]
    }

    #[test]
    fn the_deepest_plans_iterate_save_and_end_on_a_small_stack() {
        on_a_small_stack(|| {
            for stage in stages() {
                for source in [range(4), counting(4)] {
                    let mut deep = source;
                    for _ in 0..DEEPEST {
                        deep = if deep.depth + 2 < DEEPEST { stage(&deep) } else { deep };
                    }
                    assert!(deep.depth > DEEPEST - 4);
                    let all: Vec<i64> =
                        deep.iter().map(|element| first(&element.unwrap())).collect();
                    assert!(all.contains(&2));
                    let mut iter = deep.iter();
                    iter.next();
                    let saved =
                        Checkpoint::from_bytes(&iter.checkpoint().unwrap().to_bytes()).unwrap();
                    let resumed = deep.resume(&saved, &Options::default()).unwrap();
                    assert_eq!(
                        resumed.map(|element| first(&element.unwrap())).collect::<Vec<_>>(),
                        all[1..]
                    );
                    drop((iter, deep.plan(), deep.drawn_seeds()));
                }
            }
        });
    }

    #[test]
    fn a_plan_that_is_too_deep_says_so_whatever_is_made_of_it() {
        let deep = (0..30_000).fold(range(4), |dataset, _| dataset.take(Some(3)));
        assert_eq!(deep.check_depth().unwrap_err().code(), "too_deep");
        let error = deep.batch(2).unwrap().iter().next().unwrap().unwrap_err();
        assert!(error.to_string().contains("2000 stages"), "{error}");
        assert!(deep.get_in(0, Epoch(0)).is_err());
    }

    #[test]
    fn a_function_that_returns_the_dataset_it_is_of_is_an_error() {
        on_a_small_stack(|| {
            let made: Arc<OnceLock<Dataset>> = Arc::default();
            let own = Arc::clone(&made);
            let function =
                Function::new("itself", move |_: Element| Ok(own.get().cloned().unwrap()));
            let dataset = range(3).flat_map(function.clone(), element_spec());
            made.set(dataset.clone()).unwrap();
            let mut iter = dataset.iter();
            assert_eq!(iter.next().unwrap().unwrap_err().code(), "too_deep");
            drop(iter.checkpoint());
            drop(iter);
            let interleaved = range(3)
                .interleave(
                    function,
                    element_spec(),
                    InterleaveOptions { cycle_length: 2, block_length: 1 },
                )
                .unwrap();
            assert_eq!(interleaved.iter().next().unwrap().unwrap_err().code(), "too_deep");
        });
    }

    #[test]
    fn datasets_inside_of_datasets_are_as_they_are_up_to_the_limit() {
        fn nested(levels: i64) -> Dataset {
            let inner = Function::new("inner", move |_: Element| {
                Ok(if levels == 0 { range(2) } else { nested(levels - 1) })
            });
            range(1).flat_map(inner, element_spec())
        }
        assert_eq!(values(&nested(500)), [0, 1]);
    }
}
