//! [`Progress`]: bytes read and time spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the bytes read from arrays and the time spent reading, for progress displays. Clones
/// share the counts.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, Progress, save};
///
/// let directory = tempfile::tempdir().unwrap();
/// let squares = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?;
/// let progress = Progress::default();
/// save(directory.path().join("squares.npy"), &squares.counted_by(&progress), None)?;
/// assert_eq!(progress.bytes(), 32);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    nanos: AtomicU64,
}

impl Progress {
    /// Number of bytes read so far, in the dtype in which the array is read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Total time that all threads spent reading, without page faults of memory-mapped files.
    #[must_use]
    pub fn reading(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn add(&self, bytes: usize, took: Duration) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0
            .nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
