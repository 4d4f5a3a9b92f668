//! The stage contract: [`Dataset`], [`Stage`] and [`ElementIter`].
//!
//! # Rationale
//! Where element `i` of the result follows from `i` alone, a stage is *indexed*: a position is the
//! whole state of an iteration, any thread may compute any element, and a batch asks for all its
//! rows in one [`Stage::gather`]. Other stages (filters, generators) only iterate in order, and
//! their [`ElementIter`] saves what it needs to continue.
//!
//! A stage declares in [`Stage::elements`] where its elements come from. Random access is forwarded
//! to an input only where a stage declares it, so forwarding cannot be wrong by accident.
//! [`Hints`] depend on the plan alone. They are computed once, when a [`Dataset`] is made.
//!
//! Plan, stage, value and iterator name each other and therefore share this file.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::memory_budget::MemoryBudget;
use crate::execute::reach::Reach;
use crate::execute::stats::IterStats;
pub(crate) use crate::hints::Hints;
use crate::names::Names;
use crate::request::{Columns, RowPart};
use crate::shuffle::prng::{Seed, mix};
use crate::spec::{Cardinality, Component};
use crate::transforms::select::parts::Parts;
use crate::user_fn::function::{Capture, Captures, UserFn};
use crate::user_fn::sessions::Sessions;
use std::ops::Range;
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, write_row};

/// A plan: where elements come from, and how they are transformed. Clones share it.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) stage: Arc<dyn Stage>,
    /// The components of each element, shared with the input where they are the same. Asking the
    /// stages would take a call for each of them.
    pub(crate) spec: Arc<[Component]>,
    /// The user's names of the components.
    pub(crate) names: Names,
    /// Stages from the furthest source to this one.
    pub(crate) depth: usize,
    pub(crate) cardinality: Cardinality,
    pub(crate) indexed: bool,
    pub(crate) hints: Hints,
    pub(crate) captures: Captures,
    /// See [`Dataset::keeping`].
    pub(crate) kept: Option<Capture>,
}

/// A component's value in one element.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor, in native byte order.
    Tensor(Tensor),
    /// A dataset, as `window` makes them.
    Dataset(Dataset),
}

/// One element: its components in the order of the flattened structure.
pub type Element = Vec<Value>;

/// The number of a round over an input: part of the key of every shuffle. Passes over a plan are
/// numbered 0, 1, 2, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of an input in a `round` of `repeat`. In epoch 0 the rounds are the epochs 0, 1,
    /// 2, ..., so `shuffle().repeat()` orders its rounds as separate passes over `shuffle()` would.
    #[must_use]
    pub(crate) fn child(self, round: u64) -> Self {
        if self.0 == 0 { Self(round) } else { Self(mix(self.0 ^ mix(round.wrapping_add(1)))) }
    }
}

/// The environment in which elements are computed.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) epoch: Epoch,
    pub(crate) cancel: CancelToken,
    /// Where to count the time, if the caller measures it.
    pub(crate) stats: Option<IterStats>,
    /// The iteration's memory; `None` outside an iteration.
    pub(crate) budget: Option<Arc<MemoryBudget>>,
    /// What its functions hold for their calls; `None` outside an iteration.
    pub(crate) sessions: Option<Arc<Sessions>>,
    /// What is read of each source, for reading ahead; `None` outside an iteration.
    pub(crate) reach: Option<Arc<Reach>>,
    /// Stages of the enclosing plans, whose functions made this one.
    pub(crate) outside: usize,
}

impl Context {
    /// A context outside an iteration.
    pub(crate) fn new(epoch: Epoch, cancel: CancelToken) -> Self {
        let (stats, budget, sessions, reach) = (None, None, None, None);
        Self { epoch, cancel, stats, budget, sessions, reach, outside: 0 }
    }

    /// The token for reading elements of a source.
    pub(crate) fn reading<S>(&self, source: &S) -> CancelToken {
        match self.reach.as_ref().and_then(|reach| reach.elements(source)) {
            Some(elements) => self.cancel.reading(elements),
            None => self.cancel.clone(),
        }
    }

    pub(crate) fn at(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// How many threads may compute elements.
    pub(crate) fn threads(&self) -> usize {
        self.budget.as_ref().map_or(1, |budget| budget.threads())
    }

    /// Reports the bytes of elements in flight beyond the one that is always allowed.
    pub(crate) fn note(&self, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.note(bytes);
        }
    }

    /// Bytes of elements that may be in flight.
    pub(crate) fn for_batches(&self) -> usize {
        self.budget.as_ref().map_or(0, |budget| budget.for_batches())
    }
}

