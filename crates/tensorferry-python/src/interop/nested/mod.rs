//! Python numbers, nested lists of numbers and arrays, and arrays of objects, read the same way by
//! all functions.
//!
//! # Rationale
//! NumPy converts a list to one dtype before values can be checked: `[2**63 + 1, 1.0]` becomes
//! float64, which changes the first number. So leaves are read one by one, exactly, and converted
//! to the requested dtype, or to the one that TensorFlow infers.

mod convert;
mod infer;
mod number;
mod range;
mod walk;

use crate::errors::{OrRaise, raise};
use crate::interop::kinds;
use crate::interop::source::{Elements, Sharing, Source};
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use convert::How;
use infer::Inferred;
use number::Number;
use pyo3::prelude::*;
use tensorferry::error::CoreError;
use tensorferry::{Casting, DType, Kind, Scalar, Tensor};
use walk::{Part, Walk};

pub(crate) use infer::Rule;
pub(crate) use walk::{Leave, Unread, is_plain};

/// An argument that stands for an array.
pub(crate) enum Input<'py> {
    /// Elements of one dtype.
    Elements(Source<'py>),
    /// Values without one.
    Values(Nested<'py>),
}

impl<'py> Input<'py> {
    /// Reads a value.
    pub(crate) fn read(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::wanted(value, None, Casting::Checked, None)
    }

    /// Reads a value as elements of the dtype that it has, or that TensorFlow infers.
    pub(crate) fn source(value: &Bound<'py, PyAny>) -> PyResult<Source<'py>> {
        Self::read(value)?.into_source(value.py())
    }

    /// Reads a value to be converted to `dtype`; columns of a table are converted one by one.
    pub(crate) fn wanted(
        value: &Bound<'py, PyAny>,
        dtype: Option<DType>,
        casting: Casting,
        copy: Option<bool>,
    ) -> PyResult<Self> {
        // The common case.
        if let Some(Some(known)) = Source::known(value)? {
            return Ok(Self::Elements(known));
        }
        if !is_plain(value) {
            if value.is_instance(walk::generic(value.py())?)?
                && let Some(Elements::Source(source)) =
                    Source::read(&kinds::as_array(value)?, None, None)?
            {
                return Ok(Self::Elements(source));
            }
            if let Some(Elements::Source(source)) =
                Source::read(value, dtype.map(|dtype| (dtype, casting)), copy)?
            {
                return Ok(Self::Elements(source));
            }
        }
        Nested::read(value, Leave::Nothing).map(Self::Values).map_err(|stop| stop.raised(value))
    }

    /// The elements, of the dtype that the value has or that TensorFlow infers.
    pub(crate) fn into_source(self, py: Python<'py>) -> PyResult<Source<'py>> {
        match self {
            Self::Elements(source) => Ok(source),
            Self::Values(values) => values.inferred(py, Rule::Own).map(Source::frozen),
        }
    }

    /// A tensor of the values.
    pub(crate) fn to_tensor(
        &self,
        py: Python<'py>,
        dtype: Option<DType>,
        casting: Casting,
        sharing: Sharing,
    ) -> PyResult<Tensor> {
        match self {
            Self::Elements(source) => source.to_tensor(py, dtype, casting, sharing),
            Self::Values(values) => values.to_tensor(py, dtype, casting, sharing.copy, Rule::Own),
        }
    }

    /// A tensor of a single number in a dtype that holds it exactly; of other values, in the dtype
    /// that they have.
    pub(crate) fn to_exact(&self, py: Python<'py>, sharing: Sharing) -> PyResult<Tensor> {
        let dtype = match self {
            Self::Values(values) => values.exact_dtype(),
            Self::Elements(_) => None,
        };
        self.to_tensor(py, dtype, Casting::Checked, sharing)
    }
}

/// Numbers and arrays in the shape of one array.
pub(crate) struct Nested<'py> {
    walk: Walk<'py>,
    /// Whether it is an array of objects, whose dtype cannot be inferred.
    objects: bool,
}

impl<'py> Nested<'py> {
    /// Reads a number, a nested list, or an array of objects.
    pub(crate) fn read(
        value: &Bound<'py, PyAny>,
        leave: Leave,
    ) -> std::result::Result<Self, Unread> {
        let mut walk = Walk::new(leave);
        let objects = !is_plain(value)
            && matches!(Source::read(value, None, None)?, Some(Elements::Objects(_)));
        walk.value(value)?;
        Ok(Self { walk, objects })
    }

    /// A tensor of the values in a dtype, or in the one that a rule infers.
    pub(crate) fn to_tensor(
        &self,
        py: Python<'py>,
        dtype: Option<DType>,
        casting: Casting,
        copy: Option<bool>,
        rule: Rule,
    ) -> PyResult<Tensor> {
        if copy == Some(false) {
            let why = "Python numbers are not an array. Pass a NumPy array, or allow a copy with \
                copy=None.";
            return Err(CoreError::NotShareable { why }).or_raise(py);
        }
        match dtype {
            Some(dtype) => self.convert(py, dtype, How::Cast(casting)),
            None => self.inferred(py, rule),
        }
    }

    /// A tensor of the values in the dtype that a rule infers.
    pub(crate) fn inferred(&self, py: Python<'py>, rule: Rule) -> PyResult<Tensor> {
        if self.objects {
            let message = "an array of dtype object does not say the dtype of its values. Pass \
                dtype=, with which each value is checked, or convert it with array.astype first.";
            return Err(raise(py, "unsupported_dtype", message.to_owned()));
        }
        match self.walk.inference.inferred(rule) {
            Inferred::Dtype(dtype) => self.convert(py, dtype, How::Inferred),
            Inferred::Exact(DType::Int64)
                if !self.fits(py, DType::Int64) && self.fits(py, DType::UInt64) =>
            {
                self.convert(py, DType::UInt64, How::Cast(Casting::Checked))
            }
            Inferred::Exact(dtype) => self.convert(py, dtype, How::Cast(Casting::Checked)),
            Inferred::Integers if self.fits(py, DType::Int32) => {
                self.convert(py, DType::Int32, How::Inferred)
            }
            Inferred::Integers => self.convert(py, DType::Int64, How::Inferred),
            Inferred::Mixed => {
                let message = "a list mixes bools, complex numbers and others, which have no \
                    common \
                    dtype. Pass dtype=, or numpy.array(value, dtype).";
                Err(raise(py, "argument", message.to_owned()))
            }
            Inferred::Several(dtypes) => {
                let names: Vec<_> = dtypes.iter().map(|dtype| dtype.name()).collect();
                let message = format!(
                    "a list is stacked into one tensor, but its parts are of {}. Cast them to one \
                    dtype.",
                    names.join(", ")
                );
                Err(raise(py, "wrong_type", message))
            }
        }
    }

    /// The dtype that holds a single number exactly.
    fn exact_dtype(&self) -> Option<DType> {
        match self.walk.parts.as_slice() {
            [Part::Bools(_)] => Some(DType::Bool),
            [Part::Ints(_)] => Some(DType::Int64),
            [Part::Floats(_)] => Some(DType::Float64),
            [Part::Numbers(numbers)] => numbers.first().map(Number::told_as),
            _ => None,
        }
    }

    fn convert(&self, py: Python<'py>, to: DType, how: How) -> PyResult<Tensor> {
        convert::convert(py, &self.walk, to, how)
            .map_err(|failure| failure.raised(py, &self.walk, to))
    }

    /// Whether every value fits a dtype.
    pub(crate) fn fits(&self, py: Python<'_>, to: DType) -> bool {
        convert::convert(py, &self.walk, to, How::Cast(Casting::Checked)).is_ok()
    }

    /// The least and greatest value; `None` if there are none.
    pub(crate) fn range(&self, py: Python<'_>) -> PyResult<Option<(Scalar, Scalar)>> {
        let mut numbers = self
            .walk
            .parts
            .iter()
            .filter_map(|part| if let Part::Numbers(run) = part { Some(run) } else { None })
            .flatten();
        match numbers
            .find_map(|number| if let Number::Big(big) = number { Some(big) } else { None })
        {
            Some(big) => Err(raise(
                py,
                "values_do_not_fit",
                format!("{} is an integer that no dtype holds.", big.text()),
            )),
            None => range::range(&self.walk).or_raise(py),
        }
    }

    /// The narrowest integer dtype that holds the values.
    pub(crate) fn smallest_dtype(&self, py: Python<'py>) -> PyResult<DType> {
        if !self.walk.parts.is_empty() && self.walk.parts.iter().all(Part::is_bool) {
            return Ok(DType::Bool);
        }
        let Some((low, high)) = range::range(&self.walk).or_raise(py)? else {
            return Ok(DType::UInt8);
        };
        let kind = if range::is_negative(low) { Kind::Signed } else { Kind::Unsigned };
        let widest = if kind == Kind::Signed { DType::Int64 } else { DType::UInt64 };
        let candidates = DType::ALL
            .into_iter()
            .filter(|dtype| dtype.kind() == kind && range::holds(*dtype, low, high));
        let smallest = candidates.min_by_key(|dtype| dtype.size()).unwrap_or(widest);
        self.convert(py, smallest, How::Cast(Casting::Checked)).map(|_| smallest)
    }
}

/// A list or number as a tensor, of the dtype that tf.data infers, or that a list in a function's
/// `result` has.
#[pyfunction]
pub(crate) fn stacked<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    result: bool,
) -> PyResult<Bound<'py, PyTensor>> {
    guard();
    let tensor = match Input::read(value)? {
        Input::Elements(source) => source.to_tensor(
            py,
            None,
            Casting::Checked,
            Sharing { copy: None, framework: false },
        )?,
        Input::Values(values) => {
            values.inferred(py, if result { Rule::Result } else { Rule::Data })?
        }
    };
    PyTensor::object(py, tensor)
}
