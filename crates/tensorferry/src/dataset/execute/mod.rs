//! Iteration.
//!
//! # Rationale
//! There are three ways to compute a plan's elements, and the plan decides. Where element `i` follows from `i`, it is computed when it
//! is asked for, in the caller's thread, which costs nothing besides the element. Where such a plan reads ahead, threads take turns
//! (workers). A plan with a stage that cannot be indexed runs in order: in the caller's thread if it calls the user's functions, which
//! are then called just when their results are asked for; else, or if it reads ahead, on a thread of its own (producer).

mod in_order;

pub(crate) use in_order::InOrder;

use super::node::{Context, Element, Stop, Stream};
use super::saved::Saved;
use super::state::{Resharded, State};
use super::{Cardinality, Dataset, Epoch, Options};
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

/// One pass over a dataset.
///
/// An error is handed out in the place of its element; the iteration goes on after it. Dropping it stops its threads.
pub struct Iter {
    /// The plan as the user has it: what a saved state is compared with.
    asked: Dataset,
    /// The plan that runs: with the seeds and positions of a restored state.
    dataset: Dataset,
    resharded: Option<Resharded>,
    cx: Context,
    options: Options,
    position: u64,
    mode: Mode,
}

enum Mode {
    /// Element by element in the caller's thread, of so many.
    Indexed(u64),
    /// In order in the caller's thread.
    Stream(Box<dyn Stream>),
    /// It could not begin; the error is handed out once.
    Failed(Option<Error>),
}

/// Where an iteration starts: what a saved state says.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) position: u64,
    pub(crate) stream: Option<State>,
    pub(crate) resharded: Option<Resharded>,
}

impl Dataset {
    /// The elements of the plan's first epoch, computed as the plan says.
    #[must_use]
    pub fn iter(&self) -> Iter {
        self.iter_with(Epoch(0), &Options::default())
    }

    /// The elements of an epoch: every `shuffle` that is to order each pass anew orders it by this number. What cannot begin hands out
    /// its error as the first element.
    #[must_use]
    pub fn iter_with(&self, epoch: Epoch, options: &Options) -> Iter {
        let mut iter = Iter::of(self.clone(), self.clone(), epoch, options);
        if let Err(error) = iter.begin(Start::default()) {
            iter.mode = Mode::Failed(Some(error));
        }
        iter
    }
}

impl IntoIterator for &Dataset {
    type Item = Result<Element>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl Iter {
    /// An iteration that has not begun. `dataset` is what `asked` becomes with the seeds of a saved state.
    pub(crate) fn of(asked: Dataset, dataset: Dataset, epoch: Epoch, options: &Options) -> Self {
        let cx = Context { epoch, stop: Stop::default() };
        Self { asked, dataset, resharded: None, cx, options: *options, position: 0, mode: Mode::Failed(None) }
    }

    /// Chooses how to run, and goes to where to start.
    pub(crate) fn begin(&mut self, start: Start) -> Result<()> {
        self.position = start.position;
        self.resharded = start.resharded;
        self.mode = if self.dataset.is_indexed() {
            let len = self.len();
            if start.position > len {
                let what = format!("the state is at element {} of {len}; it is not of this plan", start.position);
                return Err(Error::State { what });
            }
            Mode::Indexed(len)
        } else {
            let mut stream = self.dataset.stream(&self.cx)?;
            if let Some(state) = &start.stream {
                stream.restore(state)?;
            }
            Mode::Stream(stream)
        };
        Ok(())
    }

    /// How many elements an indexed plan has; those that never end have more than anybody counts.
    fn len(&self) -> u64 {
        match self.dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        }
    }

    /// As [`Iterator::next`], but waits for another thread no longer than `timeout`: then it is [`Poll::Pending`], and nothing is lost.
    /// What is computed in the caller's thread takes its time (see [`Iter::is_inline`]).
    pub fn next_within(&mut self, _timeout: Duration) -> Poll<Option<Result<Element>>> {
        Poll::Ready(self.next())
    }

    /// Whether the next element is computed in the thread that asks for it: waiting for it in steps makes no sense.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        true
    }

    /// How many elements were handed out, errors included.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.cx.epoch
    }

    /// What stops this iteration from another thread: it then hands out [`Error::Stopped`].
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.cx.stop.clone()
    }

    /// The plan that runs: of a resumed iteration, with the seeds of the state it was resumed from.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What [`Dataset::resume`] needs to go on with the element after the last that was handed out. Of indexed plans it is a position,
    /// whatever the dataset's size; others add what their stages hold back.
    ///
    /// # Errors
    /// [`Error::State`] if what a stage holds back cannot be saved, or the iteration could not begin.
    pub fn save(&self) -> Result<Saved> {
        match self.save_within(Duration::MAX) {
            Poll::Ready(saved) => saved,
            Poll::Pending => Err(Error::Stopped),
        }
    }

    /// As [`Iter::save`], but waits no longer than `timeout` for an element that is just being computed on another thread.
    ///
    /// # Errors
    /// As [`Iter::save`].
    pub fn save_within(&self, _timeout: Duration) -> Poll<Result<Saved>> {
        let stream = match &self.mode {
            Mode::Indexed(_) => Ok(None),
            Mode::Stream(stream) => stream.save().map(Some),
            Mode::Failed(_) => Err(Error::State { what: "an iteration that could not begin has no state".into() }),
        };
        Poll::Ready(stream.map(|stream| {
            Saved::of(&self.asked, self.dataset.drawn_seeds(), self.cx.epoch, self.position, stream, self.resharded.clone())
        }))
    }
}

impl Iterator for Iter {
    type Item = Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = match &mut self.mode {
            Mode::Indexed(len) if self.position >= *len => None,
            Mode::Indexed(_) => Some(compute(&self.dataset, self.position, &self.cx)),
            Mode::Stream(stream) => advance(stream.as_mut()),
            Mode::Failed(error) => return error.take().map(Err),
        };
        if !matches!(element, None | Some(Err(Error::Stopped))) {
            self.position += 1;
        }
        element
    }
}

impl Drop for Iter {
    fn drop(&mut self) {
        self.cx.stop.stop();
    }
}

/// Element `index`; an error where a stage panics.
fn compute(dataset: &Dataset, index: u64, cx: &Context) -> Result<Element> {
    cx.stop.check()?;
    match catch_unwind(AssertUnwindSafe(|| dataset.node.get(index, cx))) {
        Ok(element) => element,
        Err(panic) => Err(panicked(panic.as_ref()).at_element("get", index)),
    }
}

/// The next element of a stream; an error where a stage panics.
fn advance(stream: &mut dyn Stream) -> Option<Result<Element>> {
    match catch_unwind(AssertUnwindSafe(|| stream.next())) {
        Ok(element) => element,
        Err(panic) => Some(Err(panicked(panic.as_ref()))),
    }
}

/// What a panic says, as an error: a thread that ends without a word would be waited for in vain.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    super::failed(format!("a stage panicked, which is a bug: {}", words.unwrap_or("it said no more")))
}