/// Where the elements of a stage come from, and their specification.
#[derive(Clone, Copy)]
pub(crate) enum Elements<'a> {
    /// Element `i` is element `i` of this input: random access is forwarded.
    Kept(&'a Dataset),
    /// Element `i` is an element of this input at another index: random access is forwarded there.
    Moved(&'a Dataset, &'a dyn Locate),
    /// The stage computes elements of this specification from these inputs, by index: it implements
    /// [`Stage::get`].
    Indexed(&'a [Dataset], &'a [Component]),
    /// As [`Elements::Indexed`], but it only iterates: it implements [`Stage::element_iter`].
    InOrder(&'a [Dataset], &'a [Component]),
}

impl<'a> Elements<'a> {
    /// [`Elements::Indexed`] or [`Elements::InOrder`].
    pub(crate) fn computed(inputs: &'a [Dataset], spec: &'a [Component], indexed: bool) -> Self {
        if indexed { Self::Indexed(inputs, spec) } else { Self::InOrder(inputs, spec) }
    }

    pub(crate) fn inputs(self) -> &'a [Dataset] {
        match self {
            Self::Kept(input) | Self::Moved(input, _) => std::slice::from_ref(input),
            Self::Indexed(inputs, _) | Self::InOrder(inputs, _) => inputs,
        }
    }

    pub(crate) fn spec(self) -> &'a [Component] {
        match self {
            Self::Kept(input) | Self::Moved(input, _) => input.spec(),
            Self::Indexed(_, spec) | Self::InOrder(_, spec) => spec,
        }
    }

    pub(crate) fn is_indexed(self) -> bool {
        match self {
            Self::Kept(input) | Self::Moved(input, _) => input.indexed,
            Self::Indexed(..) => true,
            Self::InOrder(..) => false,
        }
    }
}

/// The indices of a stage that hands out elements of its input.
pub(crate) trait Locate {
    /// The input's index of element `index`. It increases with `index`, or decreases.
    fn locate(&self, index: u64) -> u64;

    /// Replaces all indices by the input's.
    fn locate_all(&self, requests: &mut [RowRequest]) {
        requests.iter_mut().for_each(|request| request.index = self.locate(request.index));
    }
}

/// Facts about a stage that checkpoints and epoch counters need beyond its description.
#[derive(Clone, Copy, Default)]
pub(crate) struct CheckpointInfo<'a> {
    /// The stage's seed.
    pub(crate) seed: Option<&'a Seed>,
    /// Identifies the arrays that the stage reads. Plans that are built again share an epoch
    /// counter only if it is equal.
    pub(crate) identity: u64,
    /// Elements of the input that make one element. With it, a run can resume on another number of
    /// shards where `shard` precedes this stage.
    pub(crate) consumes: Option<u64>,
    /// For a stage whose `consumes` is a batch size, which may be another when a run resumes.
    pub(crate) batches: Option<Batches>,
    /// The number of shards, the index of this one, and which elements they take.
    pub(crate) shard: Option<(u64, u64, Parts)>,
    /// The stage is a part of another dataset's element, with passes of its own.
    pub(crate) is_window: bool,
}

impl<'a> CheckpointInfo<'a> {
    /// The info of a stage whose elements depend on a seed. Its identity distinguishes draws.
    pub(crate) fn of_seed(seed: &'a Seed) -> Self {
        Self { seed: Some(seed), identity: seed.identity(), ..Self::default() }
    }
}

/// How a stage makes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batches {
    /// Whether an incomplete last batch is dropped.
    pub(crate) drop_remainder: bool,
}

impl CheckpointInfo<'_> {
    /// The info of a stage that makes batches of `size`.
    pub(crate) fn of_batches(size: usize, drop_remainder: bool) -> Self {
        let batches = Some(Batches { drop_remainder });
        Self { consumes: Some(size as u64), batches, ..Self::default() }
    }
}

/// A stage of a plan. Immutable; the state of an iteration is a position or an [`ElementIter`].
///
/// "Adding a stage" in CONTRIBUTING.md lists the files to touch.
pub(crate) trait Stage: Send + Sync {
    /// Where the elements come from.
    fn elements(&self) -> Elements<'_>;

    /// How many elements there are.
    fn cardinality(&self) -> Cardinality;

    /// The name and arguments, as in the plan's description: `shuffle(seed=7)`. Contains exactly
    /// the arguments that change the elements, without drawn seeds. The checkpoint of a plan with
    /// another description is refused.
    fn describe(&self) -> String;

    /// [`Stage::describe`] without a batch size, for a stage that makes batches.
    fn describe_any_size(&self) -> String {
        self.describe()
    }

