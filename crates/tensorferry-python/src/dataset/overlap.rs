//! Finds out whether calls of a function on several threads hold the GIL, and logs it once.
//!
//! # Rationale
//! The consumer takes the GIL for each element. If a call is in progress then, and the consumer
//! gets the GIL only after the call, or after the interval in which the interpreter makes a thread
//! give it up, the call held it. A function that releases the GIL lets the consumer in at once. So
//! the consumer is the probe, and what it does itself does not count.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::{Duration, Instant};
use tensorferry::dataset::{told, waited_for_others};

/// The number of elements for which the consumer has to wait for a call, and their part of those
/// that it takes during calls. Functions that release the GIL make it wait for a few in a hundred.
const WAITS: u32 = 16;
const PART: u32 = 4;
/// Elements taken during calls after which the function counts as one that releases the GIL.
const ENOUGH: u32 = 1024;
/// The wait for the GIL from which on a thread was made to give it up; the interval is 5 ms.
const SWITCH: Duration = Duration::from_millis(4);

/// The function that was called last on one of several threads. Never waited for: a fork may leave
/// it locked.
static LAST: Mutex<Weak<Overlap>> = Mutex::new(Weak::new());

/// The calls of one function.
pub(crate) struct Overlap {
    name: String,
    /// Calls in progress.
    inside: AtomicU32,
    /// Elements for which the consumer took the GIL during a call, and how often it had to wait.
    probes: AtomicU32,
    waits: AtomicU32,
    decided: AtomicBool,
}

impl Overlap {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            inside: AtomicU32::new(0),
            probes: AtomicU32::new(0),
            waits: AtomicU32::new(0),
            decided: AtomicBool::new(false),
        })
    }

    /// A call begins, with the GIL, for which it waited since then.
    pub(crate) fn begin(self: &Arc<Self>, since: Instant) -> Inside<'_> {
        waited_for_others(since.elapsed());
        self.inside.fetch_add(1, Ordering::Relaxed);
        if !self.decided.load(Ordering::Relaxed)
            && let Ok(mut last) = LAST.try_lock()
        {
            *last = Arc::downgrade(self);
        }
        Inside(self)
    }

    fn count(&self, waited: bool) {
        let waits = self.waits.fetch_add(u32::from(waited), Ordering::Relaxed) + u32::from(waited);
        let probes = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        let holds = waits >= WAITS && waits.saturating_mul(PART) >= probes;
        let is_decided = holds || probes >= ENOUGH;
        if is_decided && !self.decided.swap(true, Ordering::Relaxed) && holds && !told(&self.name) {
            // `logging` takes what has the library's name.
            log::warn!(
                target: "tensorferry",
                "map: {} holds the GIL, so its calls on several threads take turns, and \
                num_parallel_calls does not help. workers=\"processes\" calls it in processes.",
                self.name
            );
        }
    }
}

/// A call in progress.
pub(crate) struct Inside<'a>(&'a Overlap);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The consumer, from before it takes the GIL, if a call is in progress.
pub(crate) struct Probe(Option<(Arc<Overlap>, Instant)>);

/// The consumer is about to take the GIL.
pub(crate) fn probe() -> Probe {
    let last = match LAST.try_lock() {
        Ok(last) => last.upgrade(),
        Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
    };
    let called = last.filter(|overlap| {
        overlap.inside.load(Ordering::Relaxed) > 0 && !overlap.decided.load(Ordering::Relaxed)
    });
    Probe(called.map(|overlap| (overlap, Instant::now())))
}

impl Probe {
    /// The consumer has the GIL.
    pub(crate) fn end(self) {
        if let Some((overlap, since)) = self.0 {
            let over = overlap.inside.load(Ordering::Relaxed) == 0;
            overlap.count(over || since.elapsed() >= SWITCH);
        }
    }
}
