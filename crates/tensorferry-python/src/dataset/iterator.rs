//! `DatasetIterator`: one pass over a dataset, usable from several threads.
//!
//! Whoever asks for an element takes the iteration out of its slot and puts it back; others wait without the GIL, in short steps
//! between which they look for signals, so that Ctrl-C is answered.

use super::packer::Packer;
use super::plan::Plan;
use crate::errors::OrRaise;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tensorferry::dataset::Iter;

/// How long to wait without looking for signals.
const STEP: Duration = Duration::from_millis(20);

/// One pass over a dataset.
#[pyclass(frozen, module = "tensorferry")]
pub(crate) struct DatasetIterator {
    slot: Slot,
    plan: Py<Plan>,
    packer: Py<Packer>,
}

/// The iteration, or who has it.
struct Slot {
    iter: Mutex<Holder>,
    free: Condvar,
}

enum Holder {
    Free(Box<Iter>),
    Taken(ThreadId),
}

/// The iteration, taken out of its slot; dropping this puts it back.
struct Taken<'a> {
    slot: &'a Slot,
    iter: Option<Box<Iter>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Holder> {
        // Nothing that could panic is done under the lock.
        self.iter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, py: Python<'_>) -> PyResult<Taken<'_>> {
        let me = thread::current().id();
        loop {
            match self.try_take(me) {
                Ok(iter) => return Ok(Taken { slot: self, iter: Some(iter) }),
                Err(other) if other == me => {
                    let message = "the iterator is asked for an element while it computes one: a function of the pipeline uses the \
                                   iterator that calls it";
                    return Err(PyRuntimeError::new_err(message));
                }
                Err(_) => py.detach(|| self.wait()),
            }
            py.check_signals()?;
        }
    }

    fn try_take(&self, me: ThreadId) -> Result<Box<Iter>, ThreadId> {
        let mut holder = self.lock();
        match std::mem::replace(&mut *holder, Holder::Taken(me)) {
            Holder::Free(iter) => Ok(iter),
            Holder::Taken(other) => {
                *holder = Holder::Taken(other);
                Err(other)
            }
        }
    }

    fn wait(&self) {
        let holder = self.lock();
        if matches!(*holder, Holder::Taken(_)) {
            drop(self.free.wait_timeout(holder, STEP));
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(iter) = self.iter.take() {
            *self.slot.lock() = Holder::Free(iter);
            self.slot.free.notify_one();
        }
    }
}

impl DatasetIterator {
    pub(crate) fn new(plan: Py<Plan>, packer: Py<Packer>) -> Self {
        let epoch = plan.get().next_epoch();
        let iter = plan.get().inner.iter();
        let _ = epoch;
        Self { slot: Slot { iter: Mutex::new(Holder::Free(Box::new(iter))), free: Condvar::new() }, plan, packer }
    }
}

#[pymethods]
impl DatasetIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut taken = self.slot.take(py)?;
        let Some(iter) = taken.iter.as_mut() else { return Ok(None) };
        let element = py.detach(|| iter.next());
        drop(taken);
        element.map(|element| self.packer.get().pack(py, element.or_raise(py)?)).transpose()
    }
}
