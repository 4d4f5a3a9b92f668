//! Nests flat components into the user's structure, in the user's format.

use super::format::{Format, Opened};
use super::plan::Plan;
use super::text;
use super::value;
use crate::runtime::attach;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};
use tensorferry::dataset::{Element, Value};

/// How to nest components.
enum Template {
    /// The component of this number.
    Leaf(usize),
    /// A part without components.
    Nothing,
    Tuple(Vec<Template>),
    Dict(Vec<(Py<PyAny>, Template)>),
    /// The result of a Python function of the list of parts: namedtuples and other classes.
    Made(Py<PyAny>, Vec<Template>),
    /// The result of a Python function of the strings in a component: see [`text`].
    Text(Py<PyAny>, usize),
}

/// Nests the components of elements, in a format.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct Packer {
    template: Template,
    len: usize,
    /// The components that hold strings: their bytes, and their row splits if they are several.
    texts: Vec<(usize, Option<usize>)>,
    format: Format,
    /// Makes the user's dataset of a nested plan; called with the component's number and the plan.
    nest: Py<PyAny>,
}

#[pymethods]
impl Packer {
    /// `skeleton` is the structure, with a component's number in each leaf, None for a part without
    /// components, and the list `[function, parts]` for an object made by `function(parts)`. The
    /// list `[function, component, None]` is for a string, of which `function` takes the bytes;
    /// `[function, component, row_splits]` for several, of which it takes a list.
    #[new]
    fn new(skeleton: &Bound<'_, PyAny>, format: &str, nest: Py<PyAny>) -> PyResult<Self> {
        guard();
        let (mut len, mut texts) = (0, Vec::new());
        let template = compile(skeleton, &mut len, &mut texts)?;
        Ok(Self { template, len, texts, format: Format::parse(skeleton.py(), format)?, nest })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.nest)?;
        self.template.traverse(&visit)
    }

    /// The structure around tensors of these values.
    #[pyo3(name = "pack")]
    fn pack_values<'py>(
        &self,
        py: Python<'py>,
        values: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let element = values.iter().map(|value| Ok(Value::Tensor(value::tensor(value, None)?)));
        self.pack(py, element.collect::<PyResult<_>>()?)
    }
}

impl Template {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Leaf(_) | Self::Nothing => Ok(()),
            Self::Tuple(parts) => parts.iter().try_for_each(|part| part.traverse(visit)),
            Self::Dict(parts) => parts.iter().try_for_each(|(key, part)| {
                visit.call(key)?;
                part.traverse(visit)
            }),
            Self::Text(make, _) => visit.call(make),
            Self::Made(make, parts) => {
                visit.call(make)?;
                parts.iter().try_for_each(|part| part.traverse(visit))
            }
        }
    }
}

