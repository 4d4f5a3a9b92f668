//! Counts of what this process asked stores for.

use std::sync::atomic::{AtomicU64, Ordering};

/// What this process has asked stores for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests, with repetitions and hedges.
    pub requests: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Requests repeated after a failure.
    pub retries: u64,
    /// Second requests sent because the first took longer than most.
    pub hedges: u64,
    /// Bytes read from a cache.
    pub cache_bytes: u64,
    /// Bytes received because a cache lacked them.
    pub cache_missed: u64,
}

impl RequestCounts {
    /// The counts since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
            retries: self.retries - before.retries,
            hedges: self.hedges - before.hedges,
            cache_bytes: self.cache_bytes - before.cache_bytes,
            cache_missed: self.cache_missed - before.cache_missed,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) cache_bytes: AtomicU64,
    pub(crate) cache_missed: AtomicU64,
}

pub(crate) static COUNTERS: Counters = Counters {
    requests: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    retries: AtomicU64::new(0),
    hedges: AtomicU64::new(0),
    cache_bytes: AtomicU64::new(0),
    cache_missed: AtomicU64::new(0),
};

/// Adds to a count.
#[cfg(feature = "object-store")]
pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// What this process has asked stores for so far. A forked process continues its parent's counts.
#[must_use]
pub fn request_counts() -> RequestCounts {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    RequestCounts {
        requests: of(&COUNTERS.requests),
        bytes: of(&COUNTERS.bytes),
        retries: of(&COUNTERS.retries),
        hedges: of(&COUNTERS.hedges),
        cache_bytes: of(&COUNTERS.cache_bytes),
        cache_missed: of(&COUNTERS.cache_missed),
    }
}
