//! Specifications of elements: [`Component`] and [`Cardinality`].

use crate::error::{Error, Hint, Result};
use std::fmt;
use tensorferry_core::TensorSpec;

/// One component of a dataset's elements. Nested structures (tuples, dicts) are flattened, in
/// order, by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A tensor.
    Tensor(TensorSpec),
    /// A nested dataset, as `window` makes.
    Dataset(Vec<Component>),
}

impl Component {
    /// The specification of a tensor; `None` for a nested dataset.
    #[must_use]
    pub fn tensor(&self) -> Option<&TensorSpec> {
        match self {
            Self::Tensor(spec) => Some(spec),
            Self::Dataset(_) => None,
        }
    }

    /// Components as they appear in a description: `(int64[], uint8[28, 28])`.
    pub(crate) fn list(parts: &[Self]) -> String {
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        format!("({})", parts.join(", "))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(spec) => spec.fmt(f),
            Self::Dataset(parts) => write!(f, "dataset{}", Self::list(parts)),
        }
    }
}

/// The tensor specifications of a stage that cannot take nested datasets.
///
/// # Errors
/// [`Error::Argument`] naming the stage if a component is a dataset.
pub(crate) fn tensors<'a>(
    spec: &'a [Component],
    stage: &'static str,
) -> Result<Vec<&'a TensorSpec>> {
    let all: Option<Vec<_>> = spec.iter().map(Component::tensor).collect();
    all.ok_or_else(|| {
        let what = "an element holds datasets, not tensors.".into();
        Error::Argument { stage, what }.with_hint(Hint::FlattenWindows)
    })
}

/// How many elements a dataset has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// This many.
    Finite(u64),
    /// It never ends.
    Infinite,
    /// Known only after iterating.
    Unknown,
}

impl Cardinality {
    /// The number, if it is finite and known.
    #[must_use]
    pub fn finite(self) -> Option<u64> {
        match self {
            Self::Finite(n) => Some(n),
            _ => None,
        }
    }

    /// The cardinality of the first `count` elements.
    #[must_use]
    pub(crate) fn at_most(self, count: u64) -> Self {
        match self {
            Self::Finite(n) => Self::Finite(n.min(count)),
            Self::Infinite => Self::Finite(count),
            Self::Unknown => Self::Unknown,
        }
    }

    /// The cardinality with `change` applied to a finite number of elements.
    #[must_use]
    pub(crate) fn map(self, change: impl FnOnce(u64) -> u64) -> Self {
        match self {
            Self::Finite(n) => Self::Finite(change(n)),
            other => other,
        }
    }
}
