//! User functions in a plan.

use crate::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use tensorferry_io::cancel::check_interrupted;

/// An object that a function holds, for a garbage collector.
pub type Capture = Arc<dyn Any + Send + Sync>;

/// The captures of a plan's functions, without duplicates; `None` if there are none.
pub(crate) type Captures = Option<Arc<[Capture]>>;

/// The properties of a [`Function`] that do not depend on its types.
pub(crate) trait UserFn {
    fn is_sequential(&self) -> bool;

    /// See [`Function::identified`].
    fn identity(&self) -> u64;

    /// See [`Function::capturing`].
    fn capture(&self) -> Option<Capture>;
}

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
    /// Its name is part of the plan's description, by which a checkpoint recognises its plan.
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

    /// The same function with a number that distinguishes it from others of its name: see
    /// [`EpochCounter`](crate::epochs::EpochCounter).
    #[must_use]
    pub fn identified(self, identity: u64) -> Self {
        Self { identity, ..self }
    }

    /// The same function, which reports what it holds to
    /// [`Dataset::captures`](crate::stage::Dataset::captures).
    #[must_use]
    pub fn capturing(self, capture: Capture) -> Self {
        Self { capture: Some(capture), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn call(&self, input: In) -> Result<Out> {
        check_interrupted()?;
        (self.call)(input)
    }
}

impl<In, Out> UserFn for Function<In, Out> {
    fn is_sequential(&self) -> bool {
        self.sequential
    }

    fn identity(&self) -> u64 {
        self.identity
    }

    fn capture(&self) -> Option<Capture> {
        self.capture.clone()
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

/// Wraps any error, to be returned from a user function.
pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Function { source: error.into() }
}
