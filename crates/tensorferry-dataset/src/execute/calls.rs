//! Calls on several threads, ahead of the consumer, with the results in order.
//!
//! # Rationale
//! The threads take jobs from a source in turn, one thread at a time, and do them at the same time.
//! Each job has a slot in a queue, from which the consumer takes the results in order. So the
//! results do not depend on which thread is faster. A source that is slow, or that waits for the
//! consumer, delays no result that exists already.
//!
//! Jobs that take less time than handing them over are done in the consumer's thread, while they
//! are so quick.
//!
//! The queue holds at most [`SLOTS`] slots for each thread: a result that waits, and a job in
//! progress. Bytes of results are bounded by the memory budget.

use crate::error::{Error, Result};
use crate::execute::compute::panicked;
use crate::execute::pace::Pace;
use crate::execute::stats::computing;
use crate::execute::workers::{POLL_INTERVAL, element_bytes};
use crate::stage::{Context, Element, Interrupted, Step, step, uninterrupted, value_of};
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tensorferry_io::cancel::{CancelToken, check_interrupted};
use tensorferry_io::sync::fork_safe::ForkSafe;
use tensorferry_io::sync::process::process_id;

/// Jobs begun and not handed out, for each thread.
pub(crate) const SLOTS: usize = 2;
/// The most functions of which something is logged.
const MOST_TOLD: usize = 1000;

/// Where jobs come from.
pub(crate) trait Jobs: Send + 'static {
    type Job: Clone + Send;

    /// The next job, or the error in the place of its result.
    fn next(&mut self) -> Step<Self::Job>;

    /// Whether quick jobs are done in the consumer's thread: taking one never waits, and gives one
    /// result.
    fn may_be_inline(&self) -> bool {
        false
    }
}

/// What a job gives: one result or several.
pub(crate) type Done = VecDeque<Result<Element>>;

/// The consumer's side.
pub(crate) struct Calls<J: Jobs> {
    shared: Arc<Shared<J>>,
    /// The token of the iteration.
    cancel: CancelToken,
    /// The process that started the threads; `None` before that.
    process: Option<u32>,
}

struct Shared<J: Jobs> {
    queue: Mutex<Queue<J>>,
    /// Signalled when a job may be begun.
    room: Condvar,
    /// Signalled when the first result exists, or the source was returned.
    ready: Condvar,
    call: Box<dyn Fn(J::Job) -> Done + Send + Sync>,
    threads: usize,
    /// The functions that jobs call, for the log.
    names: String,
    /// Its token is cancelled with the iterator, and paused to save its state.
    cx: Context,
}

struct Queue<J: Jobs> {
    /// The source, unless a thread is taking a job from it.
    jobs: Option<J>,
    slots: VecDeque<Slot<J::Job>>,
    /// The number of the first slot.
    first: u64,
    /// Bytes of results, and of the largest one so far.
    bytes: usize,
    largest: usize,
    threads: usize,
    idle: usize,
    running: usize,
    consumer_waits: bool,
    pace: Pace,
    ended: bool,
    paused: bool,
    closed: bool,
}

struct Slot<Job> {
    /// The job; `None` in the place of an error of the source.
    job: Option<Job>,
    done: Option<Done>,
}

