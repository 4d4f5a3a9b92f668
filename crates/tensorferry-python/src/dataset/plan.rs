//! `Plan`: a dataset whose elements are flat lists of components. `tensorferry.Dataset` nests them.

use super::captured::{self, Cell};
use crate::runtime::gil;
use pyo3::prelude::*;
use tensorferry::dataset::{Dataset, Epoch, EpochCounter, Iter};

/// A plan, and the passes over it.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct Plan {
    /// The plan as it was made. Reading, and deriving other plans, uses [`Plan::dataset`].
    pub(crate) inner: Dataset,
    pub(super) passes: EpochCounter,
    /// The objects of its functions, for the garbage collector.
    pub(super) cells: Vec<Py<Cell>>,
}

/// For threads that hold the GIL.
impl From<Dataset> for Plan {
    fn from(dataset: Dataset) -> Self {
        let inner = dataset.keeping_nothing();
        Self::of(inner.clone(), EpochCounter::new(inner))
    }
}

impl Plan {
    pub(super) fn of(inner: Dataset, passes: EpochCounter) -> Self {
        let cells = if inner.captures().is_empty() {
            Vec::new()
        } else {
            gil::holding(|py| captured::cells(py, &inner))
        };
        Self { inner, passes, cells }
    }

    /// The plan, with the seeds of a loaded checkpoint.
    pub(crate) fn dataset(&self) -> Dataset {
        self.passes.dataset()
    }

    /// The plan, pinned, for Rust to own.
    pub(crate) fn pinned(&self) -> Dataset {
        captured::pinned(self.dataset())
    }

    /// Whether it is iterated only to find the components of its elements.
    pub(crate) fn is_alone(&self) -> bool {
        self.passes.is_alone()
    }

    /// The epoch of this pass over the plan.
    pub(crate) fn next_epoch(&self) -> Epoch {
        self.passes.next()
    }

    /// The last epoch that `set_epoch` set, for elements that are read by index; else the first.
    pub(crate) fn set_epoch_or_first(&self) -> Epoch {
        self.passes.set_or_first()
    }

    /// Makes the next pass follow that of an iteration, with its seeds.
    pub(crate) fn resumed(&self, iter: &Iter) {
        self.passes.resumed(iter);
    }
}
