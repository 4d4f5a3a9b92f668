//! [`Limiter`]: how many requests are under way at once.
//!
//! # Rationale
//! Many small requests hide the latency of a store; few large ones fill a link, and more would only
//! take memory. So a request weighs more if it is large. A store that asks to slow down (429, 503)
//! gets a tenth less, and a little more with every success, so that the rate stays near what it
//! grants.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes for which a request weighs one more.
const BYTES: u64 = 512 << 10;
/// Most weight of a request: 32 of the largest are under way at once.
const HEAVIEST: u32 = 8;
/// Weight of all requests at the beginning, and its limits.
pub(super) const MOST: usize = 256;
const LEAST: usize = 4;
/// Time between two reductions: requests that were under way together are refused together.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Limiter {
    permits: Semaphore,
    rate: Mutex<Rate>,
    most: usize,
}

#[derive(Debug)]
struct Rate {
    /// Weight that may be under way.
    limit: usize,
    /// Permits still to take back.
    debt: usize,
    /// Successes since the last increase.
    successes: usize,
    reduced: Option<Instant>,
}

impl Limiter {
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let rate = Rate { limit: most, debt: 0, successes: 0, reduced: None };
        Self { permits: Semaphore::new(most), rate: Mutex::new(rate), most }
    }

    /// Waits until a request for this many bytes may begin.
    pub(super) async fn begin(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let weight = u32::try_from(bytes.div_ceil(BYTES)).unwrap_or(HEAVIEST).clamp(1, HEAVIEST);
        let most = u32::try_from(LEAST.min(self.most)).unwrap_or(1);
        // While the limit is low, a heavy request counts as all of it.
        let weight = if self.rate().limit < HEAVIEST as usize { weight.min(most) } else { weight };
        self.permits.acquire_many(weight).await.ok()
    }

    /// Notes an answer.
    pub(super) fn succeeded(&self) {
        let mut rate = self.rate();
        if rate.limit >= self.most {
            return;
        }
        rate.successes += 1;
        if rate.successes >= (rate.limit / 8).max(1) {
            rate.successes = 0;
            rate.limit += 1;
            if rate.debt > 0 { rate.debt -= 1 } else { self.permits.add_permits(1) }
        }
    }

    /// Notes that the store asked to slow down.
    pub(super) fn slow_down(&self) {
        let mut rate = self.rate();
        let now = Instant::now();
        if rate.reduced.is_some_and(|before| now.duration_since(before) < PAUSE) {
            return;
        }
        rate.reduced = Some(now);
        rate.successes = 0;
        let less = (rate.limit / 10).max(1).min(rate.limit.saturating_sub(LEAST.min(self.most)));
        rate.limit -= less;
        let taken = self.permits.forget_permits(less);
        rate.debt += less - taken;
    }

    /// Takes back permits that were in use when the limit was reduced.
    pub(super) fn settle(&self) {
        let mut rate = self.rate();
        if rate.debt > 0 {
            rate.debt -= self.permits.forget_permits(rate.debt);
        }
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_successes() {
        let limiter = Limiter::new(MOST);
        limiter.slow_down();
        limiter.slow_down(); // one of the same moment
        let less = MOST - MOST / 10;
        assert_eq!((limiter.rate().limit, limiter.permits.available_permits()), (less, less));
        while limiter.rate().limit < MOST {
            limiter.succeeded();
        }
        assert_eq!(limiter.permits.available_permits(), MOST);
        limiter.succeeded();
        assert_eq!(limiter.permits.available_permits(), MOST);
    }

    #[test]
    fn permits_in_use_are_taken_when_they_are_free() {
        let limiter = Limiter::new(20);
        let held = limiter.permits.try_acquire_many(19).unwrap();
        limiter.slow_down();
        assert_eq!((limiter.permits.available_permits(), limiter.rate().debt), (0, 1));
        drop(held);
        limiter.settle();
        assert_eq!((limiter.permits.available_permits(), limiter.rate().debt), (18, 0));
    }
}
