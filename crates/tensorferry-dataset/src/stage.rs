//! What every stage of a plan is: a [`Stage`], and, while it is iterated in order, a [`ElementIter`].
//!
//! # Rationale
//! Where element `i` of the result can be computed from `i` alone, a stage is *indexed*: position is
//! the whole state of an iteration, any thread may compute any element, and a batch asks for all
//! its rows in one [`Stage::gather`]. Where it cannot (filter, generators), a stage only streams, and
//! its [`ElementIter`] saves what it needs to go on.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::execute::memory_budget::Held;
use crate::execute::stats::Times;
use crate::promise::keeps;
use crate::shuffle::random::Seed;
use crate::spec::{Cardinality, Component};
use std::sync::Arc;
use tensorferry_core::{ByteOrder, Layout, Tensor};
use tensorferry_io::cancel::Stop;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::{Rows, write_row};
use tensorferry_io::memory::pool;

/// A component's value in one element.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor, in native byte order.
    Tensor(Tensor),
    /// A dataset, as `window` makes them.
    Dataset(Dataset),
}

impl Value {
    /// The tensor.
    ///
    /// # Errors
    /// [`Error::ElementMismatch`] of a nested dataset.
    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Dataset(_) => Err(Error::ElementMismatch {
                what: "the element holds a dataset, not a tensor".into(),
            }),
        }
    }

    /// The tensor, by value.
    ///
    /// # Errors
    /// As [`Value::tensor`].
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Dataset(_) => Err(Error::ElementMismatch {
                what: "the element holds a dataset, not a tensor".into(),
            }),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// One element: its components in the order of the flattened structure.
pub type Element = Vec<Value>;

/// Which round over its input a stage is in: part of the key of every shuffle. A plan's own rounds
/// are numbered 0, 1, 2, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of a `repeat`'s input in its `round`. Of the first pass over a plan they are 0, 1,
    /// 2, ... again, so that `shuffle().repeat()` orders its rounds as iterating `shuffle()` anew
    /// each time would.
    #[must_use]
    pub(crate) fn child(self, round: u64) -> Self {
        if self.0 == 0 {
            Self(round)
        } else {
            Self(crate::shuffle::random::mix(
                self.0 ^ crate::shuffle::random::mix(round.wrapping_add(1)),
            ))
        }
    }
}

/// What a stage is told while it computes elements.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) epoch: Epoch,
    pub(crate) stop: Stop,
    /// Who wants to know where the time goes.
    pub(crate) times: Option<Times>,
    /// What the iteration keeps in memory; none where an element is computed by itself.
    pub(crate) held: Option<Arc<Held>>,
    /// Stages of the plans around this one, whose functions made it.
    pub(crate) outside: usize,
}

impl Context {
    /// Of what is computed by itself.
    pub(crate) fn new(epoch: Epoch, stop: Stop) -> Self {
        Self { epoch, stop, times: None, held: None, outside: 0 }
    }

    pub(crate) fn at(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// How many threads may compute elements.
    pub(crate) fn threads(&self) -> usize {
        self.held.as_ref().map_or(1, |held| held.threads())
    }

    /// What elements in flight take by now, if more than the one that always may be.
    pub(crate) fn note(&self, bytes: usize) {
        if let Some(held) = &self.held {
            held.note(bytes);
        }
    }

    /// Bytes of elements that may be in flight.
    pub(crate) fn for_batches(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.for_batches())
    }
}

/// What computing elements takes of memory besides them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// Arrays that are read past the system's cache.
    pub(crate) windows: usize,
    /// Bytes of one group of each shuffle in blocks.
    pub(crate) groups: usize,
}

impl Needs {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            windows: self.windows.saturating_add(other.windows),
            groups: self.groups.saturating_add(other.groups),
        }
    }
}

/// A stage of a plan. Immutable; every iteration's own state is in a position or a [`ElementIter`].
pub(crate) trait Stage: Send + Sync {
    /// The components of each element.
    fn spec(&self) -> &[Component];

    /// How many elements.
    fn cardinality(&self) -> Cardinality;

    /// The stages this one reads from.
    fn inputs(&self) -> Vec<Dataset>;

    /// What the stage's own functions hold, see [`crate::user_fn::captures`].
    fn captures(&self) -> Vec<crate::user_fn::captures::Capture> {
        Vec::new()
    }

    /// The name and arguments, as they stand in the plan's description: `shuffle(seed=7)`.
    /// Everything that changes what the elements are has to stand in it, and nothing else (no seed
    /// that was drawn, see [`Stage::drawn_seed`]): states of plans whose descriptions differ are
    /// refused.
    fn describe(&self) -> String;

    /// The same stage over other inputs, given in the order of [`Stage::inputs`].
    ///
    /// # Errors
    /// As when the stage was made.
    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset>;

    /// The seed that was drawn because the user gave none.
    fn drawn_seed(&self) -> Option<&Seed> {
        None
    }

