//! Plans of very many stages: how many there may be, and the stack for them.
//!
//! # Rationale
//! Stages call each other, so a plan takes stack for each of them, on whatever thread it is used: a
//! Python thread may have 512 KiB. A plan has at most [`DEEPEST`] stages. Every [`STEP`]th is
//! wrapped in a [`Step`], which goes on with a new piece of stack where little is left; threads of
//! ordinary size never need one. Datasets that functions make while others are iterated count with
//! the stages around them.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::shuffle::random::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Needs, Stage};
use crate::transforms::select::prefetch::ReadAhead;
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;

/// The most stages from a source to the end of a plan, and of the datasets that functions make in
/// it.
pub(crate) const DEEPEST: usize = 2000;
/// How deep lists may be nested in a state: a stage nests a few.
pub(crate) const NESTED: usize = 8 * DEEPEST;

/// Stages between two looks at the stack.
const STEP: usize = 32;
/// Bytes of stack that as many stages take at the most: the largest was seen to take 5 KiB,
/// unoptimised.
const LEAST: usize = 384 << 10;
/// Bytes of a new piece of stack.
const PIECE: usize = 4 << 20;

/// Runs what calls itself at every level, of which this is the number.
pub(crate) fn at_depth<T>(depth: usize, run: impl FnOnce() -> T) -> T {
    if depth % STEP == STEP - 1 { grown(run) } else { run() }
}

/// Runs this with stack for [`STEP`] stages.
pub(crate) fn grown<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEAST, PIECE, run)
}

/// A plan of so many stages is too deep.
///
/// # Errors
/// [`Error::TooDeep`].
pub(crate) fn check(depth: usize) -> Result<()> {
    if depth > DEEPEST { Err(Error::TooDeep { most: DEEPEST }) } else { Ok(()) }
}

