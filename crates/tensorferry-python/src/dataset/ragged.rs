//! Rows of different lengths and windows of tokens: their sources, and batches made of them.

use super::plan::Plan;
use super::sources::{is_in_files, source};
use super::value;
use crate::errors::{OrRaise, raise};
use crate::files::array::PyArray;
use crate::files::save::array_of;
use crate::interop::dtype;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use tensorferry::dataset::{
    BatchOptions, BucketOptions, Dataset, PackOptions, PackStrategy, Ragged, Shape, StringPadding,
    TokenWindowsOptions, Values,
};
use tensorferry::{Casting, DType, Tensor};

/// An array, and whether nothing can change it.
type Source<'py> = (Bound<'py, PyAny>, bool);

/// For each component the shape to pad it to, and the number to pad it with.
type Padding<'py> = (Vec<Vec<Option<usize>>>, Vec<Option<Bound<'py, PyAny>>>);

/// A component of strings, whether an element has several, the number to pad them to, and the
/// string to pad with.
pub(super) type Strings = (usize, bool, Option<usize>, Vec<u8>);

pub(super) fn string_padding((component, several, len, value): Strings) -> StringPadding {
    StringPadding { component, several, len, value }
}

/// Values in memory or in files.
pub(super) fn values(py: Python<'_>, (value, immutable): &Source<'_>) -> PyResult<Values> {
    if is_in_files(value) {
        return Ok(array_of(py, value, *immutable)?.into());
    }
    Ok(source(py, value, *immutable)?.into())
}

/// Numbers that say where rows lie: memory that cannot change, or a copy.
pub(super) fn numbers(py: Python<'_>, (value, immutable): &Source<'_>) -> PyResult<Tensor> {
    if let Ok(array) = value.cast::<PyArray>() {
        let array = &array.get().inner;
        return match array.tensor() {
            Ok(tensor) => Ok(tensor),
            Err(_) => interruptible(py, |_cancel| array.read())?.or_raise(py),
        };
    }
    let source = source(py, value, *immutable)?;
    if source.frozen {
        return Ok(source.tensor);
    }
    let view = source.tensor.as_view();
    tensorferry::convert(&view, source.tensor.dtype(), Casting::Checked).or_raise(py)
}

/// Rows of arrays, one after the other. Each is given by its values, by how its numbers say where
/// rows lie ("splits", "part", "lengths" or "starts"), and by these numbers.
#[pyfunction]
pub(crate) fn from_ragged(
    py: Python<'_>,
    parts: Vec<(Source<'_>, String, Vec<Source<'_>>)>,
) -> PyResult<Plan> {
    guard();
    let mut all = Vec::with_capacity(parts.len());
    for (given, how, rows) in &parts {
        let values = values(py, given)?;
        let rows: Vec<Tensor> =
            rows.iter().map(|rows| numbers(py, rows)).collect::<PyResult<_>>()?;
        let made = py.detach(|| match (how.as_str(), rows.as_slice()) {
            ("splits", [splits]) => Some(Ragged::from_row_splits(values, splits)),
            ("part", [splits]) => Some(Ragged::from_part(values, splits)),
            ("lengths", [lengths]) => Some(Ragged::from_row_lengths(values, lengths)),
            ("starts", [starts, lengths]) => Some(Ragged::from_row_starts(values, starts, lengths)),
            _ => None,
        });
        let Some(made) = made else {
            return Err(raise(
                py,
                "argument",
                format!("from_ragged: {how:?} is not a kind of rows"),
            ));
        };
        all.push(made.or_raise(py)?);
    }
    Ok(Dataset::from_ragged(all).or_raise(py)?.into())
}