    /// What the description does not tell of where the elements come from or what becomes of them:
    /// which arrays, which functions. Plans that are written again count their epochs together only
    /// if it is the same.
    fn identity(&self) -> u64 {
        0
    }

    /// Whether this is a part of another dataset's elements, handed out as an element: its passes
    /// are nobody else's.
    fn is_window(&self) -> bool {
        false
    }

    /// Whether there may be fewer elements than [`Stage::cardinality`] says, as tf.data's `repeat`
    /// of a source of unknown length has it.
    fn may_end_early(&self) -> bool {
        self.inputs().iter().any(|input| input.stage.may_end_early())
    }

    /// Whether [`Stage::get`] works. (Infinite datasets can be indexed too, those of unknown
    /// cardinality cannot.)
    fn is_indexed(&self) -> bool;

    /// Whether elements have to be computed one after the other, in order, on one thread: functions
    /// of the user's.
    fn is_sequential(&self) -> bool {
        self.inputs().iter().any(|input| input.stage.is_sequential())
    }

    /// Whether elements come from files that are read, so that those that lie together are best had
    /// together, and all are best begun before they are asked for.
    fn reads_files(&self) -> bool {
        self.inputs().iter().any(|input| input.stage.reads_files())
    }

    /// What it takes of memory, with its inputs.
    fn needs(&self) -> Needs {
        self.inputs().iter().map(|input| input.stage.needs()).fold(Needs::default(), Needs::and)
    }

    /// Whether another epoch gives other elements, or another order.
    fn depends_on_epoch(&self) -> bool {
        self.inputs().iter().any(|input| input.stage.depends_on_epoch())
    }

    /// Element `index`, which is less than the cardinality. Only of indexed stages.
    fn get(&self, index: u64, cx: &Context) -> Result<Element>;

    /// Elements `start..start + len`, stacked, in no time: without a copy: `None` if they do not
    /// lie in memory so, cannot be shared, or are not aligned for frameworks.
    fn slice(&self, _start: u64, _len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        None
    }

    /// Writes the elements asked for into rows, one [`Rows`] for each component. Only of indexed
    /// stages all of whose components are tensors of known shape. The requests may be overwritten.
    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        gather_each(self, requests, out, cx)
    }

    /// As [`Stage::gather`], but only the components `which`, in that order, one [`Rows`] for each:
    /// what `components` asks for, so that nobody reads what nobody wants. A stage that has no
    /// better way computes all of them.
    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        gather_all_for_some(self, which, requests, out, cx)
    }

    /// How far ahead of the consumer the user wants elements of this stage to be computed. Changes
    /// nothing about the elements.
    fn read_ahead(&self) -> Option<crate::transforms::select::prefetch::ReadAhead> {
        None
    }

    /// The dataset whose consecutive elements this stage stacks, if it is indexed and nothing else
    /// happens to them: then a row can be had without the batch it is in.
    fn rows(&self) -> Option<Dataset> {
        None
    }

    /// How many of its input's elements the first `position` elements are made of, if that is a
    /// matter of arithmetic: then a run that goes on with another number of shards before this
    /// stage knows where they had come to.
    fn consumed(&self, _position: u64) -> Option<u64> {
        None
    }

    /// How many shards there are, and which of them this is.
    fn sharding(&self) -> Option<(u64, u64)> {
        None
    }

    /// One pass over the elements in order. Indexed stages need not say how: see
    /// [`Dataset::element_iter`].
    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        Err(Error::Argument { stage: "stream", what: "this stage is indexed".into() })
    }
}

/// Rows that [`Stage::slice`] may make, where it does not share them: more are gathered, a part at a
/// time.
pub(crate) const MADE_ROWS: usize = 1 << 20;

/// [`Stage::get`] by [`Stage::gather`], of a stage all of whose components are tensors of known shape.
pub(crate) fn get_by_gather(
    stage: &(impl Stage + ?Sized),
    index: u64,
    cx: &Context,
) -> Result<Element> {
    let mut parts = Vec::with_capacity(stage.spec().len());
    for spec in crate::spec::tensors(stage.spec(), "get")? {
        let shape = spec.shape.as_fixed().ok_or_else(|| not_indexed("get"))?;
        let layout = Layout::contiguous(&shape, spec.dtype.size())?;
        parts.push((spec.dtype, pool::take(layout.nbytes())?, layout));
    }
    let mut out: Vec<Rows<'_>> = parts
        .iter_mut()
        .map(|(_, buffer, layout)| Rows { bytes: buffer.as_mut_slice(), row: layout.nbytes() })
        .collect();
    stage.gather(&mut [Request { index, slot: 0 }], &mut out, cx)?;
    drop(out);
    let freeze = |(dtype, buffer, layout): (_, pool::PoolBuffer, _)| {
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?.into())
    };
    parts.into_iter().map(freeze).collect()
}

