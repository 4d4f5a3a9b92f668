//! `DatasetIterator`: one pass over a dataset, usable from several threads.
//!
//! A thread that computes an element takes the iteration out of its slot, and puts it back. Other
//! threads wait without the GIL, and check for signals in short intervals, so that Ctrl-C works.

use super::eager;
use super::overlap;
use super::packer::Packer;
use super::plan::Plan;
use super::state;
use crate::errors::OrRaise;
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;
use tensorferry::Error;
use tensorferry::dataset::{CancelToken, Checkpoint, Element, Iter, Options};

/// The interval between checks for signals.
const STEP: Duration = Duration::from_millis(20);
/// How often a forked process tries, a millisecond apart, to take a lock that is held only briefly.
const ATTEMPTS: u32 = 100;

/// One pass over a dataset.
#[pyclass(frozen, module = "tensorferry")]
pub(crate) struct DatasetIterator {
    slot: Slot,
    plan: Py<Plan>,
    packer: Py<Packer>,
    options: Options,
}

/// The iteration, or the thread that has it.
struct Slot {
    state: Mutex<State>,
    free: Condvar,
    /// The process whose threads use it.
    process: AtomicU32,
}

struct State {
    holder: Holder,
    /// The number of waiting threads. Without any, no wake-up is sent: the system call takes longer
    /// than a small element.
    waiting: usize,
}

enum Holder {
    Free(Box<Iter>),
    /// The thread that has it, and its identity.
    Taken(ThreadId, CancelToken),
}

/// Why the iteration cannot be taken.
enum Busy {
    /// This thread has it: waiting would deadlock.
    Here,
    Elsewhere,
}

/// The iteration, taken out of its slot; dropping this puts it back.
struct Taken<'a> {
    slot: &'a Slot,
    iter: Option<Box<Iter>>,
}