thread_local! {
    /// How long the job waited for a lock of others.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Says that a job in this thread waited so long for a lock that other jobs hold: threads make that
/// longer, not shorter.
pub fn waited_for_others(waited: Duration) {
    let _ended = WAITED.try_with(|all| all.set(all.get().saturating_add(waited)));
}

type Locked<'a, J> = MutexGuard<'a, Queue<J>>;

impl<J: Jobs> Calls<J> {
    /// Calls `call` for each job on up to `threads` threads. `cx` is from [`Calls::context`], and
    /// `names` are those of the functions that it calls.
    pub(crate) fn new(
        jobs: J,
        (threads, names): (usize, String),
        (cx, cancel): (Context, CancelToken),
        call: impl Fn(J::Job) -> Done + Send + Sync + 'static,
    ) -> Self {
        let queue = Queue {
            jobs: Some(jobs),
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            largest: 0,
            threads: 0,
            idle: 0,
            running: 0,
            consumer_waits: false,
            pace: Pace::new(),
            ended: false,
            paused: false,
            closed: false,
        };
        let shared = Shared {
            queue: Mutex::new(queue),
            room: Condvar::new(),
            ready: Condvar::new(),
            call: Box::new(call),
            threads: threads.max(1),
            names,
            cx,
        };
        Self { shared: Arc::new(shared), cancel, process: None }
    }

    /// The context for the source and the calls, with a token of its own, and the token of `cx`.
    pub(crate) fn context(cx: &Context) -> (Context, CancelToken) {
        (Context { cancel: CancelToken::default(), ..cx.clone() }, cx.cancel.clone())
    }

    /// Whether its threads run in the process that this one was forked from. The lock is then left
    /// alone: a thread may have held it.
    pub(crate) fn is_forked(&self) -> bool {
        self.process.is_some_and(|process| process != process_id())
    }

    /// The next result.
    pub(crate) fn next(&mut self) -> Step {
        if self.is_forked() {
            return Ok(Some(Err(Error::Forked)));
        }
        self.process.get_or_insert_with(process_id);
        let mut queue = self.shared.lock();
        loop {
            if let Some(result) = queue.take_first() {
                if queue.pace.handed_out(Instant::now()) && self.shared.threads > 1 {
                    self.shared.tell_quick();
                }
                self.grow(&mut queue);
                return Ok(Some(result));
            }
            if queue.ended && queue.slots.is_empty() {
                return Ok(None);
            }
            value_of!(step(self.cancel.check()));
            self.grow(&mut queue);
            if queue.threads == 0 || queue.is_for_consumer() {
                // No thread could be started, or the jobs are quick.
                queue = self.shared.one(queue)?;
                continue;
            }
            queue = self.wait(queue);
        }
    }

    fn wait<'a>(&'a self, mut queue: Locked<'a, J>) -> Locked<'a, J> {
        let shared = &self.shared;
        queue.consumer_waits = true;
        (queue, _) =
            shared.ready.wait_timeout(queue, POLL_INTERVAL).unwrap_or_else(PoisonError::into_inner);
        queue.consumer_waits = false;
        queue
    }

    /// Wakes a thread for the next job, or starts one if all are busy.
    fn grow(&self, queue: &mut Locked<'_, J>) {
        if !self.shared.has_room(queue) {
            return;
        }
        if queue.idle > 0 {
            self.shared.room.notify_one();
        } else if queue.threads < self.shared.threads {
            Shared::start(&self.shared, &self.cancel, queue);
        }
    }

    /// What `make` makes of the source and of the jobs whose results were not handed out, or the
    /// errors in their place. Waits until no thread is taking a job.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Interrupted`], or as `make`.
    pub(crate) fn save<T>(
        &self,
        make: impl FnOnce(&J, &[std::result::Result<J::Job, &Error>]) -> Result<T>,
    ) -> Result<T> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let mut queue = self.shared.lock();
        queue.paused = true;
        self.shared.cx.cancel.pause();
        let saved = loop {
            if let Some(jobs) = &queue.jobs {
                break make(jobs, &queue.unfinished());
            }
            if let Err(interrupted) = check_interrupted() {
                break Err(interrupted.into());
            }
            (queue, _) = self
                .shared
                .ready
                .wait_timeout(queue, POLL_INTERVAL / 10)
                .unwrap_or_else(PoisonError::into_inner);
        };
        queue.paused = false;
        self.shared.cx.cancel.resume();
        self.shared.room.notify_all();
        saved
    }
}

