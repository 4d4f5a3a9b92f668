//! The component that an error is about.

use std::fmt;
use std::sync::Arc;

/// A component of a dataset's elements, as an error names it: `component 5`, `component "label"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentId {
    /// Which, counted in the order of the flattened structure.
    pub at: usize,
    /// What its user calls it: `"label"`, `["x"]["y"]`, `[1]`. `None` where only the number is
    /// known.
    pub name: Option<Arc<str>>,
}

impl ComponentId {
    pub(super) fn named(&mut self, names: &[Arc<str>]) {
        if self.name.is_none() {
            self.name = names.get(self.at).cloned();
        }
    }

    pub(super) fn words(&self) -> &dyn fmt::Display {
        match &self.name {
            Some(name) => name,
            None => &self.at,
        }
    }
}

impl From<usize> for ComponentId {
    fn from(at: usize) -> Self {
        Self { at, name: None }
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {}", self.words())
    }
}
