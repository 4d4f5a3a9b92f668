//! [`Tries`]: the repetitions of a request.

use crate::error::{Error, Result};
use crate::storage::counts::{COUNTERS, add};
use crate::storage::object_store::call::call;
use crate::storage::object_store::failure::{Again, Failure, Kind, refused, sort};
use crate::storage::object_store::store::Store;
use crate::storage::url::Url;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Tries after which a failure that should not happen at all is final: an answer to another
/// request, or no connection to a store that never answered.
const ODD_TRIES: u32 = 4;
/// Wait before the second try, which doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait that a store may ask for, and for an answer without a body.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// How often a request has failed, and since when it has not received a byte.
pub(super) struct Tries<'a> {
    store: &'a Store,
    url: &'a Url,
    action: &'static str,
    progress: Instant,
    failures: u32,
    odd: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(store: &'a Store, url: &'a Url, action: &'static str) -> Self {
        Self { store, url, action, progress: Instant::now(), failures: 0, odd: 0 }
    }

    /// Notes that bytes were received.
    pub(super) fn received(&mut self) {
        (self.progress, self.failures) = (Instant::now(), 0);
    }

    /// How long the request may go on without a byte.
    pub(super) fn left(&self) -> Duration {
        self.store.deadline.saturating_sub(self.progress.elapsed())
    }

    /// Waits before another try.
    ///
    /// # Errors
    /// The failure, if it is final, or time is up. A change is [`Failure::Changed`].
    pub(super) async fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        let never = !self.store.answered.load(Ordering::Relaxed);
        let again = match failure {
            Failure::Again(again) => again,
            Failure::Credentials(error) if !never => Again::new(Kind::Failed, error.to_string()),
            Failure::Credentials(error) => return Err(Failure::Final(error)),
            other => return Err(other),
        };
        self.failures += 1;
        if again.kind == Kind::Odd || (never && again.kind != Kind::SlowDown) {
            self.odd += 1;
            if self.odd >= ODD_TRIES {
                return Err(Failure::Final(odd(&again)));
            }
        }
        if again.kind == Kind::SlowDown {
            self.store.limiter.slow_down();
        }
        let (wait, left) = (self.wait(&again), self.left());
        if wait >= left {
            return Err(Failure::Final(self.gave_up(&again)));
        }
        log::info!(
            "{}: {}: try {} in {:.0?}: {}",
            self.url.name().display(),
            self.action,
            self.failures + 1,
            wait,
            again.why
        );
        add(&COUNTERS.retries, 1);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The wait before the next try: random, so that requests that failed together do not come
    /// again together.
    fn wait(&self, again: &Again) -> Duration {
        if let Some(asked) = again.after {
            return asked.min(LONGEST_ASKED);
        }
        let most = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        most.mul_f64(0.5 + 0.5 * random())
    }

    fn gave_up(&self, again: &Again) -> io::Error {
        let text = format!(
            "nothing was received for {:.1} s, and the deadline is {:.1} s. The last \
            failure: {}. A longer deadline can be set in the storage options.",
            self.progress.elapsed().as_secs_f64(),
            self.store.deadline.as_secs_f64(),
            again.why
        );
        io::Error::new(ErrorKind::TimedOut, text)
    }
}

/// The error of an answer that is none, or of a store that is not there.
fn odd(again: &Again) -> io::Error {
    match again.kind {
        Kind::Unreachable => {
            let text = format!("there is no connection: {}", again.why);
            io::Error::new(ErrorKind::NotConnected, text)
        }
        Kind::Failed | Kind::SlowDown => {
            io::Error::other(format!("the store does not answer: {}", again.why))
        }
        Kind::Odd => {
            let text = format!(
                "the server did not answer with the bytes that were asked for: {}. It has to \
                support range requests.",
                again.why
            );
            io::Error::new(ErrorKind::InvalidData, text)
        }
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// Runs a call to the store until it succeeds.
///
/// # Errors
/// [`Error::Io`].
pub(super) async fn repeated<T, F>(
    store: &Store,
    what: (&Url, Option<&Arc<str>>),
    action: &'static str,
    work: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    repeated_within(store, what, action, |_| LONGEST_ASKED, work).await
}

/// As [`repeated`], where a try may take as long as `patience` says for the number of failures
/// before it.
///
/// # Errors
/// As [`repeated`].
pub(super) async fn repeated_within<T, F>(
    store: &Store,
    (url, query): (&Url, Option<&Arc<str>>),
    action: &'static str,
    patience: impl Fn(u32) -> Duration,
    mut work: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut tries = Tries::new(store, url, action);
    loop {
        let most = tries.left().min(patience(tries.failures));
        let failure = match tokio::time::timeout(most, call(query, work())).await {
            Ok((done, answer)) => {
                store.noted(answer);
                match done {
                    Ok(done) => return Ok(done),
                    Err(error) => sort(error, answer),
                }
            }
            Err(_) => Again::new(Kind::Failed, "the store did not answer").into(),
        };
        match tries.failed(failure).await {
            Ok(()) => {}
            Err(failure) => return Err(final_error(failure, url, action)),
        }
    }
}

/// The error of a call that is not repeated.
pub(super) fn final_error(failure: Failure, url: &Url, action: &'static str) -> Error {
    let source = match failure {
        Failure::Final(source) | Failure::Credentials(source) => source,
        Failure::Changed => io::Error::other("the object changed meanwhile"),
        Failure::Again(again) => io::Error::other(again.why),
    };
    refused(action, url, source)
}
