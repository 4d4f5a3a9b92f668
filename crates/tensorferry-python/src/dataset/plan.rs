//! `Plan`: a dataset whose elements are flat lists of components. `tensorferry.Dataset` nests them.

use super::iterator::DatasetIterator;
use super::packer::Packer;
use super::spec;
use crate::errors::OrRaise;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorferry::dataset::{Cardinality, Dataset, Options};

/// A plan, and how often it was iterated.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct Plan {
    pub(crate) inner: Dataset,
    /// The epoch of the next iteration.
    epochs: AtomicU64,
}

impl From<Dataset> for Plan {
    fn from(inner: Dataset) -> Self {
        Self { inner, epochs: AtomicU64::new(0) }
    }
}

impl Plan {
    /// The number of this pass over the plan.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// Has the next pass come after `epoch`.
    pub(crate) fn went_on_from(&self, epoch: u64) {
        self.epochs.fetch_max(epoch.saturating_add(1), Ordering::Relaxed);
    }
}

#[pymethods]
impl Plan {
    /// The components of each element: see `spec.rs`.
    #[getter]
    fn spec<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        spec::to_python(py, self.inner.spec())
    }

    /// As tf.data writes it: -1 infinite, -2 unknown.
    #[getter]
    fn cardinality(&self) -> i64 {
        match self.inner.cardinality() {
            Cardinality::Finite(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Cardinality::Infinite => -1,
            Cardinality::Unknown => -2,
        }
    }

    /// Whether an element can be computed from its index.
    #[getter]
    fn is_indexed(&self) -> bool {
        self.inner.is_indexed()
    }

    fn __str__(&self) -> String {
        self.inner.to_string()
    }

    /// The same plan, its epochs counted anew.
    fn copy(&self) -> Self {
        self.inner.clone().into()
    }

    /// One pass over the elements, nested by `packer`.
    fn iterate(
        slf: &Bound<'_, Self>,
        packer: Py<Packer>,
        threads: Option<usize>,
        memory_limit: Option<usize>,
        read_ahead: Option<usize>,
    ) -> DatasetIterator {
        DatasetIterator::new(slf.clone().unbind(), packer, Options { threads, memory_limit, read_ahead })
    }

    fn batch(&self, py: Python<'_>, batch_size: usize, drop_remainder: bool) -> PyResult<Self> {
        Ok(self.inner.batch(batch_size, drop_remainder).or_raise(py)?.into())
    }

    fn take(&self, count: Option<u64>) -> Self {
        self.inner.take(count).into()
    }

    fn skip(&self, count: Option<u64>) -> Self {
        self.inner.skip(count).into()
    }

    fn shard(&self, py: Python<'_>, num_shards: u64, index: u64) -> PyResult<Self> {
        Ok(self.inner.shard(num_shards, index).or_raise(py)?.into())
    }

    fn repeat(&self, count: Option<u64>) -> Self {
        self.inner.repeat(count).into()
    }

    fn enumerate(&self, start: i64) -> Self {
        self.inner.enumerate(start).into()
    }

    fn concatenate(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<Self> {
        Ok(self.inner.concatenate(&other.get().inner).or_raise(py)?.into())
    }

    fn prefetch(&self, buffer_size: Option<usize>) -> Self {
        self.inner.prefetch(buffer_size).into()
    }

    fn unique(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(self.inner.unique().or_raise(py)?.into())
    }
}
