//! Where the time of an iteration goes: computing, converting, waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

/// Where the time of an iteration of an indexed plan goes: see [`Dataset::iter_with_stats`]. Clones
/// share their sums. All times are wall-clock times, summed over all threads.
///
/// ```
/// use tensorferry_core::{Casting, DType};
/// use tensorferry_dataset::{Dataset, Epoch, Options, IterStats};
///
/// let numbers = Dataset::range(0, 100_000, 1, DType::Int64)?
///     .cast(&[Some(DType::Int32)], Casting::Checked)?
///     .batch(1000)?;
/// let stats = IterStats::default();
/// assert_eq!(numbers.iter_with_stats(Epoch(0), &Options::default(), &stats).count(), 100);
/// assert!(stats.converting() <= stats.computing());
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
///
/// [`Dataset::iter_with_stats`]: crate::stage::Dataset::iter_with_stats
#[derive(Clone, Debug, Default)]
pub struct IterStats(Arc<Spent>);

#[derive(Debug, Default)]
struct Spent {
    computing: AtomicU64,
    converting: AtomicU64,
    helping: AtomicU64,
    waits: Waits,
}

/// Total length of waits, including those in progress.
#[derive(Debug)]
struct Waits {
    base: Instant,
    ended: AtomicU64,
    /// Number of waits in progress, and the sum of their start times.
    under_way: AtomicI64,
    began: AtomicI64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { base: Instant::now(), ended: 0.into(), under_way: 0.into(), began: 0.into() }
    }
}

impl IterStats {
    /// Time spent computing elements, including reading their rows, in all threads. The consumer's
    /// thread computes too where that is faster than waiting.
    #[must_use]
    pub fn computing(&self) -> Duration {
        Duration::from_nanos(self.0.computing.load(Relaxed))
    }

    /// The part of [`IterStats::computing`] that [`cast`](crate::stage::Dataset::cast) and the
    /// other native maps took for gathered rows.
    #[must_use]
    pub fn converting(&self) -> Duration {
        Duration::from_nanos(self.0.converting.load(Relaxed))
    }

    /// The part of [`IterStats::computing`] that the consumer's thread did while it waited.
    #[must_use]
    pub fn by_consumer(&self) -> Duration {
        Duration::from_nanos(self.0.helping.load(Relaxed))
    }

    /// Time that threads were idle because the readahead was full.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        let waits = &self.0.waits;
        let under_way = waits
            .under_way
            .load(Relaxed)
            .saturating_mul(waits.now())
            .saturating_sub(waits.began.load(Relaxed));
        Duration::from_nanos(waits.ended.load(Relaxed).saturating_add_signed(under_way.max(0)))
    }
}

impl Waits {
    fn now(&self) -> i64 {
        i64::try_from(self.base.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Runs `run` and counts its time as computing, if the caller measures it.
pub(crate) fn computing<T>(stats: Option<&IterStats>, run: impl FnOnce() -> T) -> T {
    timed(stats.map(|stats| &stats.0.computing), run)
}

/// As [`computing`], for converting.
pub(crate) fn converting<T>(stats: Option<&IterStats>, run: impl FnOnce() -> T) -> T {
    timed(stats.map(|stats| &stats.0.converting), run)
}

fn timed<T>(spent: Option<&AtomicU64>, run: impl FnOnce() -> T) -> T {
    let Some(spent) = spent else { return run() };
    let began = Instant::now();
    let done = run();
    spent.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    done
}

/// As [`computing`], for elements that the consumer computes.
pub(crate) fn helping<T>(stats: Option<&IterStats>, run: impl FnOnce() -> T) -> T {
    timed(stats.map(|stats| &stats.0.helping), run)
}

/// As [`computing`], for waiting. [`IterStats::waiting`] includes waits in progress.
pub(crate) fn waiting<T>(stats: Option<&IterStats>, wait: impl FnOnce() -> T) -> T {
    let Some(IterStats(spent)) = stats else { return wait() };
    let waits = &spent.waits;
    let began = waits.now();
    waits.began.fetch_add(began, Relaxed);
    waits.under_way.fetch_add(1, Relaxed);
    let done = wait();
    waits.under_way.fetch_sub(1, Relaxed);
    waits.began.fetch_sub(began, Relaxed);
    waits.ended.fetch_add(u64::try_from(waits.now() - began).unwrap_or(0), Relaxed);
    done
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::execute::options::Options;
    use crate::stage::Dataset;
    use crate::stage::Epoch;
    use tensorferry_core::{Casting, DType};

    #[test]
    fn what_is_under_way_counts_too() {
        let stats = IterStats::default();
        let pause = Duration::from_millis(5);
        waiting(Some(&stats), || {
            std::thread::sleep(pause);
            assert!(stats.waiting() >= pause);
        });
        assert!(stats.waiting() >= pause);
        assert_eq!((stats.computing(), stats.converting()), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn maps_take_a_part_of_the_time_and_nothing_is_counted_unasked() {
        let plan = Dataset::range(0, 1 << 18, 1, DType::Int64).unwrap();
        let numbers = plan.batch(64).unwrap();
        let cast = numbers.cast(&[Some(DType::Int8)], Casting::Wrap).unwrap();
        let batches =
            plan.cast(&[Some(DType::Int8)], Casting::Wrap).unwrap().batch(1 << 12).unwrap();
        for (dataset, converts) in [(numbers, false), (cast, true), (batches, true)] {
            for dataset in [dataset.clone(), dataset.prefetch(None)] {
                let stats = IterStats::default();
                let options = Options { threads: Some(2), ..Options::default() };
                let all = dataset.iter_with_stats(Epoch(0), &options, &stats).count();
                assert_eq!(all, dataset.iter().count());
                assert!(stats.computing() > Duration::ZERO);
                assert_eq!(stats.converting() > Duration::ZERO, converts, "{dataset}");
                assert!(stats.converting() <= stats.computing());
            }
        }
    }

    #[test]
    fn threads_wait_for_a_consumer_that_takes_nothing() {
        let dataset = Dataset::range(0, 1 << 20, 1, DType::Int64)
            .unwrap()
            .batch(1 << 14)
            .unwrap()
            .prefetch(Some(1));
        let stats = IterStats::default();
        let mut iter = dataset.iter_with_stats(
            Epoch(0),
            &Options { threads: Some(1), ..Options::default() },
            &stats,
        );
        while stats.waiting() < Duration::from_millis(20) {
            iter.next().unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
