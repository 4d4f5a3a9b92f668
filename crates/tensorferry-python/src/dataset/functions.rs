//! Stages that call Python functions. Each takes the function, packers for its arguments, and the
//! components of its flattened result.

use super::callee::{self, Callee, Returned, attached};
use super::captured::Running;
use super::overlap::Overlap;
use super::packer::Packer;
use super::plan::Plan;
use super::{session, value};
use crate::errors::{OrRaise, to_py};
use crate::runtime::attach;
use crate::runtime::exception::{self, exception};
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::Arc;
use tensorferry::dataset::{CancelToken, Dataset, Element, Function, Generator, Many, Session};

/// The name of a function, and a number that tells it from others of that name.
pub(crate) type Name = (String, u64);

/// A function that is called in the order of the elements.
pub(crate) fn named<In, Out>(
    (name, identity): Name,
    call: impl Fn(In) -> tensorferry::Result<Out> + Send + Sync + 'static,
) -> Function<In, Out> {
    Function::sequential(name, call).identified(identity)
}

/// A predicate of elements.
fn predicate(
    stage: &'static str,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
) -> Function<Element, bool> {
    let callee = Callee::new(function, vec![packer]);
    let captured = callee.captured();
    named(name, move |element| callee.call(element, |kept| value::truth(&kept, stage)))
        .capturing(captured)
}

/// What a function makes of each element: it returns a flat list of components.
///
/// `calls` threads call it at once; 0 for one call at a time, in order. If there is `begin`, each
/// iteration calls what `begin()` returns instead, with a list of the components as tensors, and
/// its `close()` at the end. With `batch_size`, the function takes and returns batches, whose rows
/// are the elements. `strings` are the components of elements that are one string, and those of
/// results with the bytes of several.
#[pyfunction]
#[pyo3(signature = (
    plan, name, function, packer, spec, names, calls = 0, begin = None, batch_size = None,
    strings = (vec![], vec![])
))]
#[expect(clippy::too_many_arguments, reason = "one Python call")]
pub(crate) fn map(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
    spec: &Bound<'_, PyAny>,
    names: Vec<String>,
    calls: usize,
    begin: Option<Py<PyAny>>,
    batch_size: Option<usize>,
    strings: (Vec<usize>, Vec<usize>),
) -> PyResult<Plan> {
    guard();
    let returned = Returned::new(spec, names)?;
    let in_sessions = begin.is_some();
    let callee = Arc::new(Callee::in_sessions(function, vec![packer], begin));
    let (spec, captured) = (returned.spec.clone(), callee.captured());
    let (own, promised) = (Arc::clone(&callee), returned.clone());
    let overlap = (calls > 1 && !in_sessions).then(|| Overlap::new(&name.0));
    let call = move |element| {
        let read = |flat: Bound<'_, PyAny>| promised.element(&flat);
        promised.checked(match &overlap {
            Some(overlap) => own.call_beside(overlap, element, read)?,
            None => own.call(element, read)?,
        })
    };
    let mut function = match calls {
        0 => named(name, call),
        calls => Function::parallel(name.0, calls, call).identified(name.1),
    };
    if in_sessions {
        function = function.in_sessions(move || {
            let (session, returned) = (Arc::new(session::begin(&callee)?), returned.clone());
            let (ending, many) = (Arc::clone(&session), Arc::clone(&session));
            let promised = returned.clone();
            let call = move |element: Element| {
                returned.checked(session.call(element, |flat| returned.element(&flat))?)
            };
            let call_many = move |inputs: Many<'_, Element>| many.call_many(inputs, &promised);
            Ok(Session::new(call, move || ending.end()).with_many(call_many))
        });
        function = function.taking_many();
    }
    let (dataset, function) = (plan.get().dataset(), function.capturing(captured));
    Ok(match batch_size {
        None => dataset.map(function, spec).into(),
        Some(size) => dataset
            .map_batches_with(size, function, spec, &strings.0, &strings.1)
            .or_raise(plan.py())?
            .into(),
    })
}