fn compile(
    skeleton: &Bound<'_, PyAny>,
    len: &mut usize,
    texts: &mut Vec<(usize, Option<usize>)>,
) -> PyResult<Template> {
    if skeleton.is_none() {
        return Ok(Template::Nothing);
    }
    if let Ok(number) = skeleton.cast::<PyInt>() {
        let number = number.extract()?;
        *len = (*len).max(number + 1);
        return Ok(Template::Leaf(number));
    }
    if let Ok(parts) = skeleton.cast::<PyTuple>() {
        return Ok(Template::Tuple(
            parts.iter().map(|part| compile(&part, len, texts)).collect::<PyResult<_>>()?,
        ));
    }
    if let Ok(dict) = skeleton.cast::<PyDict>() {
        let parts = dict.iter().map(|(key, part)| Ok((key.unbind(), compile(&part, len, texts)?)));
        return Ok(Template::Dict(parts.collect::<PyResult<_>>()?));
    }
    let made = skeleton.cast::<PyList>()?.to_tuple();
    if made.len() == 3 {
        let (make, values, splits): (_, usize, Option<usize>) = made.extract()?;
        *len = (*len).max(splits.unwrap_or(values) + 1);
        texts.push((values, splits));
        return Ok(Template::Text(make, values));
    }
    let (make, parts): (Py<PyAny>, Vec<Bound<'_, PyAny>>) = made.extract()?;
    let parts = parts.iter().map(|part| compile(part, len, texts)).collect::<PyResult<_>>()?;
    Ok(Template::Made(make, parts))
}

impl Packer {
    /// The element, nested.
    pub(crate) fn pack<'py>(
        &self,
        py: Python<'py>,
        element: Element,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.pack_as(py, &self.open(py)?, element)
    }

    /// The format, ready to convert elements.
    pub(crate) fn open<'py>(&self, py: Python<'py>) -> PyResult<Opened<'py>> {
        self.format.open(py)
    }

    /// As [`Packer::pack`], in an opened format.
    pub(crate) fn pack_as<'py>(
        &self,
        py: Python<'py>,
        opened: &Opened<'py>,
        element: Element,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check(&element)?;
        if !self.texts.is_empty() {
            return self.pack_texts(py, opened, element);
        }
        if let Some(values) = opened.together(py, &element)? {
            return fill(py, &self.template, &values);
        }
        let mut values =
            element.into_iter().enumerate().map(|(at, value)| self.hand_out(py, opened, at, value));
        if matches!(self.template, Template::Leaf(_))
            && let Some(value) = values.next()
        {
            return value;
        }
        fill(py, &self.template, &values.collect::<PyResult<Vec<_>>>()?)
    }

    /// As [`Packer::pack_as`], of an element with strings.
    fn pack_texts<'py>(
        &self,
        py: Python<'py>,
        opened: &Opened<'py>,
        element: Element,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut values = Vec::with_capacity(element.len());
        for (at, value) in element.iter().enumerate() {
            let of =
                |(bytes, splits): &&(usize, Option<usize>)| *bytes == at || *splits == Some(at);
            values.push(match self.texts.iter().find(of) {
                Some((bytes, splits)) if *bytes == at => text::strings(py, &element, at, *splits)?,
                Some(_) => py.None().into_bound(py),
                None => self.hand_out(py, opened, at, value.clone())?,
            });
        }
        fill(py, &self.template, &values)
    }

    /// The element as arguments of a function: a tuple becomes several arguments, as in tf.data.
    pub(crate) fn arguments<'py>(
        &self,
        py: Python<'py>,
        element: Element,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let packed = self.pack(py, element)?;
        match (&self.template, packed.cast::<PyTuple>()) {
            (Template::Tuple(_), Ok(tuple)) => Ok(tuple.clone()),
            _ => PyTuple::new(py, [packed]),
        }
    }

    fn check(&self, element: &Element) -> PyResult<()> {
        if element.len() == self.len {
            return Ok(());
        }
        Err(PyValueError::new_err(format!(
            "an element has {} components, but {} are nested",
            element.len(),
            self.len
        )))
    }

    fn hand_out<'py>(
        &self,
        py: Python<'py>,
        opened: &Opened<'py>,
        at: usize,
        value: Value,
    ) -> PyResult<Bound<'py, PyAny>> {
        match value {
            Value::Tensor(tensor) => opened.hand_out(py, tensor),
            Value::Dataset(dataset) => attach::call(self.nest.bind(py), (at, Plan::from(dataset))),
        }
    }
}

fn part<'py>(values: &[Bound<'py, PyAny>], at: usize) -> PyResult<Bound<'py, PyAny>> {
    values.get(at).cloned().ok_or_else(|| PyTypeError::new_err("a component is missing"))
}

/// The structure, filled with the components.
fn fill<'py>(
    py: Python<'py>,
    template: &Template,
    values: &[Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match template {
        Template::Leaf(at) => part(values, *at)?,
        Template::Text(make, at) => attach::call(make.bind(py), (part(values, *at)?,))?,
        Template::Nothing => py.None().into_bound(py),
        Template::Tuple(parts) => {
            let parts =
                parts.iter().map(|part| fill(py, part, values)).collect::<PyResult<Vec<_>>>()?;
            PyTuple::new(py, parts)?.into_any()
        }
        Template::Dict(parts) => {
            let dict = PyDict::new(py);
            for (key, part) in parts {
                dict.set_item(key, fill(py, part, values)?)?;
            }
            dict.into_any()
        }
        Template::Made(make, parts) => {
            let parts =
                parts.iter().map(|part| fill(py, part, values)).collect::<PyResult<Vec<_>>>()?;
            attach::call(make.bind(py), (PyList::new(py, parts)?,))?
        }
    })
}
