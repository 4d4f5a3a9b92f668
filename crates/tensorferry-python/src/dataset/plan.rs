//! `Plan`: a dataset whose elements are flat lists of components. `tensorferry.Dataset` nests them.

use super::callee;
use super::iterator::DatasetIterator;
use super::packer::Packer;
use super::spec;
use crate::errors::OrRaise;
use crate::tensor::PyTensor;
use crate::unwinding::guard;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorferry::dataset::{Cardinality, Dataset, Options, Shape};
use tensorferry::{DType, Tensor};

/// A plan, and how often it was iterated.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct Plan {
    pub(crate) inner: Dataset,
    /// The epoch of the next iteration.
    epochs: Arc<AtomicU64>,
}

impl From<Dataset> for Plan {
    fn from(inner: Dataset) -> Self {
        guard();
        Self { inner, epochs: Arc::default() }
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

    /// Whether every epoch's elements are others, or in another order.
    #[getter]
    fn depends_on_epoch(&self) -> bool {
        self.inner.depends_on_epoch()
    }

    /// Whether elements have to be computed in order, one at a time: a function of the user's is called for them.
    #[getter]
    fn is_sequential(&self) -> bool {
        self.inner.is_sequential()
    }

    /// A tensor that names the plan to the TensorFlow ops of ours, and keeps it alive. Their passes are counted with those of Python.
    #[pyo3(signature = (threads = None, memory_limit = None, read_ahead = None))]
    fn handle(
        &self,
        py: Python<'_>,
        threads: Option<usize>,
        memory_limit: Option<usize>,
        read_ahead: Option<usize>,
    ) -> PyResult<PyTensor> {
        let options = Options { threads, memory_limit, read_ahead };
        Ok(tensorferry_tensorflow::handle(self.inner.clone(), options, Arc::clone(&self.epochs)).or_raise(py)?.into())
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

    fn shuffle(&self, py: Python<'_>, buffer_size: Option<u64>, seed: Option<u64>, reshuffle: bool) -> PyResult<Self> {
        Ok(self.inner.shuffle(buffer_size, seed, reshuffle).or_raise(py)?.into())
    }

    fn shuffle_blocks(
        &self,
        py: Python<'_>,
        block: u64,
        buffer_size: Option<u64>,
        seed: Option<u64>,
        reshuffle: bool,
    ) -> PyResult<Self> {
        Ok(self.inner.shuffle_blocks(block, buffer_size, seed, reshuffle).or_raise(py)?.into())
    }

    fn cache(&self) -> Self {
        self.inner.cache().into()
    }

    fn window(&self, py: Python<'_>, size: u64, shift: Option<u64>, stride: u64, drop_remainder: bool) -> PyResult<Self> {
        Ok(self.inner.window(size, shift, stride, drop_remainder).or_raise(py)?.into())
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

    fn unbatch(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(self.inner.unbatch().or_raise(py)?.into())
    }

    fn rebatch(&self, py: Python<'_>, batch_sizes: Vec<usize>, drop_remainder: bool) -> PyResult<Self> {
        Ok(self.inner.rebatch(batch_sizes, drop_remainder).or_raise(py)?.into())
    }

    /// `shapes` has the dimensions of each component, None where the longest of the batch decides; `values` what to pad with, None for 0.
    fn padded_batch(
        &self,
        py: Python<'_>,
        batch_size: usize,
        shapes: Vec<Vec<Option<usize>>>,
        values: Vec<Option<Bound<'_, PyAny>>>,
        drop_remainder: bool,
    ) -> PyResult<Self> {
        let shapes = shapes.into_iter().map(Shape::new).collect();
        let spec = self.inner.spec().iter().map(|part| part.tensor().map(|part| part.dtype));
        let value = |(value, dtype): (&Option<Bound<'_, PyAny>>, Option<DType>)| {
            value.as_ref().map(|value| callee::tensor(value, dtype)).transpose()
        };
        let values: Vec<Option<Tensor>> = values.iter().zip(spec).map(value).collect::<PyResult<_>>()?;
        Ok(self.inner.padded_batch(batch_size, Some(shapes), Some(values), drop_remainder).or_raise(py)?.into())
    }

    fn unique(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(self.inner.unique().or_raise(py)?.into())
    }
}
