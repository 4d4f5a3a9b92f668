//! Converting the leaves of a list to one dtype, with an error that names the first misfit.

use super::number::Number;
use super::walk::{Part, Walk};
use crate::errors::{raise, to_py};
use crate::interop::source::GIL_BYTES;
use pyo3::prelude::*;
use std::ops::Range;
use tensorferry::buffers::{make_room, pool};
use tensorferry::convert::scalar::{Bytes, Value, read};
use tensorferry::error::CoreError;
use tensorferry::{
    ByteOrder, Casting, DType, Dims, Kind, Layout, Misfits, Scalar, Tensor, View, ViewMut,
};
use tensorferry_tensorflow::InPython;

/// How numbers are converted.
#[derive(Clone, Copy)]
pub(crate) enum How {
    Cast(Casting),
    /// As TensorFlow does for an inferred dtype: integers beside floats are rounded.
    Inferred,
}

impl How {
    fn casting(self, from: DType, to: DType) -> Casting {
        match self {
            Self::Cast(casting) => casting,
            // Wider floats reach beyond every integer dtype.
            Self::Inferred if from.is_integer() && is_inexact(to) && to != DType::Float16 => {
                Casting::Saturate
            }
            Self::Inferred => Casting::Checked,
        }
    }

    fn number(self, number: &Number, to: DType) -> Option<Bytes> {
        match self {
            Self::Cast(casting) => number.convert(to, casting),
            Self::Inferred if number.told_as().is_integer() && is_inexact(to) => number
                .convert(to, Casting::Saturate)
                .filter(|bytes| match read(to, ByteOrder::Native, &bytes[..to.size()]) {
                    Value::Float(value) | Value::Complex(value, _) => value.is_finite(),
                    Value::Bool(_) | Value::Int(_) => true,
                }),
            Self::Inferred => number.convert(to, Casting::Checked),
        }
    }
}

fn is_inexact(dtype: DType) -> bool {
    matches!(dtype.kind(), Kind::Float | Kind::Complex)
}

/// Why a list cannot be converted.
pub(crate) enum Failure {
    /// The first value that does not fit is the one at `at`, in row-major order.
    Misfits {
        count: usize,
        at: usize,
        from: DType,
        value: Value,
    },
    /// The conversion of the value at `at` is not defined.
    Undefined {
        at: usize,
        from: DType,
        casting: Casting,
    },
    Other(CoreError),
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        Self::Other(error)
    }
}

/// Leaves whose conversion does not need the GIL.
enum Leaves<'a> {
    Elements(View<'a>),
    Numbers(&'a [Number]),
}

/// A tensor of the leaves in a dtype.
pub(crate) fn convert(
    py: Python<'_>,
    walk: &Walk<'_>,
    to: DType,
    how: How,
) -> Result<Tensor, Failure> {
    let layout = Layout::contiguous(&walk.shape, to.size())?;
    let mut parts = Vec::new();
    make_room(&mut parts, walk.parts.len())?;
    for part in &walk.parts {
        parts.push(leaves(part)?);
    }
    let run = || fill(&parts, layout.clone(), to, how);
    if layout.nbytes() > GIL_BYTES { py.detach(run) } else { run() }
}

fn leaves<'a>(part: &'a Part<'_>) -> Result<Leaves<'a>, CoreError> {
    Ok(match part {
        Part::Bools(run) => Leaves::Elements(View::from_slice(run, &[run.len()])?),
        Part::Ints(run) => Leaves::Elements(View::from_slice(run, &[run.len()])?),
        Part::Floats(run) => Leaves::Elements(View::from_slice(run, &[run.len()])?),
        Part::Numbers(run) => Leaves::Numbers(run),
        Part::Array(source) => Leaves::Elements(source.view()),
    })
}

fn fill(leaves: &[Leaves<'_>], layout: Layout, to: DType, how: How) -> Result<Tensor, Failure> {
    let mut at = 0;
    for part in leaves {
        undefined(part, at, to, how)?;
        at += part.len();
    }
    let mut buffer = pool::take(layout.nbytes())?;
    let (mut rest, mut at, mut found) = (buffer.as_mut_slice(), 0, None);
    for part in leaves {
        let len = part.len();
        let (out, after) = rest.split_at_mut((len * to.size()).min(rest.len()));
        match part {
            Leaves::Elements(view) => elements(view, out, at, to, how, &mut found)?,
            Leaves::Numbers(numbers) => {
                for (number, (at, out)) in
                    numbers.iter().zip((at..).zip(out.chunks_exact_mut(to.size())))
                {
                    match how.number(number, to) {
                        Some(bytes) => out.copy_from_slice(&bytes[..to.size()]),
                        None => misfit(&mut found, 1, at, number.told_as(), number.told()),
                    }
                }
            }
        }
        rest = after;
        at += len;
    }
    match found {
        Some(failure) => Err(failure),
        None => Ok(Tensor::new(to, ByteOrder::Native, layout, buffer.freeze(), 0)?),
    }
}

impl Leaves<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Elements(view) => view.layout().len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }
}

