//! Indexed plans whose functions are called on several threads.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::calls::{Calls, Done, Jobs, SLOTS};
use crate::execute::compute::{compute, compute_each};
use crate::execute::workers::element_bytes;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Step, step, value_of};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tensorferry_io::sync::process::process_id;

/// The elements of an indexed plan in order, as [`Dataset::part_iter`] computes them. Its state is
/// a position: after resuming, elements that were computed ahead are computed again.
pub(crate) struct InParallel {
    dataset: Dataset,
    cx: Context,
    position: u64,
    len: u64,
    /// The pass from `position` on, and the process that made it.
    iter: Option<(Box<dyn ElementIter>, u32)>,
}

impl InParallel {
    pub(crate) fn new(dataset: Dataset, cx: Context) -> Self {
        let len = match dataset.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        };
        Self { dataset, cx, position: 0, len, iter: None }
    }
}

impl ElementIter for InParallel {
    fn next(&mut self) -> Step {
        if self.position >= self.len {
            return Ok(None);
        }
        // Threads do not survive a fork.
        if self.iter.as_ref().is_none_or(|(_, process)| *process != process_id()) {
            let part = self.position..self.len;
            let iter = value_of!(step(self.dataset.part_iter(part, &self.cx)));
            self.iter = Some((iter, process_id()));
        }
        let Some((iter, _)) = &mut self.iter else { return Ok(None) };
        // Advance first: after a panic, the next call continues with the element after it.
        self.position += 1;
        let element = iter.next();
        if !matches!(element, Ok(Some(_))) {
            self.position -= 1;
        }
        element
    }

    fn save(&self) -> Result<State> {
        Ok(State::Int(self.position))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        (self.position, self.iter) = (state.int()?, None);
        Ok(())
    }
}

/// The elements of a part of an indexed plan, each computed from its index on one of several
/// threads. Functions that take several elements in a call get them: see [`Pace`].
pub(crate) struct Computed(Calls<Indices>);

struct Indices {
    left: Range<u64>,
    pace: Option<Arc<Pace>>,
}

impl Jobs for Indices {
    type Job = Range<u64>;

    fn next(&mut self) -> Step<Range<u64>> {
        let Range { start, end } = self.left;
        if start >= end {
            return Ok(None);
        }
        let len = self.pace.as_ref().map_or(1, |pace| pace.len());
        self.left.start = start.saturating_add(len).min(end);
        Ok(Some(Ok(start..self.left.start)))
    }

    fn may_be_inline(&self) -> bool {
        self.pace.is_none()
    }
}

/// The number of elements of a call: enough to make handing them over cheap beside the function,
/// and few enough that results come evenly and take little memory.
struct Pace {
    next: AtomicU64,
    most_bytes: usize,
}

/// The time of a call with several elements.
const CALL: Duration = Duration::from_millis(10);
/// The most elements of a call.
const MOST: u64 = 256;
/// The most bytes of the results of a call.
const MOST_BYTES: usize = 1 << 20;

impl Pace {
    fn new(threads: usize, cx: &Context) -> Self {
        let most_bytes = cx.for_batches() / threads.saturating_mul(2 * SLOTS).max(1);
        Self { next: AtomicU64::new(1), most_bytes: most_bytes.min(MOST_BYTES) }
    }

    fn len(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Counts a call of `len` elements whose results have `bytes`.
    fn add(&self, len: u64, bytes: usize, took: Duration) {
        let in_time = u128::from(len) * CALL.as_nanos() / took.as_nanos().max(1);
        let in_memory = u128::from(len) * self.most_bytes as u128 / bytes.max(1) as u128;
        let fits = u64::try_from(in_time.min(in_memory)).unwrap_or(MOST);
        self.next.store(fits.clamp(1, MOST.min(2 * len)), Ordering::Relaxed);
    }
}

impl Computed {
    pub(crate) fn new(dataset: Dataset, cx: &Context, part: Range<u64>) -> Self {
        let contexts = Calls::<Indices>::context(cx);
        let (threads, cx) = (dataset.hints.calls, contexts.0.clone());
        let in_chunks = dataset.hints.in_chunks && cx.sessions.is_some();
        let pace = in_chunks.then(|| Arc::new(Pace::new(threads, &cx)));
        let names = dataset.parallel_names();
        let jobs = Indices { left: part, pace: pace.clone() };
        let call = move |job: Range<u64>| match &pace {
            None => job.map(|index| compute(&dataset, index, &cx)).collect(),
            Some(pace) => chunk(&dataset, job, &cx, pace),
        };
        Self(Calls::new(jobs, (threads, names), contexts, call))
    }
}

/// Computes the elements of a job together.
fn chunk(dataset: &Dataset, job: Range<u64>, cx: &Context, pace: &Pace) -> Done {
    let (len, began) = (job.end - job.start, Instant::now());
    let done = compute_each(dataset, job, cx);
    let bytes = done.iter().flatten().map(|element| element_bytes(element)).sum();
    pace.add(len, bytes, began.elapsed());
    done.into()
}

impl ElementIter for Computed {
    fn next(&mut self) -> Step {
        self.0.next()
    }

    fn save(&self) -> Result<State> {
        Err(stateless())
    }

    fn restore(&mut self, _state: &State) -> Result<()> {
        Err(stateless())
    }
}

/// The error of a part's iterator, whose position [`InParallel`] keeps.
fn stateless() -> Error {
    Error::State { what: "a part of a plan has no state of its own".into() }
}