    /// The same stage over other inputs, given in the order of [`Stage::inputs`].
    ///
    /// # Errors
    /// As when the stage was made.
    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset>;

    /// The datasets that this stage reads from, as [`Stage::elements`] names them.
    fn inputs(&self) -> &[Dataset] {
        self.elements().inputs()
    }

    /// The user functions that the stage calls.
    fn functions(&self) -> Vec<&dyn UserFn> {
        Vec::new()
    }

    /// The objects that the stage holds, besides those of its functions and inputs, for a garbage
    /// collector.
    fn captures(&self) -> Vec<Capture> {
        Vec::new()
    }

    /// The stage's hints, given those of its inputs and functions.
    fn hints(&self, inputs: Hints) -> Hints {
        inputs
    }

    /// Whether every element of the inputs is handed out, as often in every epoch.
    fn permutes(&self) -> bool {
        false
    }

    /// Facts for checkpoints.
    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::default()
    }

    /// Element `index`, which is less than the cardinality. Only for indexed stages.
    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        match self.elements() {
            Elements::Kept(input) => input.stage.get(index, cx),
            Elements::Moved(input, by) => input.stage.get(by.locate(index), cx),
            Elements::Indexed(..) | Elements::InOrder(..) => Err(not_indexed("get")),
        }
    }

    /// Elements at these indices, each less than the cardinality. Only for indexed stages. A stage
    /// implements it if several elements together are cheaper, as calls in worker processes are.
    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        match self.elements() {
            Elements::Kept(input) => input.stage.get_each(indices, cx),
            Elements::Moved(input, by) => {
                let moved: Vec<u64> = indices.iter().map(|index| by.locate(*index)).collect();
                input.stage.get_each(&moved, cx)
            }
            Elements::Indexed(..) | Elements::InOrder(..) => {
                indices.iter().map(|index| self.get(*index, cx)).collect()
            }
        }
    }

    /// Zero-copy slice of the elements `start..start + len`, stacked, or `None` if the rows are not
    /// contiguous, not shareable, or not aligned for frameworks.
    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        match self.elements() {
            Elements::Kept(input) => input.stage.slice(start, len, cx),
            Elements::Moved(input, by) => {
                let last = len.checked_sub(1)? as u64;
                let first = by.locate(start);
                let contiguous = by.locate(start.checked_add(last)?).checked_sub(first)? == last;
                if contiguous { input.stage.slice(first, len, cx) } else { None }
            }
            Elements::Indexed(..) | Elements::InOrder(..) => None,
        }
    }

    /// Whether component `at`, whose first dimension is unknown, is *measured*: its length in an
    /// element is known before the element is read. Then [`Stage::lengths`] returns it, and
    /// [`Stage::gather_parts`] reads it.
    fn is_measured(&self, at: usize) -> bool {
        match self.elements() {
            Elements::Kept(input) | Elements::Moved(input, _) => input.stage.is_measured(at),
            Elements::Indexed(..) | Elements::InOrder(..) => false,
        }
    }

    /// Writes the length of a measured component in each requested element to `out[slot]`. May
    /// overwrite the requests.
    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        match self.elements() {
            Elements::Kept(input) => input.stage.lengths(at, requests, out, cx),
            Elements::Moved(input, by) => {
                by.locate_all(requests);
                input.stage.lengths(at, requests, out, cx)
            }
            Elements::Indexed(..) | Elements::InOrder(..) => Err(not_indexed("lengths")),
        }
    }

    /// Writes parts of a measured component. A slot holds one value: an index into the unknown
    /// dimension. May overwrite the parts.
    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        match self.elements() {
            Elements::Kept(input) => input.stage.gather_parts(at, parts, out, cx),
            Elements::Moved(input, by) => {
                parts.iter_mut().for_each(|part| part.index = by.locate(part.index));
                input.stage.gather_parts(at, parts, out, cx)
            }
            Elements::Indexed(..) | Elements::InOrder(..) => Err(not_indexed("gather")),
        }
    }

    /// Writes components of the requested elements into rows, one [`RowsOut`] for each. Only for
    /// indexed stages whose requested components are tensors of known shape. May overwrite the
    /// requests.
    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        match self.elements() {
            Elements::Kept(input) => input.stage.gather(columns, requests, out, cx),
            Elements::Moved(input, by) => {
                by.locate_all(requests);
                input.stage.gather(columns, requests, out, cx)
            }
            Elements::Indexed(..) | Elements::InOrder(..) => {
                gather_each(&|index| self.get(index, cx), columns, requests, out, cx)
            }
        }
    }

    /// The indexed dataset whose consecutive elements this stage stacks, if it does nothing else.
    fn unstacked(&self) -> Option<Dataset> {
        None
    }

    /// One pass over the elements as indices of an indexed dataset, if that is all they are. Then
    /// `batch` gathers its rows together.
    fn picks(&self, _cx: &Context) -> Result<Option<Picked>> {
        Ok(None)
    }

    /// The dataset of batches of `size` elements, if there is a shorter way to it than stacking.
    ///
    /// # Errors
    /// As [`Dataset::batch`].
    fn stacked(&self, _size: usize, _drop_remainder: bool) -> Result<Option<Dataset>> {
        Ok(None)
    }

    /// A pass over these elements of an indexed plan whose functions are called on several threads:
    /// see [`Dataset::part_iter`]. `None` if nothing is gained over computing whole elements on
    /// these threads. For stages whose elements take several of their input, or call a function in
    /// order.
    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let (input, part) = match self.elements() {
            Elements::Kept(input) => (input, part),
            Elements::Moved(input, by) => {
                let last = part.end.checked_sub(1).filter(|last| *last >= part.start)?;
                let moved = by.locate(part.start)..by.locate(last).checked_add(1)?;
                let is_run = moved.end.checked_sub(moved.start)? == part.end - part.start;
                (input, if is_run { moved } else { return None })
            }
            Elements::Indexed(..) | Elements::InOrder(..) => return None,
        };
        Some(input.part_iter(part, cx))
    }

    /// One pass over the elements in order. Indexed stages need not implement it: see
    /// [`Dataset::element_iter`].
    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        Err(Error::Argument { stage: "iterate", what: "this stage is indexed".into() })
    }
}

