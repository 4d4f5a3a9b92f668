//! `tensorferry.Array`: an array in files, opened and not loaded; and the functions that open and
//! save.

use crate::dataset::spec;
use crate::dtype;
use crate::errors::{OrRaise, raise};
use crate::npy::fs_path;
use crate::opened_index::Rows;
use crate::source::Source;
use crate::tensor::{PyTensor, as_asked};
use crate::unwinding::guard;
use crate::wait::interruptible;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tensorferry::dataset::{self, CancelToken, Component, Shape};
use tensorferry::{
    Array, Arrays, ByteOrder, Casting, DType, Format, Mode, OpenOptions, Opened, Raw, Tensor,
};

/// What is read at once without another thread, that Ctrl-C could end, is no more than this.
const AT_ONCE: usize = 8 << 20;

/// An array in files, opened and not loaded: its shape and dtype are known, and elements are read
/// when they are asked for.
///
/// Made by `open()`, `open_raw()` and `Dataset.from_files()`. Indexing gives a `Tensor` of the rows
/// asked for: shared where the file is mapped, else read. A whole array goes to `tensor()`,
/// `convert_to_tensor()`, `numpy.asarray()`, `Dataset.from_tensor_slices()`.
///
/// >>> import numpy as np, os, tempfile, tensorferry
/// >>> path = os.path.join(tempfile.mkdtemp(), "squares.npy")
/// >>> np.save(path, np.arange(5) ** 2)
/// >>> squares = tensorferry.open(path)
/// >>> squares[[4, 1]]
/// tensorferry.Tensor([16,  1], shape=(2,), dtype=int64)
#[pyclass(frozen, name = "Array", module = "tensorferry")]
pub(crate) struct PyArray {
    pub(crate) inner: Array,
    /// How it was opened, for pickle: what `_opened.reopen` takes.
    recipe: Py<PyAny>,
}

impl PyArray {
    pub(crate) fn new(inner: Array, recipe: Py<PyAny>) -> Self {
        Self { inner, recipe }
    }

    /// All of it in memory, in a dtype if one is given: shared where it lies there, else read.
    pub(crate) fn read(&self, py: Python<'_>, to: Option<(DType, Casting)>) -> PyResult<Tensor> {
        if let Ok(tensor) = self.inner.tensor()
            && to.is_none_or(|(dtype, _)| {
                dtype == tensor.dtype() && tensor.byte_order() == ByteOrder::Native
            })
        {
            return Ok(tensor);
        }
        let read = |array: &Array| match to {
            Some((dtype, casting)) => array.convert(dtype, casting),
            None => array.read(),
        };
        self.run(py, self.inner.nbytes(), read)
    }

    /// Reads so many bytes of the array.
    pub(crate) fn run(
        &self,
        py: Python<'_>,
        bytes: usize,
        read: impl Fn(&Array) -> tensorferry::Result<Tensor> + Send + Sync,
    ) -> PyResult<Tensor> {
        if bytes <= AT_ONCE {
            return py.detach(|| read(&self.inner)).or_raise(py);
        }
        interruptible(py, |stop| read(&self.inner.cancelled_by(stop)))?.or_raise(py)
    }
}