impl Slot {
    fn new(iter: Iter) -> Self {
        let state = State { holder: Holder::Free(Box::new(iter)), waiting: 0 };
        Self {
            state: Mutex::new(state),
            free: Condvar::new(),
            process: AtomicU32::new(tensorferry::buffers::process_id()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, also in a process that was forked, unless a thread held it at the fork.
    fn lock_after_fork(&self) -> Option<MutexGuard<'_, State>> {
        if self.process.load(Ordering::Relaxed) == tensorferry::buffers::process_id() {
            return Some(self.lock());
        }
        for _ in 0..ATTEMPTS {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                // A thread of this process holds it briefly, or one of the parent forever.
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }

    /// Lets a forked process continue with an iteration that no thread of its parent was using.
    ///
    /// # Errors
    /// [`Error::Forked`].
    fn adopt(&self) -> tensorferry::Result<()> {
        let Some(state) = self.lock_after_fork() else { return Err(Error::Forked) };
        match state.holder {
            Holder::Taken(other, _) if other != thread::current().id() => Err(Error::Forked),
            _ => {
                self.process.store(tensorferry::buffers::process_id(), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn take(&self, py: Python<'_>) -> PyResult<Taken<'_>> {
        if self.process.load(Ordering::Relaxed) != tensorferry::buffers::process_id() {
            self.adopt().or_raise(py)?;
        }
        let me = thread::current().id();
        loop {
            match self.try_take(me) {
                Ok(iter) => return Ok(Taken { slot: self, iter: Some(iter) }),
                Err(Busy::Here) => {
                    let message = "the iterator is asked for an element while it computes one: a \
                        function of the pipeline uses the \
                                   iterator that calls it";
                    return Err(PyRuntimeError::new_err(message));
                }
                Err(Busy::Elsewhere) => py.detach(|| self.wait()),
            }
            py.check_signals()?;
        }
    }

    fn try_take(&self, me: ThreadId) -> Result<Box<Iter>, Busy> {
        let holder = &mut self.lock().holder;
        let cancel = match holder {
            Holder::Taken(other, cancel) if *other == me || cancel.is_of_this_thread() => {
                return Err(Busy::Here);
            }
            Holder::Taken(..) => return Err(Busy::Elsewhere),
            Holder::Free(iter) => iter.cancel_token(),
        };
        if cancel.is_of_this_thread() {
            return Err(Busy::Here);
        }
        match std::mem::replace(holder, Holder::Taken(me, cancel)) {
            Holder::Free(iter) => Ok(iter),
            taken => {
                *holder = taken;
                Err(Busy::Elsewhere)
            }
        }
    }

    fn wait(&self) {
        let mut state = self.lock();
        if matches!(state.holder, Holder::Taken(..)) {
            state.waiting += 1;
            (state, _) =
                self.free.wait_timeout(state, STEP).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn put_back(&self, iter: Box<Iter>) {
        // A child that a function forked gets here too. Its iteration ends if the lock is held.
        let Some(mut state) = self.lock_after_fork() else { return };
        state.holder = Holder::Free(iter);
        let waited_for = state.waiting > 0;
        drop(state);
        if waited_for {
            self.free.notify_one();
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(iter) = self.iter.take() {
            self.slot.put_back(iter);
        }
    }
}

impl Taken<'_> {
    fn iter(&mut self) -> PyResult<&mut Iter> {
        self.iter.as_deref_mut().ok_or_else(|| PyRuntimeError::new_err("the iterator was put back"))
    }
}

impl DatasetIterator {
    pub(crate) fn new(plan: Py<Plan>, packer: Py<Packer>, options: Options) -> Self {
        let iter = plan.get().dataset().iter_with(plan.get().next_epoch(), &options);
        Self { slot: Slot::new(iter), plan, packer, options }
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<tensorferry::Result<Element>>> {
        let mut taken = self.slot.take(py)?;
        let iter = taken.iter()?;
        // A ready element is taken without releasing the GIL.
        if let Some(element) = iter.next_at_hand() {
            return Ok(Some(element));
        }
        loop {
            let next = || (iter.next_within(STEP), overlap::probe());
            let ((ready, probe), interrupted) = interrupt::run(py, next);
            probe.end();
            if let Err(interrupted) = interrupted {
                if let Poll::Ready(Some(element)) = ready {
                    iter.give_back(element);
                }
                return Err(interrupted);
            }
            if let Poll::Ready(element) = ready {
                return Ok(element);
            }
        }
    }

    fn save(&self, py: Python<'_>) -> PyResult<Checkpoint> {
        let mut taken = self.slot.take(py)?;
        let iter = taken.iter()?;
        loop {
            let iter = &mut *iter; // not Sync, but an exclusive borrow is Send
            if let Poll::Ready(saved) = py.detach(move || iter.checkpoint_within(STEP)) {
                return saved.or_raise(py);
            }
            py.check_signals()?;
        }
    }
}

#[pymethods]
impl DatasetIterator {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)?;
        visit.call(&self.packer)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        guard();
        slf
    }

    fn __repr__(&self) -> String {
        guard();
        let plan = self.plan.get().inner.to_string();
        format!(
            "<tensorferry.DatasetIterator plan={plan} (saved by state_dict(); tf.train.Checkpoint \
            takes iterators of to_tf_data())>"
        )
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard();
        if !self.plan.get().is_alone() {
            eager::check(py, "next")?;
        }
        // Before an element is taken: opening a format may import a framework, which can fail.
        let (packer, opened) = (self.packer.get(), self.packer.get().open(py)?);
        match self.next(py)? {
            Some(element) => Ok(Some(packer.pack_as(py, &opened, element.or_raise(py)?)?)),
            None => Ok(None),
        }
    }

    /// The position of the iteration: a dict of plain numbers and text, for pickle or JSON.
    ///
    /// For a dataset with random access it has a few hundred bytes. Other stages add the values
    /// that they hold: a shuffle its buffer, `unique` the values seen, `prefetch` its elements;
    /// `len(state["data"])` is the size. If a function is being called for an element, this waits
    /// for it.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        guard();
        state::state_dict(py, &self.save(py)?)
    }

    /// Continues from a `state_dict` of an iterator over the same dataset, in this process or
    /// another.
    ///
    /// The dataset may have batches of another size, and continues with the next row. It may have
    /// another number of shards; then this shard gets its part of the rows not yet seen. With one
    /// state, all old shards have to be at the same position, or at their ends. Else pass a list of
    /// the states of all old shards, in any order, or what `tensorferry.checkpoint.merge` makes of
    /// it. If the list has the state of this same shard, only that one is used.
    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        guard();
        let (saved, several) = state::checkpoints(state)?;
        let plan = self.plan.get().dataset();
        let (resumed, interrupted) = interrupt::run(py, || match saved.as_slice() {
            [only] if !several => plan.resume(only, &self.options),
            all => plan.resume_all(all, &self.options),
        });
        interrupted?;
        let resumed = resumed.or_raise(py)?;
        let mut taken = self.slot.take(py)?;
        self.plan.get().resumed(&resumed);
        let old = taken.iter.replace(Box::new(resumed));
        py.detach(|| drop(old));
        Ok(())
    }
}
