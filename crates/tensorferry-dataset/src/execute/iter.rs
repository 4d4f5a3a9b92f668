//! [`Iter`]: one pass over a dataset.

use crate::checkpoint::checkpoint::Checkpoint;
use crate::checkpoint::{change::Resharded, state::State};
use crate::error::{Error, Result};
use crate::execute::compute::{advance, compute, waiting_state};
use crate::execute::memory_budget::MemoryBudget;
use crate::execute::options::Options;
use crate::execute::options::ReadAhead;
use crate::execute::producer::{Limits, Producer};
use crate::execute::reach::Reach;
use crate::execute::stats::IterStats;
use crate::execute::workers::Workers;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, Element, ElementIter, Epoch};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tensorferry_io::cancel::CancelToken;

/// One pass over a dataset.
///
/// An error takes the place of its element, and the iteration continues after it. Dropping the
/// iterator stops its threads.
pub struct Iter {
    /// The plan as the user built it. Checkpoints are compared with it.
    asked: Dataset,
    /// The plan that runs, with the seeds and shard positions of a restored checkpoint.
    dataset: Dataset,
    origins: Vec<Resharded>,
    /// Rows that `dataset` skips, as an earlier run with other batches handed them out.
    skipped: u64,
    cx: Context,
    options: Options,
    position: u64,
    mode: Mode,
}

enum Mode {
    /// Element by element in the caller's thread; the field is the number of elements.
    Indexed(u64),
    /// Any element on any thread.
    Workers(Box<Workers>),
    /// In order in the caller's thread, after the prefetched elements of a restored checkpoint.
    Inline(Box<dyn ElementIter>, VecDeque<Result<Element>>),
    /// In order on a thread of its own.
    Producer(Producer),
    /// The iteration could not begin. The error is handed out once.
    Failed(Option<Error>),
}

/// Where an iteration starts, as given by a checkpoint.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) position: u64,
    pub(crate) state: Option<State>,
    pub(crate) origins: Vec<Resharded>,
    pub(crate) skipped: u64,
}

impl Dataset {
    /// The elements of the plan's first epoch, with default options.
    #[must_use]
    pub fn iter(&self) -> Iter {
        self.iter_with(Epoch(0), &Options::default())
    }

    /// The elements of an epoch, which determines the order of every `shuffle` that reshuffles each
    /// iteration. If the iteration cannot begin, its first element is the error.
    #[must_use]
    pub fn iter_with(&self, epoch: Epoch, options: &Options) -> Iter {
        self.iter_from_start(epoch, options, None)
    }

    /// As [`Dataset::iter_with`], and adds the times to `stats`. Other iterations are not timed.
    #[must_use]
    pub fn iter_with_stats(&self, epoch: Epoch, options: &Options, stats: &IterStats) -> Iter {
        self.iter_from_start(epoch, options, Some(stats.clone()))
    }

