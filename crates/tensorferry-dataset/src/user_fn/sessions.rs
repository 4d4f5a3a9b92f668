//! Sessions: what an iteration holds for calls of its functions, such as worker processes.

use crate::error::Result;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};
use tensorferry_io::sync::fork_safe::ForkSafe;

/// A function for the calls of one iteration.
pub struct Session<In, Out> {
    call: Arc<dyn Fn(In) -> Result<Out> + Send + Sync>,
    end: Arc<dyn Fn() + Send + Sync>,
}

impl<In, Out> Session<In, Out> {
    /// A session that calls `call`. The iteration calls `end` when it ends, maybe while calls are
    /// in progress.
    pub fn new(
        call: impl Fn(In) -> Result<Out> + Send + Sync + 'static,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { call: Arc::new(call), end: Arc::new(end) }
    }

    pub(crate) fn call(&self, input: In) -> Result<Out> {
        (self.call)(input)
    }
}

impl<In, Out> Clone for Session<In, Out> {
    fn clone(&self) -> Self {
        Self { call: Arc::clone(&self.call), end: Arc::clone(&self.end) }
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
pub(crate) struct Sessions(ForkSafe<Vec<Begun>>);

impl Default for Sessions {
    fn default() -> Self {
        Self(ForkSafe::reset_by_fork(Vec::new()))
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
        let mut ended = Vec::new();
        {
            let mut all = self.0.lock();
            if !all.iter().any(|other| is(&other.function, begin)) {
                let is_live = |begun: &Begun| begun.function.strong_count() > 0;
                (*all, ended) = std::mem::take(&mut *all).into_iter().partition(is_live);
                all.push(Begun {
                    function: Arc::downgrade(&function),
                    session: Arc::new(session.clone()),
                    end: Arc::clone(&session.end),
                });
            }
        }
        end_all(ended);
        Ok(self.find(begin).unwrap_or(session))
    }

    /// Ends all sessions, maybe while calls are in progress. Further calls begin others.
    pub(crate) fn end(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        end_all(all);
    }

    fn find<In: 'static, Out: 'static>(
        &self,
        begin: &Arc<Begin<In, Out>>,
    ) -> Option<Session<In, Out>> {
        let all = self.0.lock();
        let begun = all.iter().find(|begun| is(&begun.function, begin))?;
        begun.session.downcast_ref::<Session<In, Out>>().cloned()
    }
}

fn end_all(sessions: Vec<Begun>) {
    sessions.into_iter().for_each(|begun| (begun.end)());
}

/// Whether the key is that of this function.
fn is<In, Out>(key: &Weak<Anything>, begin: &Arc<Begin<In, Out>>) -> bool {
    std::ptr::addr_eq(key.as_ptr(), Arc::as_ptr(begin))
}
