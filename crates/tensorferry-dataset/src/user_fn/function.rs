//! User functions in a plan.

use crate::error::{Error, Result};
use crate::user_fn::sessions::{Begin, Many, ManyResults, Session, Sessions};
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

    /// How many threads may call it at once: see [`Function::parallel`]. 0 for a function without
    /// threads of its own.
    fn calls(&self) -> usize;

    /// Its name.
    fn name(&self) -> &str;

    /// Whether calls in a session take several elements: see [`Session::with_many`].
    fn takes_many(&self) -> bool;

    /// See [`Function::identified`].
    fn identity(&self) -> u64;

    /// See [`Function::capturing`].
    fn capture(&self) -> Option<Capture>;
}

/// A function that a plan calls for its elements.
pub struct Function<In, Out> {
    name: String,
    sequential: bool,
    calls: usize,
    identity: u64,
    capture: Option<Capture>,
    call: Arc<dyn Fn(In) -> Result<Out> + Send + Sync>,
    begin: Option<Arc<Begin<In, Out>>>,
    takes_many: bool,
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
            calls: 0,
            identity: 0,
            capture: None,
            call: Arc::new(call),
            begin: None,
            takes_many: false,
        }
    }

    /// A function that is called in the order of the elements, by one thread at a time.
    pub fn sequential(
        name: impl Into<String>,
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
    ) -> Self {
        Self { sequential: true, ..Self::new(name, call) }
    }

    /// A function that takes long: an iteration calls it on up to `calls` threads of its own, for
    /// elements ahead of the consumer. As for a sequential function, each element is computed once
    /// in a pass.
    pub fn parallel(
        name: impl Into<String>,
        calls: usize,
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
    ) -> Self {
        Self { sequential: true, calls: calls.max(1), ..Self::new(name, call) }
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

    /// The same function, which an iteration calls through a session of its own: what `begin`
    /// returns at the first call. Calls outside an iteration do without.
    #[must_use]
    pub fn in_sessions(
        self,
        begin: impl Fn() -> Result<Session<In, Out>> + Send + Sync + 'static,
    ) -> Self {
        Self { begin: Some(Arc::new(Begin(Box::new(begin)))), ..self }
    }

    /// The same function, whose sessions take several elements in a call:
    /// [`Session::with_many`].
    #[must_use]
    pub fn taking_many(self) -> Self {
        Self { takes_many: true, ..self }
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

    /// As [`Function::call`], through the session of an iteration if there is one.
    pub(crate) fn call_in(&self, sessions: Option<&Sessions>, input: In) -> Result<Out>
    where
        In: 'static,
        Out: 'static,
    {
        match (sessions, &self.begin) {
            (Some(sessions), Some(begin)) => {
                check_interrupted()?;
                sessions.get(begin)?.call(input)
            }
            _ => self.call(input),
        }
    }

    /// Calls it for several inputs, through the session of an iteration: see [`Many`]. `None` if
    /// there is none that takes several, or as it says.
    pub(crate) fn call_many(
        &self,
        sessions: Option<&Sessions>,
        inputs: Many<'_, In>,
    ) -> ManyResults<Out>
    where
        In: 'static,
        Out: 'static,
    {
        let (Some(sessions), Some(begin)) = (sessions, &self.begin) else { return Ok(None) };
        check_interrupted()?;
        sessions.get(begin)?.call_many(inputs)
    }
}

impl<In, Out> UserFn for Function<In, Out> {
    fn is_sequential(&self) -> bool {
        self.sequential
    }

    fn calls(&self) -> usize {
        self.calls
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn takes_many(&self) -> bool {
        self.takes_many
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
            begin: self.begin.clone(),
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
