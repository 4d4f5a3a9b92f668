//! How far reading is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that were read of arrays, for whoever shows how far a long piece of work is. Clones count together.
///
/// ```
/// use tensorferry::{Array, Progress, Tensor, save};
///
/// let directory = tempfile::tempdir().unwrap();
/// let squares = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?;
/// let progress = Progress::default();
/// save(directory.path().join("squares.npy"), &squares.counted_by(&progress), None)?;
/// assert_eq!(progress.bytes(), 32);
/// # Ok::<(), tensorferry::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Bytes read so far, in the dtype that the array is read in.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
