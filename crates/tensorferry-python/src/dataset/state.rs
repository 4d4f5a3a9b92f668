//! States of iterations as dicts.

use crate::errors::{OrRaise, raise};
use crate::runtime::exception::{exception, raised};
use crate::runtime::unwinding::guard;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyTuple};
use tensorferry::dataset::{Checkpoint, Epoch};

/// The version of these dicts.
const VERSION: u32 = 1;

/// The checkpoint of a dict.
fn parse_state(state: &Bound<'_, PyAny>) -> PyResult<Checkpoint> {
    let py = state.py();
    let wrong = |what: &str| raise(py, "state", format!("state_dict: {what}"));
    let Ok(state) = state.cast::<PyDict>() else {
        return Err(wrong("the result of state_dict() was expected, a dict, or a list of them"));
    };
    let (version, data) = (state.get_item("version")?, state.get_item("data")?);
    if !version.is_some_and(|version| version.eq(VERSION).unwrap_or(false)) {
        return Err(wrong("the dict is not one that this version of tensorferry made"));
    }
    let bytes = data.map(|data| py.import("base64")?.call_method1("b64decode", (data,)));
    let bytes = match bytes {
        Some(Ok(bytes)) => bytes,
        Some(Err(error)) => {
            let error = exception(py, error);
            if error.is_instance_of::<PyValueError>() || error.is_instance_of::<PyTypeError>() {
                return Err(wrong("its data are damaged"));
            }
            return Err(raised(error)); // not about the data, such as missing memory
        }
        None => return Err(wrong("its data are damaged")),
    };
    let saved = Checkpoint::from_bytes(bytes.cast::<PyBytes>()?.as_bytes()).or_raise(py)?;
    let number = |name: &str| {
        let value = state.get_item(name)?;
        match value
            .as_ref()
            .filter(|value| !value.is_instance_of::<PyBool>())
            .map(|value| value.extract::<u64>())
        {
            Some(Ok(number)) => Ok(number),
            _ => {
                let is = value.map_or_else(|| "is missing".into(), |value| format!("is {value}"));
                Err(wrong(&format!("{name} has to be a whole number of at least 0, and {is}")))
            }
        }
    };
    // A changed position or epoch is used if elements are computed from their index.
    saved.moved(Epoch(number("epoch")?), number("position")?).or_raise(py)
}

/// The dict of a checkpoint.
pub(crate) fn state_dict<'py>(py: Python<'py>, saved: &Checkpoint) -> PyResult<Bound<'py, PyDict>> {
    let bytes = saved.try_to_bytes().or_raise(py)?;
    let bytes = PyBytes::new_with(py, bytes.len(), |out| {
        out.copy_from_slice(&bytes);
        Ok(())
    })?;
    let text = py
        .import("base64")?
        .call_method1("b64encode", (bytes,))?
        .call_method1("decode", ("ascii",))?;
    let state = PyDict::new(py);
    state.set_item("version", VERSION)?;
    state.set_item("epoch", saved.epoch().0)?;
    state.set_item("position", saved.position())?;
    state.set_item("data", text)?;
    Ok(state)
}

/// The checkpoints of a dict or a list of them, and whether it is a list.
pub(crate) fn checkpoints(state: &Bound<'_, PyAny>) -> PyResult<(Vec<Checkpoint>, bool)> {
    if state.is_instance_of::<PyList>() || state.is_instance_of::<PyTuple>() {
        let saved: PyResult<Vec<_>> = state.try_iter()?.map(|state| parse_state(&state?)).collect();
        return Ok((saved?, true));
    }
    Ok((vec![parse_state(state)?], false))
}

/// One state of the states of all shards.
#[pyfunction]
pub(crate) fn merge_states<'py>(states: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    guard();
    let py = states.py();
    let (saved, _) = checkpoints(states)?;
    state_dict(py, &Checkpoint::merge(&saved).or_raise(py)?)
}