/// [`Stage::gather`] by [`Stage::get`], one element after the other.
pub(crate) fn gather_each(
    stage: &(impl Stage + ?Sized),
    requests: &[Request],
    out: &mut [Rows<'_>],
    cx: &Context,
) -> Result<()> {
    for request in requests {
        cx.stop.check()?;
        let element = stage.get(request.index, cx)?;
        for (value, rows) in element.iter().zip(out.iter_mut()) {
            write_row(value.tensor()?, rows.slot(request.slot))?;
        }
    }
    Ok(())
}

/// What [`Stage::rebuild`] is to change on the way. See [`crate::checkpoint::state`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// Seeds to put in the place of drawn ones, in the order in which [`Dataset::drawn_seeds`]
    /// lists them.
    pub(crate) seeds: std::collections::VecDeque<u64>,
    /// Where the old shards of a run that resumes on another number of them had come to.
    pub(crate) resharded: Option<crate::checkpoint::state::Resharded>,
}

/// One pass over a stage, in order.
pub(crate) trait ElementIter: Send {
    /// The next element; `None` at the end. After an error the stream goes on with the element
    /// after it. After [`Error::Stopped`], which every stage passes on at once, it goes on as if it
    /// had not been asked: nothing that it has read is lost.
    fn next(&mut self) -> Option<Result<Element>>;

    /// Goes back by the element that came last, if that costs nothing.
    fn back(&mut self) -> bool {
        false
    }

    /// What [`ElementIter::restore`] needs to go on from here.
    fn save(&self) -> Result<State>;

    /// Goes to where a stream of the same plan and epoch was when it was saved.
    ///
    /// # Errors
    /// [`Error::State`] if the state is not one of this kind of stream.
    fn restore(&mut self, state: &State) -> Result<()>;
}

/// What [`Stage::get`] of a stage that only streams returns.
pub(crate) fn not_indexed(stage: &'static str) -> Error {
    Error::Argument {
        stage,
        what: "its elements come one after the other, none by its index. Iterate.".into(),
    }
}

/// Checks that an element that a function or a generator made is as promised.
///
/// # Errors
/// [`Error::ElementMismatch`], naming the component.
pub fn check(element: &[Value], spec: &[Component]) -> Result<()> {
    if element.len() != spec.len() {
        let what = format!(
            "{} components where the dataset's element_spec has {}",
            element.len(),
            spec.len()
        );
        return Err(Error::ElementMismatch { what });
    }
    for (at, (value, part)) in element.iter().zip(spec).enumerate() {
        let wrong = match (value, part) {
            (Value::Tensor(tensor), Component::Tensor(spec)) => match spec.check(tensor) {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            },
            (Value::Dataset(dataset), Component::Dataset(spec))
                if keeps(dataset.spec(), spec) == Some(true) =>
            {
                continue;
            }
            (Value::Dataset(dataset), _) => {
                format!(
                    "{} where the dataset's element_spec says {part}",
                    Component::Dataset(dataset.spec().to_vec())
                )
            }
            (Value::Tensor(_), Component::Dataset(_)) => {
                format!("a tensor where the dataset's element_spec says {part}")
            }
        };
        return Err(Error::ElementMismatch { what: wrong }.in_component(at));
    }
    Ok(())
}

/// [`Stage::gather_some`] by computing element by element.
pub(crate) fn write_some<N: Stage + ?Sized>(
    stage: &N,
    which: &[usize],
    requests: &[Request],
    out: &mut [Rows<'_>],
    cx: &Context,
) -> Result<()> {
    for request in requests {
        cx.stop.check()?;
        let element = stage.get(request.index, cx)?;
        for (&component, rows) in which.iter().zip(out.iter_mut()) {
            write_row(element[component].tensor()?, rows.slot(request.slot))?;
        }
    }
    Ok(())
}

/// [`Stage::gather_some`] by gathering everything, what is not wanted into memory that is thrown
/// away; element by element where a component that is not wanted cannot be gathered.
fn gather_all_for_some<N: Stage + ?Sized>(
    stage: &N,
    which: &[usize],
    requests: &mut [Request],
    out: &mut [Rows<'_>],
    cx: &Context,
) -> Result<()> {
    let fixed: Option<Vec<usize>> =
        stage.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1)).collect();
    let twice = which.iter().enumerate().any(|(at, component)| which[..at].contains(component));
    let (Some(bytes), false) = (fixed, twice) else {
        return write_some(stage, which, requests, out, cx);
    };
    let slots = requests.iter().map(|request| request.slot + 1).max().unwrap_or(0);
    let mut unwanted = Vec::new();
    for (component, row) in bytes.iter().enumerate() {
        let len = if which.contains(&component) { 0 } else { row.saturating_mul(slots) };
        unwanted.push(pool::take(len)?);
    }
    let mut all: Vec<Rows<'_>> = unwanted
        .iter_mut()
        .zip(&bytes)
        .map(|(buffer, &row)| Rows { bytes: buffer.as_mut_slice(), row })
        .collect();
    for (&component, rows) in which.iter().zip(out) {
        all[component] = rows.reborrow();
    }
    stage.gather(requests, &mut all, cx)
}