impl<J: Jobs> Drop for Calls<J> {
    /// Ends the threads without waiting for them: they may be in a user function.
    fn drop(&mut self) {
        if !self.is_forked() {
            self.shared.cx.cancel.cancel();
            self.shared.lock().closed = true;
            self.shared.room.notify_all();
        }
    }
}

impl<J: Jobs> Shared<J> {
    fn lock(&self) -> Locked<'_, J> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another job may be begun.
    fn has_room(&self, queue: &Queue<J>) -> bool {
        let expected = queue.largest.saturating_mul(queue.running + 1);
        let fits = queue.bytes.saturating_add(expected) <= self.cx.for_batches();
        let few = queue.slots.len() < self.threads.saturating_mul(SLOTS);
        let open = !queue.ended && !queue.paused && !queue.pace.is_inline();
        open && few && (fits || queue.slots.is_empty())
    }

    fn start(this: &Arc<Self>, cancel: &CancelToken, queue: &mut Locked<'_, J>) {
        let (shared, cancel) = (Arc::clone(this), cancel.clone());
        let work = move || cancel.computing(|| shared.work(&cancel));
        let thread = std::thread::Builder::new().name("tensorferry".into()).spawn(work);
        queue.threads += usize::from(thread.is_ok());
    }

    fn work(self: &Arc<Self>, cancel: &CancelToken) {
        let mut queue = self.lock();
        while !queue.closed && !queue.ended {
            if queue.jobs.is_none() || !self.has_room(&queue) {
                queue.idle += 1;
                queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            }
            queue = match self.begin(queue) {
                (queue, None) => queue,
                (mut queue, Some((number, job))) => {
                    // While this thread works, another one takes the next job.
                    if queue.idle > 0 {
                        self.room.notify_one();
                    } else if queue.threads < self.threads && self.has_room(&queue) {
                        Self::start(self, cancel, &mut queue);
                    }
                    self.finish(queue, number, job)
                }
            };
        }
        queue.threads -= 1;
    }

    /// Takes and does one job, in the consumer's thread. If it is interrupted, it is the next one.
    fn one<'a>(&'a self, queue: Locked<'a, J>) -> std::result::Result<Locked<'a, J>, Interrupted> {
        let undone = queue.slots.front().and_then(|slot| slot.job.clone());
        let (mut queue, number, job) = if let Some(job) = undone {
            (queue, None, job)
        } else {
            match self.begin(queue) {
                (queue, Some((number, job))) => (queue, Some(number), job),
                (queue, None) => {
                    return uninterrupted(check_interrupted().map_err(Error::from)).map(|_| queue);
                }
            }
        };
        queue.running += usize::from(number.is_none());
        let number = number.unwrap_or(queue.first);
        queue = self.finish(queue, number, job);
        let done = queue.slots.front_mut().and_then(|slot| slot.done.take_if(is_interrupted));
        if done.is_some() { Err(Interrupted) } else { Ok(queue) }
    }

