//! Saying to what works for long that nobody waits for it.

use crate::error::{Error, Result};
use crate::memory::spare;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Says to a stage that works for long that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

const STOPPED: u8 = 1;
const PAUSED: u8 = 2;

impl Stop {
    /// Asks all who hold a clone to stop.
    pub fn stop(&self) {
        self.0.fetch_or(STOPPED, Ordering::Relaxed);
    }

    /// As [`Stop::stop`], until [`Stop::go_on`].
    pub fn pause(&self) {
        self.0.fetch_or(PAUSED, Ordering::Relaxed);
    }

    /// Ends a [`Stop::pause`].
    pub fn go_on(&self) {
        self.0.fetch_and(!PAUSED, Ordering::Relaxed);
    }

    /// Marks the thread that runs `work` as one that computes what this stops.
    pub fn computing<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = COMPUTED.replace(Arc::as_ptr(&self.0).addr());
        let done = work();
        COMPUTED.set(before);
        done
    }

    /// Whether this thread computes elements ahead for the iteration that this stops: then it must
    /// not wait for one.
    #[must_use]
    pub fn is_of_this_thread(&self) -> bool {
        COMPUTED.get() == Arc::as_ptr(&self.0).addr()
    }

    /// Whether [`Stop::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STOPPED != 0
    }

    /// Whether this thread is to stop what it does: see [`interruptible`] too. To be asked in every
    /// loop whose length the user does not see.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Allocation`] where the process has no memory left.
    pub fn check(&self) -> Result<()> {
        spare::check()?;
        if self.0.load(Ordering::Relaxed) == 0 { glance() } else { Err(Error::Stopped) }
    }
}

/// Who is asked whether to stop.
#[derive(Clone, Copy)]
struct Watch {
    interrupted: fn() -> bool,
    every: Duration,
    /// When it was asked last, or would have been the first time.
    asked: Option<Instant>,
    /// It said so.
    found: bool,
}

thread_local! {
    static WATCH: Cell<Option<Watch>> = const { Cell::new(None) };
    /// The iteration for which this thread computes ahead, by its address.
    static COMPUTED: Cell<usize> = const { Cell::new(0) };
}

/// How often to ask.
const EVERY: Duration = Duration::from_millis(20);

/// Runs `run`, and what it computes in this thread asks `interrupted` about every 20 ms whether to
/// stop: then the iteration hands out [`Error::Stopped`], and goes on where it was when it is asked
/// again.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use tensorferry_io::{Stop, interruptible};
///
/// static INTERRUPTED: AtomicBool = AtomicBool::new(true); // set by a signal handler
///
/// let token = Stop::default();
/// let endless = || -> tensorferry_core::Result<()> {
///     loop {
///         token.check()?;
///     }
/// };
/// let error = interruptible(|| INTERRUPTED.load(Ordering::Relaxed), endless).unwrap_err();
/// assert_eq!(error.code(), "stopped");
/// ```
pub fn interruptible<T>(interrupted: fn() -> bool, run: impl FnOnce() -> T) -> T {
    interruptible_every(EVERY, interrupted, run)
}

/// As [`interruptible`], and asks once in every `every`.
pub fn interruptible_every<T>(
    every: Duration,
    interrupted: fn() -> bool,
    run: impl FnOnce() -> T,
) -> T {
    /// Puts back what was watched before, also after a panic.
    struct Before(Option<Watch>);
    impl Drop for Before {
        fn drop(&mut self) {
            WATCH.set(self.0);
        }
    }
    let _before =
        Before(WATCH.replace(Some(Watch { interrupted, every, asked: None, found: false })));
    run()
}

/// Stops the [`interruptible`] work that this thread does at its next check. False if it does none.
pub fn interrupt() -> bool {
    let Some(watch) = WATCH.get() else { return false };
    WATCH.set(Some(Watch { found: true, ..watch }));
    true
}

/// Whether the [`interruptible`] work that this thread does is interrupted.
pub fn is_interrupted() -> bool {
    WATCH.get().is_some_and(|watch| watch.found)
}

/// # Errors
/// [`Error::Stopped`] if the [`interruptible`] work that this thread does is to stop.
pub fn glance() -> Result<()> {
    match WATCH.get() {
        None => Ok(()),
        Some(watch) => look(watch),
    }
}

fn look(mut watch: Watch) -> Result<()> {
    if watch.found {
        return Err(Error::Stopped);
    }
    let now = Instant::now();
    let asked = *watch.asked.get_or_insert(now);
    if now.duration_since(asked) >= watch.every {
        watch.asked = Some(now);
        watch.found = (watch.interrupted)();
    }
    WATCH.set(Some(watch));
    if watch.found { Err(Error::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_pause_ends_and_a_stop_does_not() {
        let stop = Stop::default();
        stop.pause();
        assert!(stop.check().is_err() && !stop.is_stopped());
        stop.go_on();
        assert!(stop.check().is_ok());
        stop.stop();
        stop.pause();
        stop.go_on();
        assert!(stop.check().is_err() && stop.is_stopped());
    }

    #[test]
    fn work_asks_only_in_the_thread_that_is_interruptible_and_while_it_is() {
        let stop = Stop::default();
        interruptible_every(
            Duration::ZERO,
            || true,
            || {
                assert!(matches!(stop.check(), Err(Error::Stopped)));
                thread::scope(|scope| drop(scope.spawn(|| assert!(stop.check().is_ok()))));
            },
        );
        assert!(stop.check().is_ok());
        interruptible(|| true, || assert!(stop.check().is_ok(), "it was asked at once"));
    }

    #[test]
    fn inside_of_interrupted_work_other_work_can_be_done() {
        interruptible(
            || false,
            || {
                assert!(interrupt());
                interruptible(|| false, || assert!(glance().is_ok()));
                assert!(glance().is_err() && is_interrupted());
            },
        );
        assert!(!interrupt());
    }
}
