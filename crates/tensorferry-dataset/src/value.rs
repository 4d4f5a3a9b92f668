//! The values of an element, and the check of an element against a specification.

use crate::error::{Error, Result};
use crate::promise::keeps;
use crate::spec::Component;
use crate::stage::Value;
use tensorferry_core::Tensor;

impl Value {
    /// The tensor.
    ///
    /// # Errors
    /// [`Error::ElementMismatch`] of a nested dataset.
    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Dataset(_) => Err(Error::ElementMismatch {
                what: "the element holds a dataset, not a tensor".into(),
            }),
        }
    }

    /// The tensor, by value.
    ///
    /// # Errors
    /// As [`Value::tensor`].
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Dataset(_) => Err(Error::ElementMismatch {
                what: "the element holds a dataset, not a tensor".into(),
            }),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// Checks an element that a function or a generator made.
///
/// # Errors
/// [`Error::ElementMismatch`], naming the component.
pub fn check(element: &[Value], spec: &[Component]) -> Result<()> {
    if element.len() != spec.len() {
        let what = format!(
            "{} components where the dataset's element_spec has {}",
            element.len(),
            spec.len()
        );
        return Err(Error::ElementMismatch { what });
    }
    for (at, (value, part)) in element.iter().zip(spec).enumerate() {
        let wrong = match (value, part) {
            (Value::Tensor(tensor), Component::Tensor(spec)) => match spec.check(tensor) {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            },
            (Value::Dataset(dataset), Component::Dataset(spec))
                if keeps(dataset.spec(), spec) == Some(true) =>
            {
                continue;
            }
            (Value::Dataset(dataset), _) => {
                format!(
                    "{} where the dataset's element_spec says {part}",
                    Component::Dataset(dataset.spec().to_vec())
                )
            }
            (Value::Tensor(_), Component::Dataset(_)) => {
                format!("a tensor where the dataset's element_spec says {part}")
            }
        };
        return Err(Error::ElementMismatch { what: wrong }.in_component(at));
    }
    Ok(())
}
