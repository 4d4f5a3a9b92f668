//! Cooperative cancellation: [`CancelToken`], and [`interruptible`] for signals.

use crate::error::{Error, Result};
use crate::memory::spare;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A flag that tells long work to end early. Clones share it.
///
/// It also carries what readers must know of the work that they read for: how much memory they may
/// use to read ahead, and which rows it reads.
#[derive(Clone, Debug)]
pub struct CancelToken {
    shared: Arc<Shared>,
    /// Of this clone alone.
    rows: (u64, u64),
    in_order: bool,
}

impl Default for CancelToken {
    fn default() -> Self {
        Self { shared: Arc::default(), rows: (0, u64::MAX), in_order: false }
    }
}

#[derive(Debug, Default)]
struct Shared {
    flags: AtomicU8,
    /// Bytes to read ahead, plus 1; 0 if there is no limit.
    readahead: AtomicUsize,
}

const CANCELLED: u8 = 1;
const PAUSED: u8 = 2;

impl CancelToken {
    /// Has all work that checks a clone of the token end.
    pub fn cancel(&self) {
        self.shared.flags.fetch_or(CANCELLED, Ordering::Relaxed);
    }

    /// As [`CancelToken::cancel`], until [`CancelToken::resume`].
    pub fn pause(&self) {
        self.shared.flags.fetch_or(PAUSED, Ordering::Relaxed);
    }

    /// Ends a [`CancelToken::pause`].
    pub fn resume(&self) {
        self.shared.flags.fetch_and(!PAUSED, Ordering::Relaxed);
    }

    /// Marks the thread that runs `work` as a worker of the iteration that this token cancels.
    pub fn computing<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = COMPUTED.replace(Arc::as_ptr(&self.shared).addr());
        let done = work();
        COMPUTED.set(before);
        done
    }

    /// Whether both are clones of one token.
    #[cfg(feature = "object-store")]
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether this thread is a worker of the iteration that this token cancels. A worker must not
    /// wait for an element of its own iteration.
    #[must_use]
    pub fn is_of_this_thread(&self) -> bool {
        COMPUTED.get() == Arc::as_ptr(&self.shared).addr()
    }

    /// Limits the memory of each reader of this work that receives bytes ahead, from a network.
    pub fn limit_readahead(&self, bytes: usize) {
        self.shared.readahead.store(bytes.saturating_add(1), Ordering::Relaxed);
    }

    /// The limit on reading ahead in bytes.
    #[must_use]
    pub fn readahead(&self) -> Option<usize> {
        self.shared.readahead.load(Ordering::Relaxed).checked_sub(1)
    }

    /// A clone for reading these rows of a source, and no others: readers receive nothing else
    /// ahead.
    #[must_use]
    pub fn reading(&self, rows: Range<u64>) -> Self {
        Self { rows: (rows.start, rows.end), ..self.clone() }
    }

    /// A clone for reading the rows of [`CancelToken::reading`] one after the other, to the last.
    #[must_use]
    pub fn in_order(&self) -> Self {
        Self { in_order: true, ..self.clone() }
    }

    /// Whether the rows are read one after the other, to the last.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// The rows that the work reads of the source that this clone was made for; all rows if that is
    /// not known.
    #[must_use]
    pub fn rows(&self) -> Range<u64> {
        self.rows.0..self.rows.1
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.flags.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Fails if the work has to end: the token is cancelled or paused, or this thread is
    /// interrupted (see [`interruptible`]). Call it in every loop whose length depends on data.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; [`tensorferry_core::Error::Allocation`] if the process is out of
    /// memory.
    pub fn check(&self) -> Result<()> {
        spare::check()?;
        if self.shared.flags.load(Ordering::Relaxed) == 0 {
            check_interrupted()
        } else {
            Err(Error::Interrupted)
        }
    }
}

/// The interruption check of one [`interruptible`] call.
#[derive(Clone, Copy)]
struct Watch {
    interrupted: fn() -> bool,
    every: Duration,
    /// Time of the last call of `interrupted`, or of the first check.
    asked: Option<Instant>,
    /// Whether `interrupted` returned true.
    found: bool,
    /// Whether this is that of [`governed`] work.
    is_governed: bool,
}

impl Watch {
    fn new(interrupted: fn() -> bool, every: Duration) -> Self {
        Self { interrupted, every, asked: None, found: false, is_governed: false }
    }
}

thread_local! {
    static WATCH: Cell<Option<Watch>> = const { Cell::new(None) };
    /// Address of the token of the iteration that this thread works for.
    static COMPUTED: Cell<usize> = const { Cell::new(0) };
    /// That of [`governed`] work.
    static GOVERNOR: RefCell<Option<CancelToken>> = const { RefCell::new(None) };
}

/// Default interval between calls of `interrupted`.
const EVERY: Duration = Duration::from_millis(20);

/// Runs `run` so that work in this thread calls `interrupted` about every 20 ms. Once it returns
/// true, the work fails with [`Error::Interrupted`]. An iteration can be continued afterwards.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use tensorferry_io::{CancelToken, interruptible};
///
/// static INTERRUPTED: AtomicBool = AtomicBool::new(true); // set by a signal handler
///
/// let token = CancelToken::default();
/// let endless = || -> tensorferry_io::Result<()> {
///     loop {
///         token.check()?;
///     }
/// };
/// let error = interruptible(|| INTERRUPTED.load(Ordering::Relaxed), endless).unwrap_err();
/// assert_eq!(error.code(), "interrupted");
/// ```
pub fn interruptible<T>(interrupted: fn() -> bool, run: impl FnOnce() -> T) -> T {
    interruptible_every(EVERY, interrupted, run)
}