    fn iter_from_start(&self, epoch: Epoch, options: &Options, stats: Option<IterStats>) -> Iter {
        let mut iter = Iter::of(self.clone(), self.clone(), epoch, options);
        iter.cx.stats = stats;
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
    /// An iteration that has not begun. `dataset` is `asked` with the seeds of a checkpoint.
    pub(crate) fn of(asked: Dataset, dataset: Dataset, epoch: Epoch, options: &Options) -> Self {
        let budget = MemoryBudget::new(&dataset.hints, options);
        let cancel = CancelToken::default();
        if let Some(bytes) = budget.readahead() {
            cancel.limit_readahead(bytes);
        }
        let (budget, sessions) = (Some(Arc::new(budget)), Some(Arc::default()));
        let cx = Context { budget, sessions, ..Context::new(epoch, cancel) };
        Self {
            asked,
            dataset,
            origins: Vec::new(),
            skipped: 0,
            cx,
            options: *options,
            position: 0,
            mode: Mode::Failed(None),
        }
    }

    /// Chooses the mode and moves to the start.
    pub(crate) fn begin(&mut self, start: Start) -> Result<()> {
        self.position = start.position;
        (self.origins, self.skipped) = (start.origins, start.skipped);
        let from = if self.dataset.is_indexed() { self.position } else { 0 };
        self.cx.reach = Reach::of(&self.dataset, from).map(Arc::new);
        let ahead = self.ahead();
        self.mode = if self.dataset.is_indexed() {
            self.begin_indexed(ahead)?
        } else {
            self.begin_in_order(ahead, start.state.as_ref())?
        };
        Ok(())
    }

    /// How many elements to read ahead.
    fn ahead(&self) -> usize {
        let automatic = || match self.dataset.hints.sequential {
            // Functions may have side effects: read ahead just enough to keep two threads busy.
            true => 2,
            false => self.options.threads() + self.cx.threads().max(self.options.threads()),
        };
        self.options.read_ahead.unwrap_or_else(|| match self.dataset.read_ahead() {
            // Reads overlap with the use of elements, and a waiting consumer can be interrupted.
            None if self.dataset.hints.reads_files => automatic(),
            None => 0,
            Some(ReadAhead::Automatic) => automatic(),
            Some(ReadAhead::Elements(elements)) => elements,
        })
    }

    fn begin_indexed(&self, ahead: usize) -> Result<Mode> {
        let len = self.len();
        if self.position > len {
            let what = format!(
                "the state is at element {} of {len}; it is not of this plan",
                self.position
            );
            return Err(Error::State { what });
        }
        if ahead == 0 && self.dataset.hints.calls == 0 {
            return Ok(Mode::Indexed(len));
        }
        if !self.dataset.hints.sequential {
            let (dataset, cx) = (self.dataset.clone(), self.cx.clone());
            let workers = Workers::new(dataset, cx, self.position, len, ahead);
            return Ok(Mode::Workers(Box::new(workers)));
        }
        let mut iter = self.dataset.element_iter(&self.cx)?;
        iter.restore(&State::Int(self.position))?;
        if ahead == 0 {
            return Ok(Mode::Inline(iter, VecDeque::new()));
        }
        Ok(self.producer(iter, VecDeque::new(), ahead))
    }

    fn begin_in_order(&self, ahead: usize, state: Option<&State>) -> Result<Mode> {
        let mut iter = self.dataset.element_iter(&self.cx)?;
        let mut waiting = VecDeque::new();
        if let Some(state) = state {
            waiting = self.restore_waiting(iter.as_mut(), state)?;
        }
        if ahead == 0 && self.dataset.hints.sequential {
            return Ok(Mode::Inline(iter, waiting));
        }
        Ok(self.producer(iter, waiting, ahead))
    }

    /// Restores a [`waiting_state`]: moves the iterator and returns the waiting elements.
    fn restore_waiting(
        &self,
        iter: &mut dyn ElementIter,
        state: &State,
    ) -> Result<VecDeque<Result<Element>>> {
        let parts = state.list(2)?;
        iter.restore(&parts[0])?;
        let waiting = parts[1].parts()?;
        if waiting.is_empty() {
            return Ok(VecDeque::new());
        }
        let spec = crate::spec::tensors(self.dataset.spec(), "resume")?;
        let element = |state: &State| -> Result<Result<Element>> {
            if let State::List(_) = state {
                return state.error().map(Err);
            }
            let tensors = state.tensors()?;
            if tensors.len() != spec.len()
                || tensors.iter().zip(&spec).any(|(tensor, spec)| spec.check(tensor).is_err())
            {
                return Err(Error::State {
                    what: "a prefetched element in the state is not of this plan".into(),
                });
            }
            Ok(Ok(tensors.iter().cloned().map(crate::stage::Value::Tensor).collect()))
        };
        waiting.iter().map(element).collect()
    }

    fn producer(
        &self,
        iter: Box<dyn ElementIter>,
        waiting: VecDeque<Result<Element>>,
        ahead: usize,
    ) -> Mode {
        let ahead = match ahead {
            0 if self.dataset.spec().iter().all(|part| part.tensor().is_some()) => {
                Limits { elements: 64, bytes: 64 << 10 }
            }
            // A checkpoint cannot hold datasets by value, so they are computed only on request.
            0 => Limits { elements: 0, bytes: 0 },
            elements => Limits { elements, bytes: usize::MAX },
        };
        Mode::Producer(Producer::new(
            iter,
            waiting,
            ahead,
            self.dataset.is_sequential(),
            self.cx.clone(),
        ))
    }

    /// How many elements an indexed plan has; `u64::MAX` if it never ends.
    fn len(&self) -> u64 {
        match self.dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        }
    }

    /// As [`Iterator::next`], but waits at most `timeout` for another thread. After that it returns
    /// [`Poll::Pending`], and no element is lost. The timeout does not limit elements that the
    /// caller's thread computes: see [`Iter::is_inline`].
    pub fn next_within(&mut self, timeout: Duration) -> Poll<Option<Result<Element>>> {
        self.poll(Instant::now().checked_add(timeout))
    }

    /// The next element, if it was computed ahead and is available without waiting, locking or
    /// computing.
    pub fn next_at_hand(&mut self) -> Option<Result<Element>> {
        if self.cx.cancel.is_cancelled() {
            return None;
        }
        let element = match &mut self.mode {
            Mode::Workers(workers) => workers.next_at_hand(),
            Mode::Producer(producer) => producer.next_at_hand(),
            _ => None,
        }?;
        self.position += 1;
        Some(element)
    }