#[pymethods]
impl PyArray {
    /// Length of each dimension.
    #[getter]
    pub(crate) fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        PyTuple::new(py, self.inner.shape())
    }

    /// The `numpy.dtype` of the elements, in this machine's byte order, whatever the file's is.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        dtype::to_numpy(py, self.inner.dtype(), ByteOrder::Native)
    }

    /// Number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        guard();
        self.inner.shape().len()
    }

    /// Number of elements.
    #[getter]
    fn size(&self) -> usize {
        guard();
        self.inner.shape().iter().product()
    }

    /// Bytes per element.
    #[getter]
    fn itemsize(&self) -> usize {
        guard();
        self.inner.dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        guard();
        self.inner.nbytes()
    }

    /// How it is read: "map", "read" or "direct".
    #[getter]
    fn mode(&self) -> &'static str {
        guard();
        self.inner.mode().name()
    }

    /// The files, in the order of their rows.
    #[getter]
    fn paths(&self) -> Vec<PathBuf> {
        guard();
        self.inner.paths().map(Into::into).collect()
    }

    /// All elements as a read-only NumPy array over the mapped file: nothing is read or copied. Its
    /// dtype says the file's byte order.
    ///
    /// Raises:
    ///     tensorferry.errors.BufferError: the array is not mapped, or lies in several files; `numpy.asarray(array)` reads all of it.
    fn numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let Ok(tensor) = self.inner.tensor() else {
            let why = match self.inner.mode() {
                Mode::Map => "it lies in several files",
                _ => "it is not mapped. Open it with mode=\"map\"",
            };
            let message = format!(
                "there is no NumPy array over this array: {why}. Take rows, array[:100], or read \
                all with numpy.asarray(array)."
            );
            return Err(raise(py, "not_shareable", message));
        };
        PyTensor::numpy(&PyTensor::object(py, tensor)?)
    }

    /// The same array in another dtype: nothing is read, and elements are converted whenever they
    /// are.
    ///
    /// Saved, it makes a file of the other dtype, of any size: `save("narrow.npy",
    /// open("wide.npy").astype("int32"))`. To read all of it into memory, `tensor(array, dtype)`
    /// does the same and shares what needs no conversion; a dataset has `Dataset.cast`.
    ///
    /// Args:
    ///     dtype: a `numpy.dtype`, `tf.DType`, type or name.
    ///     casting: what happens to values that the dtype cannot hold: `"checked"` raises when they are read, `"saturate"` clamps, `"wrap"`
    ///         keeps the low bits.
    ///
    /// Raises:
    ///     tensorferry.errors.TypeError: no conversion is defined, of complex to real numbers for example.
    ///
    /// >>> import numpy as np, os, tempfile, tensorferry
    /// >>> path = os.path.join(tempfile.mkdtemp(), "squares.npy")
    /// >>> np.save(path, np.arange(5) ** 2)
    /// >>> tensorferry.open(path).astype("uint8")[3:]
    /// tensorferry.Tensor([ 9, 16], shape=(2,), dtype=uint8)
    #[pyo3(signature = (dtype, casting = "checked"))]
    fn astype(&self, py: Python<'_>, dtype: &Bound<'_, PyAny>, casting: &str) -> PyResult<Self> {
        guard();
        let to = dtype::parse_ours(Some(dtype))?.unwrap_or(self.inner.dtype());
        let inner = self.inner.cast(to, dtype::parse_casting(py, casting)?).or_raise(py)?;
        let recipe =
            ("astype", (&self.recipe, to.name(), casting)).into_pyobject(py)?.into_any().unbind();
        Ok(Self { inner, recipe })
    }

    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let elements = match copy {
            Some(false) => self.numpy(py)?,
            _ => PyTensor::numpy(&PyTensor::object(py, self.read(py, None)?)?)?,
        };
        as_asked(elements, dtype, copy)
    }

    fn __len__(&self) -> PyResult<usize> {
        guard();
        self.inner
            .shape()
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("len() of a 0-d array"))
    }

    /// The rows asked for, as a `Tensor`: by a number, a slice, a list or array of numbers, a mask.
    /// What follows in the brackets indexes the rows.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyTensor>> {
        guard();
        PyTensor::object(py, Rows::parse(self, index)?.take(py, self)?)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<RowIterator> {
        guard();
        slf.get().__len__()?;
        Ok(RowIterator { array: slf.clone().unbind(), next: 0, block: None })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard();
        let files = match self.inner.paths().len() {
            0 => String::new(),
            1 => self
                .inner
                .paths()
                .map(|path| format!(", {:?}", path.display().to_string()))
                .collect(),
            many => format!(", {many} files"),
        };
        let (shape, dtype, mode) = (self.shape(py)?, self.inner.dtype(), self.inner.mode());
        Ok(format!("<tensorferry.Array shape={shape} dtype={dtype} mode={mode}{files}>"))
    }

    /// Pickled as its files' names: whoever unpickles it opens them again.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py().import("tensorferry._opened")?.call_method1("reduce", (slf, &slf.get().recipe))
    }
}

/// Iterates over the rows of an array, reading some MiB at a time.
#[pyclass]
pub(crate) struct RowIterator {
    array: Py<PyArray>,
    next: usize,
    /// Rows read ahead, and the first of them.
    block: Option<(usize, Tensor)>,
}

#[pymethods]
impl RowIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        guard();
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTensor>>> {
        guard();
        let array = self.array.get();
        let len = array.inner.len();
        if self.next >= len {
            self.block = None;
            return Ok(None);
        }
        let ready = self.block.take().filter(|(first, rows)| self.next < first + rows.shape()[0]);
        let (first, rows) = match ready {
            Some(block) => block,
            None => {
                let row = array.inner.nbytes() / len;
                let rows = (AT_ONCE / row.max(1)).clamp(1, len - self.next);
                (self.next, array.run(py, rows * row, |array| array.slice(self.next, rows))?)
            }
        };
        let at = isize::try_from(self.next - first)?;
        let row = rows.index(&[tensorferry::Index::At(at)]).or_raise(py)?;
        self.block = Some((first, rows));
        self.next += 1;
        PyTensor::object(py, row).map(Some)
    }
}