impl Dataset {
    pub(crate) fn of(stage: impl Stage + 'static) -> Self {
        let depth = stage.inputs().iter().map(|input| input.depth).max().unwrap_or(0) + 1;
        if depth > DEEPEST {
            let stage = TooDeep { spec: stage.spec().to_vec(), cardinality: stage.cardinality() };
            return Self {
                stage: Arc::new(stage),
                names: Names::default(),
                depth: DEEPEST + 1,
                captures: None,
                kept: None,
            };
        }
        let captures = crate::user_fn::captures::of(&stage);
        if depth.is_multiple_of(STEP) {
            let stage = Arc::new(Step { stage: Arc::new(stage) });
            return Self { stage, names: Names::default(), depth, captures, kept: None };
        }
        Self { stage: Arc::new(stage), names: Names::default(), depth, captures, kept: None }
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
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooDeep`].
    pub fn check_depth(&self) -> Result<()> {
        check(self.depth)
    }

    /// Runs what calls itself for each input.
    pub(crate) fn deep<T>(&self, run: impl FnOnce() -> T) -> T {
        if self.depth.is_multiple_of(STEP) { grown(run) } else { run() }
    }

    /// One pass over the elements in order, of an indexed plan as of any other.
    pub(crate) fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        check(cx.outside + self.depth)?;
        if self.is_indexed() {
            return Ok(Box::new(crate::execute::in_order::InOrder::new(self.clone(), cx.clone())));
        }
        self.stage.element_iter(cx)
    }

    /// As [`Dataset::element_iter`], of a dataset that a function made while another was iterated.
    pub(crate) fn element_iter_inside(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let stream = self.element_iter(cx)?;
        Ok(if cx.outside < STEP { stream } else { Box::new(Grown { stream }) })
    }
}

/// Stands for a plan that is too deep.
struct TooDeep {
    spec: Vec<Component>,
    cardinality: Cardinality,
}

impl Stage for TooDeep {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        self.cardinality
    }

    fn inputs(&self) -> Vec<Dataset> {
        Vec::new()
    }

    fn describe(&self) -> String {
        "too_deep".into()
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Err(Error::TooDeep { most: DEEPEST })
    }

    fn is_indexed(&self) -> bool {
        false
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        Err(Error::TooDeep { most: DEEPEST })
    }

    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        Err(Error::TooDeep { most: DEEPEST })
    }
}

/// A stage that looks after its stack. It is in no other way different from the one it holds.
struct Step {
    stage: Arc<dyn Stage>,
}

impl Drop for Step {
    fn drop(&mut self) {
        let nothing = TooDeep { spec: Vec::new(), cardinality: Cardinality::Unknown };
        let stage = std::mem::replace(&mut self.stage, Arc::new(nothing));
        grown(|| drop(stage));
    }
}

impl Stage for Step {
    fn spec(&self) -> &[Component] {
        self.stage.spec()
    }

    fn cardinality(&self) -> Cardinality {
        grown(|| self.stage.cardinality())
    }

    fn inputs(&self) -> Vec<Dataset> {
        self.stage.inputs()
    }

    fn describe(&self) -> String {
        self.stage.describe()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        self.stage.rebuild(inputs, change)
    }

    fn drawn_seed(&self) -> Option<&Seed> {
        self.stage.drawn_seed()
    }

    fn identity(&self) -> u64 {
        grown(|| self.stage.identity())
    }

    fn is_window(&self) -> bool {
        self.stage.is_window()
    }

    fn may_end_early(&self) -> bool {
        grown(|| self.stage.may_end_early())
    }

    fn is_indexed(&self) -> bool {
        grown(|| self.stage.is_indexed())
    }

    fn is_sequential(&self) -> bool {
        grown(|| self.stage.is_sequential())
    }

    fn reads_files(&self) -> bool {
        grown(|| self.stage.reads_files())
    }

    fn needs(&self) -> Needs {
        grown(|| self.stage.needs())
    }

    fn depends_on_epoch(&self) -> bool {
        grown(|| self.stage.depends_on_epoch())
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        grown(|| self.stage.get(index, cx))
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        grown(|| self.stage.slice(start, len, cx))
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        grown(|| self.stage.gather(requests, out, cx))
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        grown(|| self.stage.gather_some(which, requests, out, cx))
    }

    fn read_ahead(&self) -> Option<ReadAhead> {
        self.stage.read_ahead()
    }

    fn rows(&self) -> Option<Dataset> {
        grown(|| self.stage.rows())
    }

    fn consumed(&self, position: u64) -> Option<u64> {
        self.stage.consumed(position)
    }

    fn sharding(&self) -> Option<(u64, u64)> {
        self.stage.sharding()
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(Grown { stream: grown(|| self.stage.element_iter(cx))? }))
    }
}

/// A stream that looks after its stack.
struct Grown {
    stream: Box<dyn ElementIter>,
}

impl Drop for Grown {
    fn drop(&mut self) {
        let stream = std::mem::replace(&mut self.stream, Box::new(Ended));
        grown(|| drop(stream));
    }
}

impl ElementIter for Grown {
    fn next(&mut self) -> Option<Result<Element>> {
        grown(|| self.stream.next())
    }

    fn back(&mut self) -> bool {
        grown(|| self.stream.back())
    }

    fn save(&self) -> Result<State> {
        grown(|| self.stream.save())
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        grown(|| self.stream.restore(state))
    }
}

/// A stream without elements.
struct Ended;

impl ElementIter for Ended {
    fn next(&mut self) -> Option<Result<Element>> {
        None
    }

    fn save(&self) -> Result<State> {
        Ok(State::Nothing)
    }

    fn restore(&mut self, _state: &State) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::checkpoint::Saved;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{counting, element_spec, even, first, range, values};
    use crate::user_fn::function::Function;
    use std::sync::OnceLock;
    use tensorferry_core::DType;

    /// Runs this on a thread with as little stack as a user's may have.
    fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
    }

    /// What every stage is that can be stacked upon itself.
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
            |input| input.batch(1, false).unwrap().unbatch().unwrap(),
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
                    let saved = Saved::from_bytes(&iter.save().unwrap().to_bytes()).unwrap();
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
        let error = deep.batch(2, false).unwrap().iter().next().unwrap().unwrap_err();
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
            drop(iter.save());
            drop(iter);
            let interleaved = range(3).interleave(function, element_spec(), 2, 1).unwrap();
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