/// Refuses leaves whose conversion to a dtype is not defined.
fn undefined(part: &Leaves<'_>, at: usize, to: DType, how: How) -> Result<(), Failure> {
    let How::Cast(casting) = how else { return Ok(()) };
    let first = match part {
        Leaves::Elements(view) => (!view.layout().is_empty()
            && !casting.is_defined(view.dtype(), to))
        .then(|| (0, view.dtype())),
        Leaves::Numbers(numbers) => {
            let odd = numbers.iter().position(|number| !number.is_defined(to, casting));
            odd.map(|odd| (odd, numbers[odd].told_as()))
        }
    };
    first.map_or(Ok(()), |(first, from)| Err(Failure::Undefined { at: at + first, from, casting }))
}

/// Writes the elements of an array, the first at `at` of the list.
fn elements(
    view: &View<'_>,
    out: &mut [u8],
    at: usize,
    to: DType,
    how: How,
    found: &mut Option<Failure>,
) -> Result<(), Failure> {
    if view.layout().is_empty() {
        return Ok(());
    }
    let mut target = ViewMut::from_bytes(to, out, view.layout().shape())?;
    match tensorferry::convert_into(view, &mut target, how.casting(view.dtype(), to)) {
        Err(CoreError::ValuesDoNotFit(misfits)) => {
            let within = flat(&misfits.index, view.layout().shape());
            misfit(found, misfits.count.max(1), at + within, misfits.from, value_of(misfits.value));
            Ok(())
        }
        other => other.map_err(Failure::Other),
    }
}

/// A value, without the dtype that it is told as.
pub(super) fn value_of(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::Int(value),
        Scalar::Float32(value) => Value::Float(value.into()),
        Scalar::Float64(value) => Value::Float(value),
        Scalar::Complex(re, im) => Value::Complex(re, im),
    }
}

fn misfit(found: &mut Option<Failure>, more: usize, at: usize, from: DType, value: Value) {
    match found {
        Some(Failure::Misfits { count, .. }) => *count += more,
        _ => *found = Some(Failure::Misfits { count: more, at, from, value }),
    }
}

/// The position of an index in row-major order.
fn flat(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (i, len)| at * len + i)
}

/// The index of a position in row-major order.
fn unflat(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<_> = shape
        .iter()
        .rev()
        .map(|&len| {
            let i = at % len.max(1);
            at /= len.max(1);
            i
        })
        .collect();
    index.reverse();
    index
}

impl Failure {
    /// The exception, which names the value and its index.
    pub(crate) fn raised(self, py: Python<'_>, walk: &Walk<'_>, to: DType) -> PyErr {
        let (total, shape) = (walk.shape.iter().product(), &walk.shape);
        match self {
            Self::Other(error) => to_py(py, &error.into()),
            Self::Undefined { at, from, casting } => {
                let error = CoreError::CastNotDefined { from, to, casting };
                let value =
                    number_at(walk, at).map_or_else(String::new, |number| told(&number, from));
                raise(
                    py,
                    error.code(),
                    format!("{} (first: {:?}{value})", error.message(&InPython), unflat(at, shape)),
                )
            }
            Self::Misfits { count, at, from, value } => {
                let index: Dims = unflat(at, shape).into_iter().collect();
                let misfits =
                    Misfits { from, to, count, total, index, value: value.to_scalar(from) };
                let mut message = CoreError::ValuesDoNotFit(Box::new(misfits)).message(&InPython);
                if let Some(Number::Big(big)) = number_at(walk, at) {
                    message = message.replace(&value.to_scalar(from).to_string(), big.text());
                }
                let fits = Number::Value(value).convert(from, Casting::Checked).is_some();
                if !fits {
                    message = message.replace(&format!("Keep dtype=\"{from}\", or pass"), "Pass");
                    message = message.replacen(&format!("{from} -> "), "int -> ", 1);
                }
                raise(py, "values_do_not_fit", message)
            }
        }
    }
}

fn told(number: &Number, from: DType) -> String {
    format!(" = {}", number.told().to_scalar(from))
}

/// The number at `at` in row-major order; `None` if it is an array's.
fn number_at(walk: &Walk<'_>, at: usize) -> Option<Number> {
    let mut within = Range { start: 0, end: 0 };
    for part in &walk.parts {
        within = within.end..within.end + part.len();
        if within.contains(&at) {
            let at = at - within.start;
            return match part {
                Part::Bools(run) => run.get(at).map(|&value| Number::Value(Value::Bool(value))),
                Part::Ints(run) => {
                    run.get(at).map(|&value| Number::Value(Value::Int(value.into())))
                }
                Part::Floats(run) => run.get(at).map(|&value| Number::Value(Value::Float(value))),
                Part::Numbers(run) => run.get(at).cloned(),
                Part::Array(_) => None,
            };
        }
    }
    None
}