/// Windows of a flat array of tokens, each with the tokens that follow.
#[pyfunction]
pub(crate) fn token_windows(
    py: Python<'_>,
    tokens: (Bound<'_, PyAny>, bool),
    length: usize,
    stride: Option<usize>,
    shift: usize,
    dtype: &Bound<'_, PyAny>,
    boundaries: Option<(Bound<'_, PyAny>, bool)>,
) -> PyResult<Plan> {
    guard();
    let dtype = dtype::parse_ours(Some(dtype))?.unwrap_or(DType::Int64);
    let options = TokenWindowsOptions { stride, shift, dtype };
    let tokens = values(py, &tokens)?;
    let made = match &boundaries {
        Some(boundaries) => {
            let boundaries = numbers(py, boundaries)?;
            py.detach(|| Dataset::token_windows_within(tokens, &boundaries, length, options))
        }
        None => Dataset::token_windows(tokens, length, options),
    };
    Ok(made.or_raise(py)?.into())
}

/// Batches without padding: two components for each one of unknown length; with `components`, for
/// each of those, and the others are stacked.
#[pyfunction]
#[pyo3(signature = (plan, batch_size, drop_remainder, components = None))]
pub(crate) fn ragged_batch(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    batch_size: usize,
    drop_remainder: bool,
    components: Option<Vec<usize>>,
) -> PyResult<Plan> {
    guard();
    let (dataset, options) = (plan.get().dataset(), BatchOptions { drop_remainder });
    let batches = match components {
        None => dataset.ragged_batch(batch_size, options),
        Some(components) => dataset.batch_ragged(batch_size, &components, options),
    };
    Ok(batches.or_raise(py)?.into())
}

/// Batches of elements of similar length, of which component `component` counts. `buckets` are
/// boundaries and batch sizes, `padding` is as in `Plan.padded_batch`, and `flags` are
/// `pad_to_bucket_boundary`, `no_padding` and `drop_remainder`.
#[pyfunction]
pub(crate) fn bucket_by_sequence_length(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    component: usize,
    buckets: (Vec<usize>, Vec<usize>),
    padding: Padding<'_>,
    flags: (bool, bool, bool),
    strings: Vec<Strings>,
) -> PyResult<Plan> {
    guard();
    let ((boundaries, sizes), (shapes, values)) = (buckets, padding);
    let dataset = plan.get().dataset();
    let dtypes = dataset.spec().iter().map(|part| part.tensor().map(|part| part.dtype));
    let value = |(value, dtype): (&Option<Bound<'_, PyAny>>, Option<DType>)| {
        value.as_ref().map(|value| value::tensor(value, dtype)).transpose()
    };
    let padding_values: Vec<Option<Tensor>> =
        values.iter().zip(dtypes).map(value).collect::<PyResult<_>>()?;
    let (pad_to_bucket_boundary, no_padding, drop_remainder) = flags;
    let options = BucketOptions {
        component,
        bucket_boundaries: boundaries,
        bucket_batch_sizes: sizes,
        padded_shapes: Some(shapes.into_iter().map(Shape::new).collect()),
        padding_values: Some(padding_values),
        pad_to_bucket_boundary,
        no_padding,
        drop_remainder,
        strings: strings.into_iter().map(string_padding).collect(),
    };
    Ok(dataset.bucket_by_sequence_length(options).or_raise(py)?.into())
}

/// Windows of `length` tokens. `flags` are whether rows are placed where they fit best, and
/// `drop_remainder`. `order` are the components of the result, in the order in which they
/// are wanted.
#[pyfunction]
pub(crate) fn pack(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    length: usize,
    eos: Option<&Bound<'_, PyAny>>,
    flags: (bool, bool),
    order: Vec<usize>,
) -> PyResult<Plan> {
    guard();
    let (best_fit, drop_remainder) = flags;
    let dataset = plan.get().dataset();
    let dtype = dataset.spec().first().and_then(|part| part.tensor()).map(|part| part.dtype);
    let eos = eos.map(|eos| value::tensor(eos, dtype)).transpose()?;
    let strategy = if best_fit { PackStrategy::BestFit } else { PackStrategy::Concat };
    let options = PackOptions { strategy, eos, drop_remainder };
    let packed = interruptible(py, |_cancel| dataset.pack(length, options))?.or_raise(py)?;
    Ok(packed.components(&order).or_raise(py)?.into())
}
