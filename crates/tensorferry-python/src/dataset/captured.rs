//! The Python objects that a stage holds, as Python's garbage collector sees them.
//!
//! A plan is a graph of Rust's in which a stage may hold functions; a function may hold the plan:
//! `self.ds = ds.map(self.f)`. So what a stage holds of Python's lies in a [`Captured`], and one
//! Python object, its [`Cell`], reports it to the collector. Each [`super::plan::Plan`] holds, and reports, the
//! cells of all its stages.
//!
//! # Rationale
//! The collector subtracts what is reported from what is counted: a reference that is reported
//! twice makes it free what is in use, one that is not reported only keeps garbage alive. So each
//! captured object is counted once, by its `Captured`, and reported once, by its cell. The
//! `Captured` also holds the cell, which reports that reference to itself too: the cell is garbage
//! when no plan of Python's is left. Where Rust alone holds a plan (TensorFlow's handles, a dataset
//! that a function returned and that is being iterated), and while a function runs, what is
//! captured is pinned: not reported.
//!
//! # Limitations
//! A cycle through a plan that is pinned, or through TensorFlow, is not collected before the pass,
//! or the tensor, is gone.

use crate::runtime::deferred_drop::Keep;
use crate::runtime::unwinding::guard;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tensorferry::dataset::{Capture, Dataset};

/// What one function of a stage holds of Python's, for as long as it is in a plan. Lets go of it
/// with the GIL, as [`Keep`] does.
pub(crate) struct Captured(Keep<Owned>);

struct Owned(Arc<Shared>);

impl Drop for Owned {
    fn drop(&mut self) {
        // Each holds the other.
        let cell = self.0.lock().cell.take();
        drop(cell);
    }
}

struct Shared {
    /// Locked for moments, by threads that hold the GIL and run no Python code meanwhile: the
    /// collector never waits for it.
    contents: Mutex<Contents>,
    /// How many have the contents in use, or hold the plan, without being objects of Python's.
    pins: AtomicUsize,
}

#[derive(Default)]
struct Contents {
    function: Option<Keep>,
    /// Objects that calls of the function need besides it.
    others: Option<Keep<Vec<Py<PyAny>>>>,
    /// Iterators that the function returned, and that are in use; by number.
    running: Vec<(u64, Keep)>,
    started: u64,
    /// The object that reports all this, and a weak reference to it.
    cell: Option<(Keep<Py<Cell>>, WeakCell)>,
}

type WeakCell = Keep<Py<PyWeakrefReference>>;

impl Contents {
    /// Whether the collector has found the cell to be garbage, or has had it before. It clears all
    /// weak references to garbage before it touches any of it.
    fn is_garbage(&self, py: Python<'_>) -> bool {
        let weak = self.cell.as_ref().and_then(|(_, weak)| weak.get());
        weak.is_some_and(|weak| weak.bind(py).upgrade().is_none())
    }
}

impl Captured {
    pub(crate) fn new(function: Py<PyAny>, others: Vec<Py<PyAny>>) -> Arc<Self> {
        let contents = Contents {
            function: Some(Keep::new(function)),
            others: Some(Keep::new(others)),
            ..Contents::default()
        };
        let shared = Shared { contents: Mutex::new(contents), pins: AtomicUsize::new(0) };
        Arc::new(Self(Keep::new(Owned(Arc::new(shared)))))
    }

    fn shared(&self) -> Option<&Arc<Shared>> {
        self.0.get().map(|owned| &owned.0)
    }

    /// Takes the contents into use; `None` once they are garbage.
    pub(crate) fn open<'py>(&self, py: Python<'py>) -> Option<Open<'py>> {
        self.shared()?.open(py)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// A thread of the library's may come here while the collector takes the contents apart.
    fn open<'py>(self: &Arc<Self>, py: Python<'py>) -> Option<Open<'py>> {
        let contents = self.lock();
        if !self.is_pinned() && contents.is_garbage(py) {
            return None;
        }
        let function = contents.function.as_ref()?.get()?.bind(py).clone();
        self.pins.fetch_add(1, Ordering::AcqRel);
        Some(Open { shared: Arc::clone(self), function })
    }

    /// The object that reports what is captured; `None` once that is garbage.
    fn cell(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<Cell>>> {
        let known = |contents: &Contents| match &contents.cell {
            Some((cell, _)) if self.is_pinned() || !contents.is_garbage(py) => {
                cell.get().map(|cell| cell.clone_ref(py))
            }
            _ => None,
        };
        let contents = self.lock();
        if contents.cell.is_some() {
            return Ok(known(&contents));
        }
        drop(contents);
        // Making objects may run any code, so not under the lock: another thread may have been
        // faster.
        let cell = Bound::new(py, Cell { shared: OnceLock::new() })?;
        let weak = Keep::new(PyWeakrefReference::new(&cell)?.unbind());
        let mut contents = self.lock();
        if contents.cell.is_some() {
            return Ok(known(&contents));
        }
        contents.cell = Some((Keep::new(cell.clone().unbind()), weak));
        let _first = cell.get().shared.set(Arc::clone(self));
        Ok(Some(cell.unbind()))
    }
}