    /// Takes back the element that was handed out last, to hand it out again. For callers whose
    /// request was interrupted.
    pub fn give_back(&mut self, element: Result<Element>) {
        if matches!(element, Err(Error::Interrupted)) {
            return;
        }
        self.position = self.position.saturating_sub(1);
        match &mut self.mode {
            // The element is computed again.
            Mode::Indexed(_) => {}
            Mode::Workers(workers) => workers.give_back(element),
            Mode::Inline(_, waiting) => waiting.push_front(element),
            Mode::Producer(producer) => producer.give_back(element),
            Mode::Failed(error) => *error = element.err(),
        }
    }

    /// Whether the next element is computed in the caller's thread. If so, [`Iter::next_within`]
    /// never returns [`Poll::Pending`].
    #[must_use]
    pub fn is_inline(&self) -> bool {
        !matches!(self.mode, Mode::Workers(_) | Mode::Producer(_))
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

    /// A token that stops this iteration from any thread. The iteration then hands out
    /// [`Error::Interrupted`].
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cx.cancel.clone()
    }

    /// The plan that runs. If the iteration was resumed, it has the seeds of the checkpoint.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The state from which [`Dataset::resume`] continues after the last element that was handed
    /// out. For an indexed plan it is a position, whatever the dataset's size. Other plans add what
    /// their stages buffer.
    ///
    /// # Errors
    /// [`Error::State`] if elements that a stage buffers cannot be saved, or the iteration could
    /// not begin.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        match self.checkpoint_within(Duration::MAX) {
            Poll::Ready(saved) => saved,
            Poll::Pending => Err(Error::Interrupted),
        }
    }

    /// As [`Iter::checkpoint`], but waits no longer than `timeout` for an element that another
    /// thread is computing.
    ///
    /// # Errors
    /// As [`Iter::checkpoint`].
    pub fn checkpoint_within(&self, timeout: Duration) -> Poll<Result<Checkpoint>> {
        let state = match &self.mode {
            Mode::Indexed(_) | Mode::Workers(_) => Ok(None),
            // The position suffices: elements that were read ahead are computed again.
            Mode::Inline(..) | Mode::Producer(_) if self.dataset.is_indexed() => Ok(None),
            Mode::Inline(iter, waiting) => {
                iter.save().and_then(|state| waiting_state(state, waiting)).map(Some)
            }
            Mode::Producer(producer) => match producer.save(Instant::now().checked_add(timeout)) {
                Poll::Ready(state) => state.map(Some),
                Poll::Pending => return Poll::Pending,
            },
            Mode::Failed(_) => {
                Err(Error::State { what: "an iteration that could not begin has no state".into() })
            }
        };
        Poll::Ready(state.map(|state| {
            Checkpoint::of(
                (&self.asked, &self.dataset),
                self.cx.epoch,
                self.position,
                state,
                self.origins.clone(),
                self.skipped,
            )
        }))
    }

    /// Ends what its functions hold, such as worker processes.
    fn end_sessions(&self) {
        if let Some(sessions) = &self.cx.sessions {
            sessions.end();
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Poll<Option<Result<Element>>> {
        if self.cx.cancel.is_cancelled() {
            return Poll::Ready(Some(Err(Error::Interrupted)));
        }
        if let Mode::Producer(producer) = &self.mode
            && self.dataset.is_indexed()
            && producer.is_forked()
        {
            match self.begin_indexed(self.ahead()) {
                Ok(mode) => self.mode = mode,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let element = match &mut self.mode {
            Mode::Indexed(len) if self.position >= *len => None,
            Mode::Indexed(_) => Some(compute(&self.dataset, self.position, &self.cx)),
            Mode::Workers(workers) => match workers.next(self.position, deadline) {
                Poll::Ready(element) => element,
                Poll::Pending => return Poll::Pending,
            },
            Mode::Inline(iter, waiting) => match waiting.pop_front() {
                Some(element) => Some(element),
                None => advance(iter.as_mut()).unwrap_or(Some(Err(Error::Interrupted))),
            },
            Mode::Producer(producer) => match producer.next(deadline) {
                Poll::Ready(element) => element,
                Poll::Pending => return Poll::Pending,
            },
            Mode::Failed(error) => error.take().map(Err),
        };
        match element {
            None => self.end_sessions(),
            Some(Err(Error::Interrupted)) => {}
            Some(_) => self.position += 1,
        }
        Poll::Ready(element)
    }
}

impl Iterator for Iter {
    type Item = Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Poll::Ready(element) = self.poll(None) {
                return element;
            }
        }
    }
}

impl Drop for Iter {
    fn drop(&mut self) {
        self.cx.cancel.cancel();
        // First the threads that call functions.
        self.mode = Mode::Failed(None);
        if let Some(sessions) = &self.cx.sessions {
            sessions.close();
        }
    }
}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("dataset", &self.dataset)
            .field("epoch", &self.cx.epoch)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