/// Gathers element by element.
pub(crate) fn gather_each(
    get: &dyn Fn(u64) -> Result<Element>,
    columns: Columns<'_>,
    requests: &[RowRequest],
    out: &mut [RowsOut<'_>],
    cx: &Context,
) -> Result<()> {
    for request in requests {
        cx.cancel.check()?;
        let element = get(request.index)?;
        for (component, rows) in columns.indices(out.len()).zip(out.iter_mut()) {
            write_row(element[component].tensor()?, rows.slot(request.slot))?;
        }
    }
    Ok(())
}

/// The error of [`Stage::get`] of a stage that only iterates.
pub(crate) fn not_indexed(stage: &'static str) -> Error {
    Error::Argument { stage, what: "the dataset has no random access. Iterate over it.".into() }
}

/// The work was interrupted, by a cancellation or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// One step of an iterator: the next element, or the error in its place, or `None` at the end.
/// `?` passes an interruption on.
pub(crate) type Step<T = Element> = Result<Option<Result<T>>, Interrupted>;

/// One pass over a stage, in order.
pub(crate) trait ElementIter: Send {
    /// The next element. After an error the next call returns the element after it. After an
    /// interruption the next call continues as if this one had not happened: an implementation
    /// takes nothing out of its own state before the last `?`.
    fn next(&mut self) -> Step;

    /// Moves back by one element, if that is free. Returns whether it did.
    fn back(&mut self) -> bool {
        false
    }

    /// The state from which [`ElementIter::restore`] continues.
    fn save(&self) -> Result<State>;

    /// Moves to the position at which an iterator of the same plan and epoch was saved.
    ///
    /// # Errors
    /// [`Error::State`] if the state is not one of this kind of iterator.
    fn restore(&mut self, state: &State) -> Result<()>;
}

/// Elements of an indexed dataset whose indices only iterating tells.
pub(crate) struct Picked {
    pub(crate) source: Dataset,
    pub(crate) indices: Box<dyn Picks>,
}

/// One pass over indices. Errors and interruptions are those of an [`ElementIter`].
pub(crate) trait Picks: Send {
    fn next(&mut self) -> Step<u64>;

    /// As [`ElementIter::save`]. Called for each element, and therefore cheap.
    fn save(&self) -> State;

    fn restore(&mut self, state: &State) -> Result<()>;
}

/// Separates an interruption from the errors that take the place of an element.
pub(crate) fn uninterrupted<T>(result: Result<T>) -> Result<Result<T>, Interrupted> {
    match result {
        Err(Error::Interrupted) => Err(Interrupted),
        other => Ok(other),
    }
}

/// The result as a step.
pub(crate) fn step<T, E: Into<Error>>(result: Result<T, E>) -> Step<T> {
    uninterrupted(result.map_err(Into::into)).map(Some)
}

/// The value of a [`Step`]. The end, an error and an interruption are returned from the function.
macro_rules! value_of {
    ($step:expr) => {
        match $step? {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Ok(Some(Err(error))),
            None => return Ok(None),
        }
    };
}
pub(crate) use value_of;
