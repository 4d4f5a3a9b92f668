//! Elements in a [`State`], by value.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::{Element, Value};
use crate::value::check;
use tensorferry_core::Tensor;

impl State {
    /// The tensors, which must match `spec`.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub(crate) fn tensors_as(&self, spec: &[Component]) -> Result<Vec<Tensor>> {
        let tensors = self.tensors()?;
        let element: Element = tensors.iter().cloned().map(Value::from).collect();
        check(&element, spec).map_err(|error| Error::State {
            what: format!("{error}; the state is damaged or not of this plan"),
        })?;
        Ok(tensors.to_vec())
    }

    /// An element by value.
    ///
    /// # Errors
    /// [`Error::State`] if it holds datasets.
    pub(crate) fn of_element(element: &[Value]) -> Result<Self> {
        let tensors: Result<Vec<Tensor>> =
            element.iter().map(|value| value.tensor().cloned()).collect();
        let what = "an element that holds datasets is in progress and cannot be saved. Save after \
            the next element.";
        tensors.map(Self::Tensors).map_err(|_| Error::State { what: what.into() })
    }

    /// The element that [`State::of_element`] saved, which must match `spec`.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub(crate) fn element_as(&self, spec: &[Component]) -> Result<Element> {
        Ok(self.tensors_as(spec)?.into_iter().map(Value::from).collect())
    }

    /// An element, or the error in its place.
    pub(crate) fn of_result(element: &Result<Element>) -> Result<Self> {
        match element {
            Ok(element) => Self::of_element(element),
            Err(error) => Ok(Self::of_error(error)),
        }
    }

    /// The element or error that [`State::of_result`] saved.
    ///
    /// # Errors
    /// As [`State::element_as`].
    pub(crate) fn result_as(&self, spec: &[Component]) -> Result<Result<Element>> {
        match self {
            Self::Tensors(_) => self.element_as(spec).map(Ok),
            error => error.error().map(Err),
        }
    }
}
