//! Sessions: what an iteration holds for calls of its functions, such as worker processes.

use crate::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};
use tensorferry_io::sync::fork_safe::ForkSafe;

/// A function for the calls of one iteration.
pub struct Session<In, Out> {
    call: Arc<dyn Fn(In) -> Result<Out> + Send + Sync>,
    many: Option<Arc<CallMany<In, Out>>>,
    end: Arc<dyn Fn() + Send + Sync>,
}

/// See [`Session::with_many`].
pub type ManyResults<Out> = Result<Option<Vec<Option<Result<Out>>>>>;

type CallMany<In, Out> = dyn Fn(Many<'_, In>) -> ManyResults<Out> + Send + Sync;

/// What a function is called with, several times.
#[derive(Debug)]
pub enum Many<'a, In> {
    /// These inputs.
    Inputs(Vec<In>),
    /// The elements of the plan that the function maps at these indices.
    Read {
        /// The epoch of the plan.
        epoch: u64,
        /// The seeds that the plan's stages drew.
        seeds: &'a [u64],
        /// The elements, each less than the plan's cardinality.
        indices: &'a [u64],
    },
}

impl<In, Out> Session<In, Out> {
    /// A session that calls `call`. The iteration calls `end` when it ends, maybe while calls are
    /// in progress.
    pub fn new(
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { call: Arc::new(call), many: None, end: Arc::new(end) }
    }

    /// The same session, which is called with several inputs at once. `many` returns a result for
    /// each, or `None` in the place of one that [`Session::new`]'s function is to be called for; or
    /// `None` if it cannot read elements itself.
    #[must_use]
    pub fn with_many(
        self,
        many: impl Fn(Many<'_, In>) -> ManyResults<Out> + Send + Sync + 'static,
    ) -> Self {
        Self { many: Some(Arc::new(many)), ..self }
    }

    pub(crate) fn call_many(&self, inputs: Many<'_, In>) -> ManyResults<Out> {
        self.many.as_ref().map_or(Ok(None), |many| many(inputs))
    }

    pub(crate) fn call(&self, input: In) -> Result<Out> {
        (self.call)(input)
    }
}

impl<In, Out> Clone for Session<In, Out> {
    fn clone(&self) -> Self {
        let (call, end) = (Arc::clone(&self.call), Arc::clone(&self.end));
        Self { call, many: self.many.clone(), end }
    }
}

impl<In, Out> fmt::Debug for Session<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Makes a session.
pub(crate) struct Begin<In, Out>(
    pub(crate) Box<dyn Fn() -> Result<Session<In, Out>> + Send + Sync>,
);

type Anything = dyn Any + Send + Sync;

/// A session of a function that may no longer exist.
struct Begun {
    function: Weak<Anything>,
    session: Arc<Anything>,
    end: Arc<dyn Fn() + Send + Sync>,
}

/// The sessions of an iteration. Functions that no longer exist lose theirs when another begins: a
/// stage may make datasets, and functions, without end. A forked process begins its own.
pub(crate) struct Sessions(ForkSafe<All>);

#[derive(Default)]
struct All {
    begun: Vec<Begun>,
    /// The iteration is over: no session begins.
    closed: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self(ForkSafe::reset_by_fork(All::default()))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The session of a function, which begins with the first call.
    ///
    /// # Errors
    /// As beginning it.
    pub(crate) fn get<In: 'static, Out: 'static>(
        &self,
        begin: &Arc<Begin<In, Out>>,
    ) -> Result<Session<In, Out>> {
        if let Some(session) = self.find(begin) {
            return Ok(session);
        }
        // Outside the lock: it may run any code. Another thread may be faster.
        let session = (begin.0)()?;
        let function: Arc<Anything> = Arc::clone(begin) as Arc<Anything>;
        let own = Begun {
            function: Arc::downgrade(&function),
            session: Arc::new(session.clone()),
            end: Arc::clone(&session.end),
        };
        let (found, ended) = self.0.lock().add(own);
        end_all(ended);
        match found.and_then(|found| found.downcast_ref().cloned()) {
            Some(session) => Ok(session),
            None => Err(Error::Interrupted),
        }
    }

    /// Ends all sessions, maybe while calls are in progress. Further calls begin others.
    pub(crate) fn end(&self) {
        let all = std::mem::take(&mut self.0.lock().begun);
        end_all(all);
    }

    /// As [`Sessions::end`], and begins no others: further calls are interrupted.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.end();
    }

    fn find<In: 'static, Out: 'static>(
        &self,
        begin: &Arc<Begin<In, Out>>,
    ) -> Option<Session<In, Out>> {
        let all = self.0.lock();
        let begun = all.begun.iter().find(|begun| is(&begun.function, begin.as_ref()))?;
        begun.session.downcast_ref::<Session<In, Out>>().cloned()
    }
}

impl All {
    /// The session of the function: `own`, or one that began earlier; `None` if none may begin.
    /// Also returns the sessions to end.
    fn add(&mut self, own: Begun) -> (Option<Arc<Anything>>, Vec<Begun>) {
        let same = self.begun.iter().find(|other| other.function.ptr_eq(&own.function));
        if self.closed || same.is_some() {
            return (same.map(|same| Arc::clone(&same.session)), vec![own]);
        }
        let is_live = |begun: &Begun| begun.function.strong_count() > 0;
        let (live, ended) = std::mem::take(&mut self.begun).into_iter().partition(is_live);
        self.begun = live;
        let session = Arc::clone(&own.session);
        self.begun.push(own);
        (Some(session), ended)
    }
}

fn end_all(sessions: Vec<Begun>) {
    sessions.into_iter().for_each(|begun| (begun.end)());
}

/// Whether the key is that of this function.
fn is<In, Out>(key: &Weak<Anything>, begin: &Begin<In, Out>) -> bool {
    std::ptr::addr_eq(key.as_ptr(), begin)
}