/// The arrays by name that `open` finds; `tensorferry.Arrays` makes a mapping of it.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct OpenedArrays {
    inner: Arrays,
    recipe: Py<PyAny>,
}

#[pymethods]
impl OpenedArrays {
    fn names(&self) -> Vec<&str> {
        guard();
        self.inner.names().collect()
    }

    fn paths(&self) -> Vec<PathBuf> {
        guard();
        self.inner.paths().map(Into::into).collect()
    }

    fn mode(&self) -> &'static str {
        guard();
        self.inner.mode().name()
    }

    /// What `.safetensors` files say besides their arrays.
    fn metadata(&self) -> BTreeMap<String, String> {
        guard();
        self.inner.metadata().clone()
    }

    /// What is no array, and why.
    fn left_out(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        guard();
        py.detach(|| self.inner.left_out()).or_raise(py)
    }

    fn get(&self, py: Python<'_>, name: &str) -> PyResult<PyArray> {
        guard();
        let array = py.detach(|| self.inner.get(name)).or_raise(py)?;
        self.member(py, name, array)
    }

    /// All arrays, those that are compressed decompressed on the machine's cores. Those of a dtype
    /// that tensors do not have are an error, or left out.
    fn get_all(&self, py: Python<'_>, readable: bool) -> PyResult<Vec<(String, PyArray)>> {
        guard();
        let get = |_: &CancelToken| {
            if readable { self.inner.get_readable() } else { self.inner.get_all() }
        };
        let arrays = interruptible(py, get)?.or_raise(py)?;
        arrays
            .into_iter()
            .map(|(name, array)| Ok((name.clone(), self.member(py, &name, array)?)))
            .collect()
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        guard();
        interruptible(py, |_stop| self.inner.verify())?.or_raise(py)
    }

    fn recipe(&self, py: Python<'_>) -> Py<PyAny> {
        guard();
        self.recipe.clone_ref(py)
    }
}

impl OpenedArrays {
    fn member(&self, py: Python<'_>, name: &str, inner: Array) -> PyResult<PyArray> {
        Ok(PyArray { inner, recipe: (&self.recipe, name).into_pyobject(py)?.into_any().unbind() })
    }
}

fn parse_mode(py: Python<'_>, mode: &str) -> PyResult<Mode> {
    Mode::from_name(mode).ok_or_else(|| {
        let names = Mode::ALL.map(Mode::name);
        raise(py, "argument", format!("mode {mode:?} is none of {names:?}"))
    })
}

fn parse_format(py: Python<'_>, format: Option<&str>) -> PyResult<Option<Format>> {
    let Some(name) = format else { return Ok(None) };
    match Format::from_name(name) {
        Some(format) => Ok(Some(format)),
        None => Err(raise(
            py,
            "argument",
            format!("format {name:?} is none of {:?}", Format::ALL.map(Format::name)),
        )),
    }
}