    /// Takes a job from the source, and its slot's number; `None` if there is none to do.
    fn begin<'a>(&'a self, mut queue: Locked<'a, J>) -> (Locked<'a, J>, Option<(u64, J::Job)>) {
        let Some(mut jobs) = queue.jobs.take() else { return (queue, None) };
        drop(queue);
        let next = match catch_unwind(AssertUnwindSafe(|| jobs.next())) {
            Ok(next) => next,
            Err(panic) => Ok(Some(Err(panicked(panic.as_ref())))),
        };
        let mut queue = self.lock();
        queue.jobs = Some(jobs);
        let job = match next {
            // It was paused to be saved, or is no longer needed: it continues from there.
            Err(Interrupted) => None,
            Ok(None) => {
                queue.ended = true;
                self.room.notify_all();
                None
            }
            Ok(Some(Err(error))) => {
                queue.slots.push_back(Slot { job: None, done: Some([Err(error)].into()) });
                None
            }
            Ok(Some(Ok(job))) => {
                queue.slots.push_back(Slot { job: Some(job.clone()), done: None });
                queue.running += 1;
                Some((queue.first + queue.slots.len() as u64 - 1, job))
            }
        };
        if job.is_none() || queue.paused {
            self.ready.notify_one();
        }
        (queue, job)
    }

    /// Does a job, and stores its result.
    fn finish<'a>(&'a self, queue: Locked<'a, J>, number: u64, job: J::Job) -> Locked<'a, J> {
        drop(queue);
        let (stats, began) = (self.cx.stats.as_ref(), Instant::now());
        WAITED.set(Duration::ZERO);
        let done = catch_unwind(AssertUnwindSafe(|| computing(stats, || (self.call)(job))));
        let done = done.unwrap_or_else(|panic| [Err(panicked(panic.as_ref()))].into());
        let took = began.elapsed().saturating_sub(WAITED.take());
        let mut queue = self.lock();
        queue.running -= 1;
        let bytes = done.iter().map(bytes_of).fold(0, usize::saturating_add);
        queue.bytes = queue.bytes.saturating_add(bytes);
        queue.largest = queue.largest.max(bytes);
        let may_be_inline = queue.jobs.as_ref().is_some_and(J::may_be_inline);
        if may_be_inline {
            queue.pace.took(took);
        }
        let at = usize::try_from(number - queue.first).unwrap_or(usize::MAX);
        if let Some(slot) = queue.slots.get_mut(at) {
            slot.done = Some(done);
        }
        if (at == 0 || queue.pace.is_inline()) && queue.consumer_waits {
            self.ready.notify_one();
        }
        queue
    }

    /// Logs, once for these functions, that threads do not help.
    fn tell_quick(&self) {
        if !told(&self.names) {
            log::warn!(
                "map: a call of {} takes less time than handing it to another thread. It is called \
                in the consumer's thread: leave out num_parallel_calls.",
                self.names
            );
        }
    }
}

/// Functions of which something was logged.
static TOLD: LazyLock<ForkSafe<HashSet<String>>> = LazyLock::new(ForkSafe::default);

/// Whether something was logged of these functions; from now on it was.
pub fn told(names: &str) -> bool {
    let mut told = TOLD.lock();
    told.len() >= MOST_TOLD || !told.insert(names.to_owned())
}

fn is_interrupted(done: &mut Done) -> bool {
    done.iter().any(|result| matches!(result, Err(Error::Interrupted)))
}

fn bytes_of(result: &Result<Element>) -> usize {
    result.as_ref().map_or(0, |element| element_bytes(element))
}

impl<J: Jobs> Queue<J> {
    /// Whether the consumer's thread does the next job.
    fn is_for_consumer(&self) -> bool {
        let undone = self.slots.front().is_some_and(|slot| slot.done.is_none());
        // While a thread takes a job, the source is not here.
        let may_begin = self.pace.is_inline() && self.slots.is_empty() && self.jobs.is_some();
        self.running == 0 && (undone || may_begin)
    }

    fn take_first(&mut self) -> Option<Result<Element>> {
        loop {
            let done = self.slots.front_mut()?.done.as_mut()?;
            let result = done.pop_front();
            if done.is_empty() {
                self.slots.pop_front();
                self.first += 1;
            }
            if let Some(result) = result {
                self.bytes = self.bytes.saturating_sub(bytes_of(&result));
                return Some(result);
            }
        }
    }

    /// The jobs whose results were not handed out, or the errors of the source in their place.
    fn unfinished(&self) -> Vec<std::result::Result<J::Job, &Error>> {
        let mut all = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            all.extend(match (&slot.job, &slot.done) {
                (Some(job), _) => Some(Ok(job.clone())),
                (None, Some(done)) => {
                    done.front().and_then(|result| result.as_ref().err()).map(Err)
                }
                (None, None) => None,
            });
        }
        all
    }
}