/// What is captured, in use: the collector leaves it alone.
pub(crate) struct Open<'py> {
    shared: Arc<Shared>,
    pub(crate) function: Bound<'py, PyAny>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<'py> Open<'py> {
    /// Object number `at` of those that were captured besides the function.
    pub(crate) fn other(&self, at: usize) -> Option<Bound<'py, PyAny>> {
        let contents = self.shared.lock();
        Some(contents.others.as_ref()?.get()?.get(at)?.bind(self.function.py()).clone())
    }

    /// Holds an iterator that the function returned.
    pub(crate) fn run(&self, iterator: Py<PyAny>) -> Running {
        let mut contents = self.shared.lock();
        contents.started += 1;
        let number = contents.started;
        contents.running.push((number, Keep::new(iterator)));
        drop(contents);
        Running(Keep::new(Started { shared: Arc::clone(&self.shared), number }))
    }

    fn running(&self, number: u64) -> Option<Bound<'py, PyAny>> {
        let contents = self.shared.lock();
        let (_, iterator) = contents.running.iter().find(|(other, _)| *other == number)?;
        Some(iterator.get()?.bind(self.function.py()).clone())
    }
}

/// An iterator in use.
pub(crate) struct Running(Keep<Started>);

impl Running {
    /// Takes the iterator into use; `None` once it is garbage.
    pub(crate) fn open<'py>(&self, py: Python<'py>) -> Option<(Open<'py>, Bound<'py, PyAny>)> {
        let started = self.0.get()?;
        let open = started.shared.open(py)?;
        let iterator = open.running(started.number)?;
        Some((open, iterator))
    }
}

/// Takes the iterator out again when it is dropped, which [`Keep`] does with the GIL.
struct Started {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Started {
    fn drop(&mut self) {
        let mut contents = self.shared.lock();
        let at = contents.running.iter().position(|(number, _)| *number == self.number);
        let iterator = at.map(|at| contents.running.swap_remove(at));
        drop(contents);
        drop(iterator); // may run any code
    }
}

/// Reports what is captured to the garbage collector.
#[pyclass(frozen, weakref, module = "tensorferry._internal")]
pub(crate) struct Cell {
    shared: OnceLock<Arc<Shared>>,
}

impl Cell {
    /// What is to be reported.
    fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.get().filter(|shared| !shared.is_pinned())
    }
}

#[pymethods]
impl Cell {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(shared) = self.shared() else { return Ok(()) };
        let contents = shared.lock();
        if let Some(cell) = contents.cell.as_ref().and_then(|(cell, _)| cell.get()) {
            visit.call(cell)?;
        }
        if let Some(function) = contents.function.as_ref().and_then(Keep::get) {
            visit.call(function)?;
        }
        for other in contents.others.as_ref().and_then(Keep::get).into_iter().flatten() {
            visit.call(other)?;
        }
        contents
            .running
            .iter()
            .filter_map(|(_, iterator)| iterator.get())
            .try_for_each(|iterator| visit.call(iterator))
    }

    fn __clear__(&self) {
        guard();
        let Some(shared) = self.shared() else { return };
        let mut contents = shared.lock();
        let taken =
            (contents.function.take(), contents.others.take(), mem::take(&mut contents.running));
        drop(contents);
        drop(taken); // may run any code
    }
}

fn shared(captures: &[Capture]) -> impl Iterator<Item = &Arc<Shared>> {
    captures.iter().filter_map(|capture| capture.downcast_ref::<Captured>()?.shared())
}

/// The cells of all functions of a plan. Where there is no memory for one, its function is not
/// collected.
pub(crate) fn cells(py: Python<'_>, dataset: &Dataset) -> Vec<Py<Cell>> {
    shared(dataset.captures()).filter_map(|shared| shared.cell(py).ok().flatten()).collect()
}

/// A dataset that Rust alone holds: what it has captured is pinned.
pub(crate) fn pinned(dataset: Dataset) -> Dataset {
    if dataset.captures().is_empty() { dataset } else { dataset.keeping(pin(dataset.captures())) }
}

/// Keeps the collector from taking functions for garbage.
struct Pin(Vec<Capture>);

fn pin(captures: &[Capture]) -> Capture {
    shared(captures).for_each(|shared| {
        shared.pins.fetch_add(1, Ordering::AcqRel);
    });
    Arc::new(Pin(captures.to_vec()))
}

impl Drop for Pin {
    fn drop(&mut self) {
        shared(&self.0).for_each(|shared| {
            shared.pins.fetch_sub(1, Ordering::AcqRel);
        });
    }
}