fn fs_paths(paths: &[Bound<'_, PyAny>]) -> PyResult<Vec<PathBuf>> {
    paths.iter().map(fs_path).collect()
}

/// Opens files: an `Array`, or `OpenedArrays`. `recipe` is what pickle is to know.
#[pyfunction]
pub(crate) fn open<'py>(
    py: Python<'py>,
    paths: Vec<Bound<'py, PyAny>>,
    format: Option<&str>,
    mode: &str,
    features: Vec<(String, Option<Bound<'py, PyAny>>)>,
    recipe: Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let (paths, format, mode) =
        (fs_paths(&paths)?, parse_format(py, format)?, parse_mode(py, mode)?);
    let feature = |(name, part): &(String, Option<Bound<'py, PyAny>>)| match part
        .as_ref()
        .map(spec::component)
        .transpose()?
    {
        None => Ok((name.clone(), None)),
        Some(Component::Tensor(spec)) => Ok((name.clone(), Some(spec))),
        Some(Component::Dataset(_)) => {
            Err(raise(py, "wrong_type", format!("feature {name:?} is no dataset")))
        }
    };
    let features = features.iter().map(feature).collect::<PyResult<Vec<_>>>()?;
    let options = |stop: &CancelToken| OpenOptions {
        format,
        mode,
        features: features.clone(),
        memory_limit: None,
        cancel: stop.clone(),
        ..OpenOptions::default()
    };
    match interruptible(py, |stop| tensorferry::open_with(&paths, &options(stop)))?.or_raise(py)? {
        Opened::Array(inner) => Ok(Bound::new(py, PyArray { inner, recipe })?.into_any()),
        Opened::Arrays(inner) => Ok(Bound::new(py, OpenedArrays { inner, recipe })?.into_any()),
    }
}

/// Opens raw files.
#[pyfunction]
pub(crate) fn open_raw(
    py: Python<'_>,
    paths: Vec<Bound<'_, PyAny>>,
    dtype: &Bound<'_, PyAny>,
    shape: Option<Vec<Option<usize>>>,
    offset: u64,
    mode: &str,
    recipe: Py<PyAny>,
) -> PyResult<PyArray> {
    guard();
    let (paths, mode) = (fs_paths(&paths)?, parse_mode(py, mode)?);
    let (dtype, order) = dtype::parse_stored(dtype)?;
    let raw =
        Raw { dtype, order, shape: shape.map_or_else(|| Shape::new([None]), Shape::new), offset };
    let inner = py.detach(|| tensorferry::open_raw(&paths, &raw, mode)).or_raise(py)?;
    Ok(PyArray { inner, recipe })
}

/// An opened array that is not in memory, read and converted for a conversion that allows a copy;
/// `None` of anything else.
///
/// # Errors
/// With `copy=False`, that it cannot be shared.
pub(crate) fn read_for<'py>(
    value: &Bound<'py, PyAny>,
    dtype: Option<DType>,
    casting: Casting,
    copy: Option<bool>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (py, Ok(array)) = (value.py(), value.cast::<PyArray>()) else { return Ok(None) };
    let array = array.get();
    let Err(not_there) = array.inner.tensor() else { return Ok(None) };
    if copy == Some(false) {
        return Err(not_there).or_raise(py);
    }
    let read = array.read(py, dtype.map(|dtype| (dtype, casting)))?;
    Ok(Some(PyTensor::object(py, read)?.into_any()))
}

/// Any array as one to save or to read rows from: an opened one, or one in memory; `immutable` says
/// that nothing can change it.
pub(crate) fn array_of(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    immutable: bool,
) -> PyResult<Array> {
    if let Ok(array) = value.cast::<PyArray>() {
        return Ok(array.get().inner.clone());
    }
    let (tensor, frozen) = Source::of_ours(value)?.shared().or_raise(py)?;
    Array::try_from(dataset::Source { tensor, frozen: frozen || immutable }).or_raise(py)
}

/// Writes one array.
#[pyfunction]
pub(crate) fn save(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    format: Option<&str>,
) -> PyResult<()> {
    guard();
    let (path, format) = (fs_path(path)?, parse_format(py, format)?);
    // That nobody writes to it meanwhile is the caller's affair, as with every NumPy function that
    // releases the GIL.
    let array = array_of(py, value, true)?;
    interruptible(py, |stop| tensorferry::save(&path, &array.cancelled_by(stop), format))?
        .or_raise(py)
}

/// Writes arrays by name: pairs of a name and an array.
#[pyfunction]
pub(crate) fn save_arrays(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    arrays: &Bound<'_, PyList>,
    format: Option<&str>,
    compress: bool,
    metadata: BTreeMap<String, String>,
) -> PyResult<()> {
    guard();
    let (path, format) = (fs_path(path)?, parse_format(py, format)?);
    let pair = |pair: Bound<'_, PyAny>| {
        let (name, value): (String, Bound<'_, PyAny>) = pair.extract()?;
        Ok((name, array_of(py, &value, true)?))
    };
    let arrays = arrays.iter().map(pair).collect::<PyResult<Vec<_>>>()?;
    let write = |stop: &CancelToken| {
        let arrays: Vec<_> =
            arrays.iter().map(|(name, array)| (name, array.cancelled_by(stop))).collect();
        tensorferry::save_arrays_with(&path, &arrays, format, compress, &metadata)
    };
    interruptible(py, write)?.or_raise(py)
}

/// The format that a file of that name is to have, if that is known.
#[pyfunction]
pub(crate) fn format_for(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    format: Option<&str>,
) -> PyResult<Option<&'static str>> {
    guard();
    let format = parse_format(py, format)?.or(Format::of_extension(&fs_path(path)?));
    Ok(format.map(Format::name))
}
