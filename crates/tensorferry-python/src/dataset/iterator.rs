//! `DatasetIterator`: one pass over a dataset, usable from several threads.
//!
//! Whoever asks for an element takes the iteration out of its slot and puts it back; others wait
//! without the GIL, in short steps between which they look for signals, so that Ctrl-C is answered.

use super::packer::Packer;
use super::plan::Plan;
use super::{eager, interrupt};
use crate::errors::{OrRaise, raise};
use crate::unwinding::guard;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyTuple};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;
use tensorferry::Error;
use tensorferry::dataset::{Checkpoint, Element, Epoch, Iter, Options, Stop};

/// How long to wait without looking for signals.
const STEP: Duration = Duration::from_millis(20);
/// How often a forked process tries, a millisecond apart, to get a lock that is only ever held for
/// a moment.
const ATTEMPTS: u32 = 100;

/// One pass over a dataset.
#[pyclass(frozen, module = "tensorferry")]
pub(crate) struct DatasetIterator {
    slot: Slot,
    plan: Py<Plan>,
    packer: Py<Packer>,
    options: Options,
}

/// The iteration, or who has it.
struct Slot {
    state: Mutex<State>,
    free: Condvar,
    /// The process whose threads use it.
    process: AtomicU32,
}

struct State {
    holder: Holder,
    /// How many wait for it: waking nobody is a call of the system's all the same, which takes
    /// longer than a small element.
    waiting: usize,
}

enum Holder {
    Free(Box<Iter>),
    /// The thread that has it, and what it is known by.
    Taken(ThreadId, Stop),
}

/// Why the iteration is not to be had.
enum Busy {
    /// This thread computes an element for it: to wait would be to wait for itself.
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
        // Nothing that could panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, in a process that may have been forked since it was last used: unless a thread
    /// held it then.
    fn lock_after_fork(&self) -> Option<MutexGuard<'_, State>> {
        if self.process.load(Ordering::Relaxed) == tensorferry::buffers::process_id() {
            return Some(self.lock());
        }
        for _ in 0..ATTEMPTS {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                // Another thread of this process has it for a moment, or one of the parent has it
                // for ever.
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }

    /// Has a forked process go on with what no thread of its parent was using.
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
        let stop = match holder {
            Holder::Taken(other, stop) if *other == me || stop.is_of_this_thread() => {
                return Err(Busy::Here);
            }
            Holder::Taken(..) => return Err(Busy::Elsewhere),
            Holder::Free(iter) => iter.stop(),
        };
        if stop.is_of_this_thread() {
            return Err(Busy::Here);
        }
        match std::mem::replace(holder, Holder::Taken(me, stop)) {
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
        // Where a function has forked, the child comes through here too; the iteration ends there
        // if it cannot be put back.
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
        // What is ready is had without letting go of the GIL.
        if let Some(element) = iter.next_at_hand() {
            return Ok(Some(element));
        }
        loop {
            let (ready, interrupted) = interrupt::run(py, || iter.next_within(STEP));
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
            let iter = &mut *iter; // only an exclusive borrow may go where another thread could be
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
        // First: opening a format may import a framework, which may be interrupted, or not be
        // there.
        let (packer, opened) = (self.packer.get(), self.packer.get().open(py)?);
        match self.next(py)? {
            Some(element) => Ok(Some(packer.pack_as(py, &opened, element.or_raise(py)?)?)),
            None => Ok(None),
        }
    }

    /// Where the iteration has come to: a dict of plain numbers and text, to be pickled or written
    /// as JSON.
    ///
    /// Of plans whose elements can be indexed it holds a position and a few hundred bytes. Other
    /// stages add what they hold back, by value: a shuffle its buffer, `unique` the values seen,
    /// `prefetch` what it has read ahead; `len(state["data"])` says how much. An element that a
    /// function is being called for is waited for.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        guard();
        let saved = self.save(py)?;
        let bytes = saved.try_to_bytes().or_raise(py)?;
        let bytes = PyBytes::new_with(py, bytes.len(), |out| {
            out.copy_from_slice(&bytes);
            Ok(())
        })?;
        let text = py
            .import("base64")?
            .call_method1("b64encode", (bytes,))?
            .call_method1("decode", ("ascii",))?;
        let state = PyDict::new(py);
        state.set_item("version", VERSION)?;
        state.set_item("epoch", saved.epoch().0)?;
        state.set_item("position", saved.position())?;
        state.set_item("data", text)?;
        Ok(state)
    }

    /// Goes to where `state_dict` was called on an iterator of the same plan, in this process or
    /// another.
    ///
    /// The plan may have another number of shards: then this one goes on with its part of the rows
    /// not yet seen. With one state, all old shards have to have come as far as the one it is of,
    /// or to their ends. Where they have not, `state` is a list of the states of all of them, in
    /// any order; the state of this very shard, if it is in the list, is all that counts.
    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        guard();
        let several = state.is_instance_of::<PyList>() || state.is_instance_of::<PyTuple>();
        let saved: Vec<Checkpoint> = if several {
            state.try_iter()?.map(|state| parse_state(&state?)).collect::<PyResult<_>>()?
        } else {
            vec![parse_state(state)?]
        };
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

const VERSION: u32 = 1;

fn parse_state(state: &Bound<'_, PyAny>) -> PyResult<Checkpoint> {
    let py = state.py();
    let wrong = |what: &str| raise(py, "state", format!("state_dict: {what}"));
    let Ok(state) = state.cast::<PyDict>() else {
        return Err(wrong("what state_dict() returned was expected, a dict, or a list of them"));
    };
    let (version, data) = (state.get_item("version")?, state.get_item("data")?);
    if !version.is_some_and(|version| version.eq(VERSION).unwrap_or(false)) {
        return Err(wrong("the dict is not one that this version of tensorferry made"));
    }
    let bytes = data.map(|data| py.import("base64")?.call_method1("b64decode", (data,)));
    let bytes = match bytes {
        Some(Ok(bytes)) => bytes,
        // Anything else is no fault of the data: there may be no memory for them.
        Some(Err(error))
            if !error.is_instance_of::<PyValueError>(py)
                && !error.is_instance_of::<PyTypeError>(py) =>
        {
            return Err(error);
        }
        _ => return Err(wrong("its data are damaged")),
    };
    let saved = Checkpoint::from_bytes(bytes.cast::<PyBytes>()?.as_bytes()).or_raise(py)?;
    let number = |name: &str| {
        let value = state.get_item(name)?;
        match value
            .as_ref()
            .filter(|value| !value.is_instance_of::<PyBool>())
            .map(|value| value.extract::<u64>())
        {
            Some(Ok(number)) => Ok(number),
            _ => {
                let is = value.map_or_else(|| "is missing".into(), |value| format!("is {value}"));
                Err(wrong(&format!("{name} has to be a whole number of at least 0, and {is}")))
            }
        }
    };
    // A changed position or epoch is obeyed where that is a matter of arithmetic.
    saved.moved(Epoch(number("epoch")?), number("position")?).or_raise(py)
}
