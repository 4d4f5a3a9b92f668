//! [`Latency`]: how long a store takes to answer, and when a request is repeated for it.
//!
//! # Rationale
//! A batch waits for its slowest request. A second request, sent when the first takes longer than
//! 95 of 100, hides rare stalls. Each request earns a twentieth of such a hedge, so that a store
//! that is slow as a whole gets at most 5 % more requests. As one request in twenty takes longer by
//! definition, half of the hedges that are left are kept for requests that take twice as long.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Number of latencies that are remembered.
const REMEMBERED: usize = 256;
/// Number of latencies between two looks at all of them.
const EVERY: usize = 16;
/// Patience while fewer than [`EVERY`] are known.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Median while fewer are known: that of S3.
const MEDIAN_AT_FIRST: Duration = Duration::from_millis(30);
/// Least patience. A shorter wait is more often the computer's than the store's.
const LEAST: Duration = Duration::from_millis(5);
/// Factor of the patience after which a request is abandoned, and the limits of that time.
const STALLED: u32 = 20;
const STALLS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// Requests for one hedge.
const PER_HEDGE: i64 = 20;
/// Most hedges that requests can have earned.
const SAVED: i64 = 16;
/// Hedges that are kept for requests that are very late.
const KEPT: i64 = 8;

#[derive(Debug)]
pub(super) struct Latency {
    recent: Mutex<Recent>,
    /// The median and the 95th percentile, in microseconds.
    median: AtomicU64,
    patience: AtomicU64,
    /// In twentieths of a hedge.
    earned: AtomicI64,
}

#[derive(Debug)]
struct Recent {
    micros: Vec<u64>,
    next: usize,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            recent: Mutex::new(Recent { micros: Vec::new(), next: 0 }),
            median: AtomicU64::new(micros(MEDIAN_AT_FIRST)),
            patience: AtomicU64::new(micros(AT_FIRST)),
            earned: AtomicI64::new(0),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Latency {
    /// Notes the time that a first byte took, or has taken when another request overtook it.
    pub(super) fn note(&self, time: Duration) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.next % REMEMBERED;
        match recent.micros.get_mut(at) {
            Some(old) => *old = micros(time),
            None => recent.micros.push(micros(time)),
        }
        recent.next += 1;
        if recent.next.is_multiple_of(EVERY) {
            let mut sorted = recent.micros.clone();
            drop(recent);
            sorted.sort_unstable();
            let at = |percent: usize| sorted[sorted.len() * percent / 100];
            self.median.store(at(50), Ordering::Relaxed);
            self.patience.store(at(95), Ordering::Relaxed);
        }
    }

    /// How long to wait for a first byte before another request.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_micros(self.patience.load(Ordering::Relaxed)).max(LEAST)
    }

    /// How long a request usually waits for its first byte.
    pub(super) fn median(&self) -> Duration {
        Duration::from_micros(self.median.load(Ordering::Relaxed))
    }

    /// How long nothing may come before a request is abandoned, and another one sent: much longer
    /// than requests usually take.
    pub(super) fn stalled(&self) -> Duration {
        self.patience().saturating_mul(STALLED).clamp(STALLS.0, STALLS.1)
    }

    /// Notes a request, which earns a part of a hedge.
    pub(super) fn requested(&self) {
        if self.earned.load(Ordering::Relaxed) < SAVED * PER_HEDGE {
            self.earned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a hedge has been earned, which this call then uses, for a request that is late or
    /// very late.
    pub(super) fn take_hedge(&self, very_late: bool) -> bool {
        let least = if very_late { PER_HEDGE } else { (1 + KEPT) * PER_HEDGE };
        let take = |earned| (earned >= least).then(|| earned - PER_HEDGE);
        self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_95th_percentile() {
        let latency = Latency::default();
        assert_eq!(latency.patience(), AT_FIRST);
        for _ in 0..10 {
            for millis in 1..=100 {
                latency.note(Duration::from_millis(millis));
            }
        }
        let patience = latency.patience();
        assert!((90..=100).contains(&patience.as_millis()), "{patience:?}");
        assert!((45..=55).contains(&latency.median().as_millis()));
        (0..REMEMBERED).for_each(|_| latency.note(Duration::ZERO));
        assert_eq!(latency.patience(), LEAST);
    }

    #[test]
    fn at_most_one_request_in_twenty_is_hedged() {
        for very_late in [false, true] {
            let latency = Latency::default();
            let mut hedges = 0;
            for _ in 0..10_000 {
                latency.requested();
                hedges += i64::from(latency.take_hedge(very_late));
            }
            assert_eq!(hedges, if very_late { 500 } else { 500 - KEPT });
        }
    }

    #[test]
    fn some_hedges_are_kept_for_requests_that_are_very_late() {
        let latency = &Latency::default();
        (0..10_000).for_each(|_| latency.requested());
        let used = |very_late| std::iter::repeat_with(move || latency.take_hedge(very_late));
        assert_eq!(used(false).take_while(|&taken| taken).count(), 8);
        assert_eq!(used(true).take_while(|&taken| taken).count(), 8);
    }
}
