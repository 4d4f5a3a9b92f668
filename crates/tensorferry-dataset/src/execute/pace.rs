//! Whether jobs are done on threads or in the consumer's thread, whichever is faster.
//!
//! # Rationale
//! Handing a quick job to another thread can take longer than the job, and threads that call Python
//! take the GIL from each other. What that costs depends on the function, the consumer and the
//! machine, so it is measured: if most jobs are quick, the consumer's thread does them for a while,
//! and continues if its elements then come no later than before.

use std::time::{Duration, Instant};

/// The time of a job that may be quicker than handing it over.
const QUICK: Duration = Duration::from_micros(50);
/// Elements of a measurement.
const MEASURED: u32 = 64;
/// The weight of an element in the mean.
const WEIGHT: f64 = 1.0 / 64.0;
/// How much later than on threads elements may come.
const SLOWER: f64 = 1.25;
/// Elements until the next attempt, at first.
const PAUSE: u32 = 1024;

/// The times of jobs and of elements.
pub(super) struct Pace {
    is_inline: bool,
    /// Jobs on threads since the last change, and how many of them were quick.
    jobs: u32,
    quick: u32,
    /// Elements since the last change, and the mean time between them in nanoseconds.
    elements: u32,
    mean: f64,
    /// The mean on threads.
    on_threads: f64,
    last: Option<Instant>,
    pause: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            is_inline: false,
            jobs: 0,
            quick: 0,
            elements: 0,
            mean: 0.0,
            on_threads: 0.0,
            last: None,
            pause: MEASURED,
        }
    }

    /// Whether the consumer's thread does the jobs.
    pub(super) fn is_inline(&self) -> bool {
        self.is_inline
    }

    /// Counts a job.
    pub(super) fn took(&mut self, took: Duration) {
        self.jobs = self.jobs.saturating_add(1);
        self.quick += u32::from(took < QUICK && self.quick < u32::MAX);
    }

    /// Counts an element. Returns whether it is decided by now that threads do not help.
    pub(super) fn handed_out(&mut self, now: Instant) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        let took = now.duration_since(last).as_nanos() as f64;
        self.elements = self.elements.saturating_add(1);
        self.mean += (took - self.mean) * WEIGHT.max(1.0 / f64::from(self.elements));
        if self.is_inline && self.elements >= MEASURED {
            if self.mean > self.on_threads * SLOWER {
                self.change(false);
                self.pause = self.pause.saturating_mul(2).max(PAUSE);
            }
            return self.is_inline && self.elements == 4 * MEASURED;
        }
        let are_quick = u64::from(self.quick) * 4 > u64::from(self.jobs) * 3;
        if !self.is_inline && self.jobs >= MEASURED && self.elements >= self.pause && are_quick {
            self.on_threads = self.mean;
            self.change(true);
        }
        false
    }

    fn change(&mut self, is_inline: bool) {
        self.is_inline = is_inline;
        (self.jobs, self.quick, self.elements, self.mean) = (0, 0, 0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        /// Hands out elements with these times between them.
        fn hand_out(&mut self, pace: &mut Pace, elements: u32, apart: Duration) -> bool {
            let mut decided = false;
            for _ in 0..elements {
                self.0 += apart;
                decided |= pace.handed_out(self.0);
            }
            decided
        }
    }

    fn pace(took: Duration) -> Pace {
        let mut pace = Pace::new();
        (0..MEASURED).for_each(|_| pace.took(took));
        pace
    }

    #[test]
    fn quick_jobs_are_done_inline_while_that_is_faster() {
        let (mut pace, mut clock) = (pace(QUICK / 10), Clock(Instant::now()));
        assert!(!clock.hand_out(&mut pace, MEASURED, QUICK));
        assert!(!pace.is_inline());
        clock.hand_out(&mut pace, 1, QUICK);
        assert!(pace.is_inline());
        assert!(clock.hand_out(&mut pace, 4 * MEASURED, QUICK / 2));
        assert!(pace.is_inline());
        // They become slow.
        clock.hand_out(&mut pace, 20, 20 * QUICK);
        assert!(!pace.is_inline());
    }

    #[test]
    fn an_attempt_that_is_slower_ends_and_is_repeated_later() {
        let (mut pace, mut clock) = (pace(QUICK / 10), Clock(Instant::now()));
        clock.hand_out(&mut pace, MEASURED + 1, QUICK);
        assert!(pace.is_inline());
        assert!(!clock.hand_out(&mut pace, MEASURED, 2 * QUICK));
        assert!(!pace.is_inline());
        (0..MEASURED).for_each(|_| pace.took(QUICK / 10));
        clock.hand_out(&mut pace, PAUSE - 1, QUICK);
        assert!(!pace.is_inline());
        clock.hand_out(&mut pace, 1, QUICK);
        assert!(pace.is_inline());
    }

    #[test]
    fn slow_jobs_stay_on_threads() {
        let (mut pace, mut clock) = (pace(2 * QUICK), Clock(Instant::now()));
        clock.hand_out(&mut pace, 10 * PAUSE, QUICK);
        assert!(!pace.is_inline());
    }
}