/// As [`interruptible`], with calls of `interrupted` at least `every` apart.
pub fn interruptible_every<T>(
    every: Duration,
    interrupted: fn() -> bool,
    run: impl FnOnce() -> T,
) -> T {
    under(Watch::new(interrupted, every), run)
}

fn under<T>(watch: Watch, run: impl FnOnce() -> T) -> T {
    /// Restores the outer watch, also after a panic.
    struct Before(Option<Watch>);
    impl Drop for Before {
        fn drop(&mut self) {
            WATCH.set(self.0);
        }
    }
    let _before = Before(WATCH.replace(Some(watch)));
    run()
}

/// Runs `work` so that the cancellation of `cancel` interrupts it, also where it knows nothing of
/// `cancel`: in this thread, and in those that this library starts for it.
///
/// ```
/// use tensorferry_io::{CancelToken, governed};
///
/// let cancel = CancelToken::default();
/// cancel.cancel();
/// let other = CancelToken::default();
/// let wait = || -> tensorferry_io::Result<()> {
///     loop {
///         other.check()?;
///     }
/// };
/// assert_eq!(governed(&cancel, wait).unwrap_err().code(), "interrupted");
/// ```
pub fn governed<T>(cancel: &CancelToken, work: impl FnOnce() -> T) -> T {
    /// Restores the outer token, also after a panic.
    struct Before(Option<CancelToken>);
    impl Drop for Before {
        fn drop(&mut self) {
            GOVERNOR.set(self.0.take());
        }
    }
    let _before = Before(GOVERNOR.replace(Some(cancel.clone())));
    let watch = Watch::new(|| governor().is_some_and(|token| token.is_cancelled()), EVERY);
    under(Watch { is_governed: true, ..watch }, work)
}

fn governor() -> Option<CancelToken> {
    GOVERNOR.with_borrow(Clone::clone)
}

/// Work for another thread, [`governed`] as this thread is.
pub(crate) fn inherited<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let token = governor();
    move || match token {
        Some(token) => governed(&token, work),
        None => work(),
    }
}

/// Interrupts the [`interruptible`] work of this thread at its next check. False if there is none:
/// [`governed`] work ends with its token alone.
pub fn interrupt() -> bool {
    let Some(watch) = WATCH.get().filter(|watch| !watch.is_governed) else { return false };
    WATCH.set(Some(Watch { found: true, ..watch }));
    true
}

/// Whether the [`interruptible`] work of this thread is interrupted.
pub fn is_interrupted() -> bool {
    WATCH.get().is_some_and(|watch| watch.found)
}

/// Fails if the [`interruptible`] work of this thread is interrupted.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check_interrupted() -> Result<()> {
    match WATCH.get() {
        None => Ok(()),
        Some(watch) => look(watch),
    }
}

fn look(mut watch: Watch) -> Result<()> {
    if watch.found {
        return Err(Error::Interrupted);
    }
    let now = Instant::now();
    let asked = *watch.asked.get_or_insert(now);
    if now.duration_since(asked) >= watch.every {
        watch.asked = Some(now);
        watch.found = (watch.interrupted)();
    }
    WATCH.set(Some(watch));
    if watch.found { Err(Error::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_pause_ends_and_a_cancellation_does_not() {
        let cancel = CancelToken::default();
        cancel.pause();
        assert!(cancel.check().is_err() && !cancel.is_cancelled());
        cancel.resume();
        assert!(cancel.check().is_ok());
        cancel.cancel();
        cancel.pause();
        cancel.resume();
        assert!(cancel.check().is_err() && cancel.is_cancelled());
    }

    #[test]
    fn work_asks_only_in_the_thread_that_is_interruptible_and_while_it_is() {
        let cancel = CancelToken::default();
        interruptible_every(
            Duration::ZERO,
            || true,
            || {
                assert!(matches!(cancel.check(), Err(Error::Interrupted)));
                thread::scope(|scope| drop(scope.spawn(|| assert!(cancel.check().is_ok()))));
            },
        );
        assert!(cancel.check().is_ok());
        interruptible(|| true, || assert!(cancel.check().is_ok(), "it was asked at once"));
    }

    #[test]
    fn governed_work_ends_with_the_token_in_all_of_its_threads() {
        let (token, other) = (CancelToken::default(), CancelToken::default());
        let ends = || {
            (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(1));
                other.check().is_err()
            })
        };
        governed(&token, || {
            assert!(!interrupt());
            let also = inherited(ends);
            let there = thread::scope(|scope| {
                let there = scope.spawn(also);
                assert!(other.check().is_ok());
                token.cancel();
                there.join().unwrap()
            });
            assert!(there && ends());
        });
        assert!(other.check().is_ok(), "it is over");
    }

    #[test]
    fn inside_of_interrupted_work_other_work_can_be_done() {
        interruptible(
            || false,
            || {
                assert!(interrupt());
                interruptible(|| false, || assert!(check_interrupted().is_ok()));
                assert!(check_interrupted().is_err() && is_interrupted());
            },
        );
        assert!(!interrupt());
    }
}
