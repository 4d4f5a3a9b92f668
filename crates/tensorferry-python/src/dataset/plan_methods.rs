//! The methods of `Plan`.

use super::iterator::DatasetIterator;
use super::packer::Packer;
use super::plan::Plan;
use super::ragged::{Strings, string_padding};
use super::{spec, value};
use crate::errors::OrRaise;
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tensorferry::dataset::{
    BatchOptions, Cardinality, Dataset, EpochCounter, Options, PaddedBatchOptions, Parts, Shape,
    ShuffleOptions, WindowOptions,
};
use tensorferry::{DType, Tensor};

#[pymethods]
impl Plan {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.cells.iter().try_for_each(|cell| visit.call(cell))
    }

    /// The components of each element: see `spec.rs`.
    #[getter]
    fn spec<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        guard();
        spec::to_python(py, self.inner.spec())
    }

    /// The number of elements; -1 if infinite, -2 if unknown, as in tf.data.
    #[getter]
    fn cardinality(&self) -> i64 {
        guard();
        match self.inner.cardinality() {
            Cardinality::Finite(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Cardinality::Infinite => -1,
            Cardinality::Unknown => -2,
        }
    }

    /// Whether an element can be computed from its index.
    #[getter]
    fn is_indexed(&self) -> bool {
        guard();
        self.inner.is_indexed()
    }

    /// Whether elements, or their order, differ by epoch.
    #[getter]
    fn depends_on_epoch(&self) -> bool {
        guard();
        self.inner.depends_on_epoch()
    }

    /// Whether elements have to be computed in order, one at a time, as a user's function is
    /// called.
    #[getter]
    fn is_sequential(&self) -> bool {
        guard();
        self.inner.is_sequential()
    }

    /// A tensor that names the plan to the ops for TensorFlow, and keeps it alive. Their passes are
    /// counted with those of Python.
    #[pyo3(signature = (threads = None, memory_limit = None, read_ahead = None))]
    fn handle<'py>(
        &self,
        py: Python<'py>,
        threads: Option<usize>,
        memory_limit: Option<usize>,
        read_ahead: Option<usize>,
    ) -> PyResult<Bound<'py, PyTensor>> {
        guard();
        let options = Options { threads, memory_limit, read_ahead };
        let passes = self.passes.like(self.pinned());
        PyTensor::object(py, tensorferry_tensorflow::handle(&passes, options).or_raise(py)?)
    }

    fn __str__(&self) -> String {
        guard();
        self.inner.to_string()
    }

    /// The same plan with these component names for errors; epochs are counted together.
    fn named(&self, names: Vec<String>) -> Self {
        guard();
        let inner = self.dataset().with_names(names);
        Self::of(inner.clone(), self.passes.like(inner))
    }

    /// The same plan.
    fn copy(&self) -> Self {
        guard();
        let inner = self.dataset();
        Self::of(inner.clone(), self.passes.like(inner))
    }

    /// The same plan, its epochs counted from 0 and separately.
    fn alone(&self) -> Self {
        guard();
        let inner = self.dataset();
        Self::of(inner.clone(), EpochCounter::alone(inner))
    }

    /// Sets the epoch of the next pass over this plan and all that derive from it.
    fn set_epoch(&self, epoch: u64) {
        guard();
        self.passes.set(epoch);
    }

    /// The epoch of the next pass, the last epoch that `set_epoch` set on this plan, and the seed
    /// that its last stage drew. Pickled with its recipe.
    fn progress(&self) -> (u64, Option<u64>, Option<u64>) {
        guard();
        (self.passes.upcoming().0, self.passes.last_set(), self.inner.drawn_seed())
    }

    /// Counts passes from the `progress` of another plan: its next epoch, and the one set.
    #[pyo3(signature = (epoch, set))]
    fn count_like(&self, epoch: u64, set: Option<u64>) {
        guard();
        if let Some(set) = set {
            self.passes.set(set);
        }
        if self.passes.upcoming().0 != epoch {
            self.passes.count_from(epoch);
        }
    }

    /// Counts passes separately for each mark; `set_epoch` applies to all marks of a family.
    fn mark(&self, mark: u64, family: u64) {
        guard();
        self.passes.mark(mark, family);
    }

    /// The same plan with another seed for its last stage, if that drew one and is not in `inputs`.
    fn with_drawn_seed(&self, py: Python<'_>, seed: u64, inputs: Vec<Py<Self>>) -> PyResult<Self> {
        guard();
        let inputs: Vec<Dataset> = inputs.iter().map(|input| input.get().dataset()).collect();
        let inner = self.inner.with_drawn_seed(seed, &inputs).or_raise(py)?;
        Ok(Self::of(inner.clone(), self.passes.like(inner)))
    }

    /// Whether there may be fewer elements than `cardinality` says.
    #[getter]
    fn may_end_early(&self) -> bool {
        guard();
        self.inner.may_end_early()
    }

    /// Whether the length of a component is known before its element is read.
    fn is_measured(&self, component: usize) -> bool {
        guard();
        self.inner.is_measured(component)
    }

    /// A number that plans share if they count epochs together, in this process.
    #[getter]
    fn key(&self) -> u64 {
        guard();
        self.passes.key()
    }

    /// Refuses a plan of too many stages.
    fn check_depth(&self, py: Python<'_>) -> PyResult<()> {
        guard();
        self.inner.check_depth().or_raise(py)
    }

    /// One pass over the elements, nested by `packer`.
    fn iterate(
        slf: &Bound<'_, Self>,
        packer: Py<Packer>,
        threads: Option<usize>,
        memory_limit: Option<usize>,
        read_ahead: Option<usize>,
    ) -> DatasetIterator {
        guard();
        DatasetIterator::new(
            slf.clone().unbind(),
            packer,
            Options { threads, memory_limit, read_ahead },
        )
    }

    fn batch(&self, py: Python<'_>, batch_size: usize, drop_remainder: bool) -> PyResult<Self> {
        guard();
        Ok(self
            .dataset()
            .batch_with(batch_size, BatchOptions { drop_remainder })
            .or_raise(py)?
            .into())
    }

    fn take(&self, count: Option<u64>) -> Self {
        guard();
        self.dataset().take(count).into()
    }

    fn skip(&self, count: Option<u64>) -> Self {
        guard();
        self.dataset().skip(count).into()
    }

    fn shard(
        &self,
        py: Python<'_>,
        num_shards: u64,
        index: u64,
        contiguous: Option<bool>,
    ) -> PyResult<Self> {
        guard();
        let dataset = self.dataset();
        let part = match contiguous {
            None => dataset.shard(num_shards, index),
            Some(true) => dataset.shard_with(num_shards, index, Parts::Contiguous),
            Some(false) => dataset.shard_with(num_shards, index, Parts::Strided),
        };
        Ok(part.or_raise(py)?.into())
    }

    fn shuffle(
        &self,
        py: Python<'_>,
        buffer_size: Option<u64>,
        seed: Option<u64>,
        reshuffle: bool,
    ) -> PyResult<Self> {
        guard();
        Ok(self
            .dataset()
            .shuffle(ShuffleOptions { buffer_size, seed, reshuffle_each_iteration: reshuffle })
            .or_raise(py)?
            .into())
    }

    fn shuffle_blocks(
        &self,
        py: Python<'_>,
        block: u64,
        buffer_size: Option<u64>,
        seed: Option<u64>,
        reshuffle: bool,
    ) -> PyResult<Self> {
        guard();
        Ok(self
            .dataset()
            .shuffle_blocks(
                block,
                ShuffleOptions { buffer_size, seed, reshuffle_each_iteration: reshuffle },
            )
            .or_raise(py)?
            .into())
    }

    fn cache(&self) -> Self {
        guard();
        self.dataset().cache().into()
    }

    fn window(
        &self,
        py: Python<'_>,
        size: u64,
        shift: Option<u64>,
        stride: u64,
        drop_remainder: bool,
    ) -> PyResult<Self> {
        guard();
        Ok(self
            .dataset()
            .window(size, WindowOptions { shift, stride, drop_remainder })
            .or_raise(py)?
            .into())
    }

    fn repeat(&self, count: Option<u64>) -> Self {
        guard();
        self.dataset().repeat(count).into()
    }

    fn enumerate(&self, start: i64) -> Self {
        guard();
        self.dataset().enumerate(start).into()
    }

    fn concatenate(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<Self> {
        guard();
        Ok(self.dataset().concatenate(&other.get().dataset()).or_raise(py)?.into())
    }

    fn prefetch(&self, buffer_size: Option<usize>) -> Self {
        guard();
        self.dataset().prefetch(buffer_size).into()
    }

    /// `strings` are the components with the bytes of several strings, whose splits follow.
    fn unbatch(&self, py: Python<'_>, strings: Vec<usize>) -> PyResult<Self> {
        guard();
        Ok(self.dataset().unbatch_strings(&strings).or_raise(py)?.into())
    }

    fn rebatch(
        &self,
        py: Python<'_>,
        batch_sizes: Vec<usize>,
        drop_remainder: bool,
    ) -> PyResult<Self> {
        guard();
        Ok(self
            .dataset()
            .rebatch(batch_sizes, BatchOptions { drop_remainder })
            .or_raise(py)?
            .into())
    }

    /// `shapes` has the dimensions of each component, None for the longest of a batch; `values` has
    /// the padding, None for 0.
    fn padded_batch(
        &self,
        py: Python<'_>,
        batch_size: usize,
        shapes: Vec<Vec<Option<usize>>>,
        values: Vec<Option<Bound<'_, PyAny>>>,
        drop_remainder: bool,
        strings: Vec<Strings>,
    ) -> PyResult<Self> {
        guard();
        let shapes = shapes.into_iter().map(Shape::new).collect();
        let spec = self.inner.spec().iter().map(|part| part.tensor().map(|part| part.dtype));
        let value = |(value, dtype): (&Option<Bound<'_, PyAny>>, Option<DType>)| {
            value.as_ref().map(|value| value::tensor(value, dtype)).transpose()
        };
        let values: Vec<Option<Tensor>> =
            values.iter().zip(spec).map(value).collect::<PyResult<_>>()?;
        Ok(self
            .dataset()
            .padded_batch(
                batch_size,
                PaddedBatchOptions {
                    padded_shapes: Some(shapes),
                    padding_values: Some(values),
                    drop_remainder,
                    strings: strings.into_iter().map(string_padding).collect(),
                },
            )
            .or_raise(py)?
            .into())
    }

    fn unique(&self, py: Python<'_>) -> PyResult<Self> {
        guard();
        Ok(self.dataset().unique().or_raise(py)?.into())
    }
}
