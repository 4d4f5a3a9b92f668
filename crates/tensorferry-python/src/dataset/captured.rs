//! Python objects that stages own, as the garbage collector sees them.
//!
//! A plan is a graph in Rust, whose stages may own functions, and a function may own the plan:
//! `self.ds = ds.map(self.f)`. So the Python objects of a stage are in a [`Captured`], and one
//! Python object, its [`Cell`], reports them to the collector. Each [`super::plan::Plan`] owns, and
//! reports, the cells of all its stages.
//!
//! # Rationale
//! The collector subtracts reported references from reference counts. A reference that is reported
//! twice frees an object in use; one that is not reported only leaks garbage. So each captured
//! object is counted once, by its `Captured`, and reported once, by its cell. The `Captured` also
//! owns the cell, which reports that reference to itself too: without a Python plan, the cell is
//! garbage. Captured objects are pinned (not reported) while only Rust owns a plan (TensorFlow's
//! handles, a dataset that a function returned and that is being iterated), and while a function
//! runs.
//!
//! # Limitations
//! A cycle through a pinned plan, or through TensorFlow, is collected only after the pass, or the
//! tensor, ends.

use crate::runtime::deferred_drop::Keep;
use crate::runtime::unwinding::guard;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tensorferry::dataset::{Capture, Dataset};

/// The Python objects of one function of a stage. Dropped with the GIL, as by [`Keep`].
pub(crate) struct Captured(Keep<Owned>);

struct Owned(Arc<Shared>);

impl Drop for Owned {
    fn drop(&mut self) {
        // They own each other.
        let cell = self.0.lock().cell.take();
        drop(cell);
    }
}

struct Shared {
    /// Locked briefly, by threads that hold the GIL and run no Python code meanwhile: the collector
    /// never waits for it.
    contents: Mutex<Contents>,
    /// The number of uses, and of owners of the plan, that are not Python objects.
    pins: AtomicUsize,
}

#[derive(Default)]
struct Contents {
    function: Option<Keep>,
    /// Further objects that calls of the function need.
    others: Option<Keep<Vec<Py<PyAny>>>>,
    /// Iterators that the function returned and that are in use, by number.
    running: Vec<(u64, Keep)>,
    started: u64,
    /// The object that reports these, and a weak reference to it.
    cell: Option<(Keep<Py<Cell>>, WeakCell)>,
}

type WeakCell = Keep<Py<PyWeakrefReference>>;

impl Contents {
    /// Whether the collector has found the cell to be garbage. It clears all weak references to
    /// garbage before it clears objects.
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

    /// Starts a use of the contents; `None` once they are garbage.
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

    /// A thread of the library may call this while the collector clears the contents.
    fn open<'py>(self: &Arc<Self>, py: Python<'py>) -> Option<Open<'py>> {
        let contents = self.lock();
        if !self.is_pinned() && contents.is_garbage(py) {
            return None;
        }
        let function = contents.function.as_ref()?.get()?.bind(py).clone();
        self.pins.fetch_add(1, Ordering::AcqRel);
        Some(Open { shared: Arc::clone(self), function })
    }

    /// The object that reports the contents; `None` once they are garbage.
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
        // Creating objects may run any code, so it happens outside the lock. Another thread may
        // have been faster.
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

/// A use of the contents: they are pinned meanwhile.
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
    /// Further object number `at`.
    pub(crate) fn other(&self, at: usize) -> Option<Bound<'py, PyAny>> {
        let contents = self.shared.lock();
        Some(contents.others.as_ref()?.get()?.get(at)?.bind(self.function.py()).clone())
    }

    /// Owns an iterator that the function returned.
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
    /// Starts a use of the iterator; `None` once it is garbage.
    pub(crate) fn open<'py>(&self, py: Python<'py>) -> Option<(Open<'py>, Bound<'py, PyAny>)> {
        let started = self.0.get()?;
        let open = started.shared.open(py)?;
        let iterator = open.running(started.number)?;
        Some((open, iterator))
    }
}

/// Removes the iterator when dropped, which [`Keep`] does with the GIL.
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

/// Reports captured objects to the garbage collector.
#[pyclass(frozen, weakref, module = "tensorferry._internal")]
pub(crate) struct Cell {
    shared: OnceLock<Arc<Shared>>,
}

impl Cell {
    /// The contents, unless they are pinned.
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

/// The cells of all functions of a plan. If memory runs out for a cell, its function is not
/// collected.
pub(crate) fn cells(py: Python<'_>, dataset: &Dataset) -> Vec<Py<Cell>> {
    shared(dataset.captures()).filter_map(|shared| shared.cell(py).ok().flatten()).collect()
}

/// A dataset that Rust alone holds: what it has captured is pinned.
pub(crate) fn pinned(dataset: Dataset) -> Dataset {
    if dataset.captures().is_empty() { dataset } else { dataset.keeping(pin(dataset.captures())) }
}

/// Pins the functions of a plan.
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