/// How many CPUs the process may use.
#[pyfunction]
pub(crate) fn cpus() -> usize {
    guard();
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The elements for which a function returns true.
#[pyfunction]
pub(crate) fn filter(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
) -> Plan {
    guard();
    plan.get().dataset().filter(predicate("filter", name, function, packer)).into()
}

/// The elements before the first for which a function returns false.
#[pyfunction]
pub(crate) fn take_while(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
) -> Plan {
    guard();
    plan.get().dataset().take_while(predicate("take_while", name, function, packer)).into()
}

/// The elements of what `function()` returns: a Python iterator over flat lists.
#[pyfunction]
pub(crate) fn from_generator(
    name: Name,
    function: Py<PyAny>,
    spec: &Bound<'_, PyAny>,
    names: Vec<String>,
) -> PyResult<Plan> {
    guard();
    let returned = Returned::new(spec, names)?;
    let (callee, spec) = (Callee::new(function, Vec::new()), returned.spec.clone());
    let captured = callee.captured();
    let make = move |()| {
        Ok(Box::new(Elements { iterator: callee.iterate()?, returned: returned.clone() })
            as Generator)
    };
    Ok(Dataset::from_generator(named(name, make).capturing(captured), spec).into())
}

/// The elements of a Python iterator, until it ends or raises.
struct Elements {
    iterator: Running,
    returned: Returned,
}

impl Iterator for Elements {
    type Item = tensorferry::Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = attached(|py| {
            let (_open, iterator) = self.iterator.open(py).ok_or_else(callee::gone)?;
            let next = iterator.getattr(intern!(py, "__next__"))?;
            match attach::call(&next, ()) {
                Ok(flat) => self.returned.element(&flat).map(Some),
                Err(end) => {
                    let end = exception(py, end);
                    let ended = end.is_instance_of::<PyStopIteration>();
                    if ended { Ok(None) } else { Err(exception::raised(end)) }
                }
            }
        });
        next.transpose().map(|next| self.returned.checked(next?))
    }
}

/// A running state and an element to the next state and an element: `function` returns both as one
/// flat list.
#[pyfunction]
pub(crate) fn scan(
    plan: &Bound<'_, Plan>,
    initial: &Bound<'_, PyList>,
    name: Name,
    function: Py<PyAny>,
    packers: (Py<Packer>, Py<Packer>),
    specs: (Bound<'_, PyAny>, Bound<'_, PyAny>),
    names: (Vec<String>, Vec<String>),
) -> PyResult<Plan> {
    guard();
    let (states, results) = (Returned::new(&specs.0, names.0)?, Returned::new(&specs.1, names.1)?);
    let (initial, result_spec) = (states.element(initial)?, results.spec.clone());
    let callee = Callee::new(function, vec![packers.0, packers.1]);
    let captured = callee.captured();
    let step = move |(state, element): (Element, Element)| {
        let (state, result) = callee.call_each([state, element], |flat| {
            let (flat, len) = (flat.cast_into::<PyList>()?, states.spec.len());
            Ok((
                states.element(&flat.get_slice(0, len))?,
                results.element(&flat.get_slice(len, flat.len()))?,
            ))
        })?;
        Ok((states.checked_state(state)?, results.checked(result)?))
    };
    Ok(plan
        .get()
        .dataset()
        .scan(initial, named(name, step).capturing(captured), result_spec)
        .or_raise(plan.py())?
        .into())
}

/// All elements folded into a state, which is nested by `packer`.
#[pyfunction]
pub(crate) fn fold<'py>(
    plan: &Bound<'py, Plan>,
    initial: &Bound<'py, PyList>,
    name: Name,
    function: Py<PyAny>,
    packers: (Py<Packer>, Py<Packer>),
    spec: &Bound<'py, PyAny>,
    names: Vec<String>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let py = plan.py();
    let states = Returned::new(spec, names)?;
    let initial = states.element(initial)?;
    let result = packers.0.clone_ref(py);
    let callee = Callee::new(function, vec![packers.0, packers.1]);
    let step = move |(state, element): (Element, Element)| {
        states.checked_state(callee.call_each([state, element], |flat| states.element(&flat))?)
    };
    let dataset = plan.get().dataset();
    let step = named(name, step);
    let (folded, interrupted) =
        interrupt::run(py, || dataset.fold(initial, &step, &CancelToken::default()));
    interrupted?;
    result.get().pack(py, folded.map_err(|error| to_py(py, &error))?)
}
