//! Functions of the user's inside a plan.

use crate::error::{Error, Result};
use crate::user_fn::captures::Capture;
use std::fmt;
use std::sync::Arc;
use tensorferry_io::cancel::check_interrupted;

/// A function that a plan calls for its elements.
pub struct Function<In, Out> {
    name: String,
    sequential: bool,
    identity: u64,
    capture: Option<Capture>,
    call: Arc<dyn Fn(In) -> Result<Out> + Send + Sync>,
}

impl<In, Out> Function<In, Out> {
    /// A function that may be called from several threads at once, and for elements in any order.
    /// Its name stands in the plan's description, by which a saved state knows its plan.
    pub fn new(
        name: impl Into<String>,
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            sequential: false,
            identity: 0,
            capture: None,
            call: Arc::new(call),
        }
    }

    /// A function that is called in the order of the elements, by one thread at a time.
    pub fn sequential(
        name: impl Into<String>,
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            sequential: true,
            identity: 0,
            capture: None,
            call: Arc::new(call),
        }
    }

    /// The same, told from other functions of its name by a number: see
    /// [`Passes`](crate::passes::Passes).
    #[must_use]
    pub fn identified(self, identity: u64) -> Self {
        Self { identity, ..self }
    }

    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// The same function, which says what it holds: for
    /// [`Dataset::captures`](crate::dataset::Dataset::captures).
    #[must_use]
    pub fn capturing(self, capture: Capture) -> Self {
        Self { capture: Some(capture), ..self }
    }

    pub(crate) fn capture(&self) -> Option<Capture> {
        self.capture.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_sequential(&self) -> bool {
        self.sequential
    }

    pub(crate) fn call(&self, input: In) -> Result<Out> {
        check_interrupted()?;
        (self.call)(input)
    }
}

impl<In, Out> Clone for Function<In, Out> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            capture: self.capture.clone(),
            call: Arc::clone(&self.call),
            ..*self
        }
    }
}

impl<In, Out> fmt::Debug for Function<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

/// Makes any error that of a function, to be returned from one.
pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Function { source: error.into() }
}
