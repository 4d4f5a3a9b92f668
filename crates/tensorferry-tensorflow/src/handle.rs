//! Datasets and passes over them, as ops find them: by a tensor that names one and keeps it alive.

use crate::status::{Code, Failure};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry::dataset::{Dataset, Iter};
use tensorferry::{Buffer, ByteOrder, DType, Layout, Result, Tensor};

/// Elements of a handle. TensorFlow copies captured tensors of up to 128 elements into a graph as constants, which would cut the handle
/// from the memory that keeps its dataset alive.
const LEN: usize = 256;

/// What stands behind a handle.
#[derive(Clone)]
pub(crate) enum Entry {
    /// A plan, and how many passes over it were begun: the epoch of the next.
    Dataset(Dataset, Arc<AtomicU64>),
    /// A pass over a plan that only streams.
    Pass(Arc<Mutex<Iter>>),
}

impl Entry {
    pub(crate) fn pass(iter: Iter) -> Self {
        Self::Pass(Arc::new(Mutex::new(iter)))
    }

    pub(crate) fn dataset(self) -> std::result::Result<(Dataset, Arc<AtomicU64>), Failure> {
        match self {
            Self::Dataset(dataset, epochs) => Ok((dataset, epochs)),
            Self::Pass(_) => Err(Failure::new(Code::InvalidArgument, "the handle names a pass, not a dataset")),
        }
    }

    pub(crate) fn into_pass(self) -> std::result::Result<Arc<Mutex<Iter>>, Failure> {
        match self {
            Self::Pass(pass) => Ok(pass),
            Self::Dataset(..) => Err(Failure::new(Code::InvalidArgument, "the handle names a dataset, not a pass")),
        }
    }
}

static ENTRIES: Mutex<Option<HashMap<i64, Entry>>> = Mutex::new(None);

fn with_entries<T>(work: impl FnOnce(&mut HashMap<i64, Entry>) -> T) -> T {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    work(entries.get_or_insert_default())
}

/// The memory of a handle; takes the dataset from the table when it is freed.
struct Memory {
    words: Vec<Line>,
    number: i64,
}

/// Eight words, aligned as TensorFlow needs tensors to be.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i64; 8]);

impl Drop for Memory {
    fn drop(&mut self) {
        // The dataset is dropped after the lock is given back: it may own handles of its own.
        let entry = with_entries(|entries| entries.remove(&self.number));
        drop(entry);
    }
}

/// A tensor that names a dataset to the ops of this crate. As long as its memory is in use, here or in TensorFlow, the dataset lives.
///
/// `epochs` counts the passes that were begun; iterators outside TensorFlow may share it.
///
/// # Errors
/// Those of [`Tensor::new`].
pub fn handle(dataset: Dataset, epochs: Arc<AtomicU64>) -> Result<Tensor> {
    keep(Entry::Dataset(dataset, epochs))
}

/// A tensor that names an entry and keeps it alive.
pub(crate) fn keep(entry: Entry) -> Result<Tensor> {
    // Other processes count too: a handle that got lost in one is unlikely to name anything.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = (NEXT.fetch_add(1, Ordering::Relaxed) | (u64::from(std::process::id()) << 32)).cast_signed();
    with_entries(|entries| entries.insert(number, entry));
    let words = vec![Line([number; 8]); LEN / 8];
    let ptr = std::ptr::NonNull::from(words.as_slice()).cast();
    let owner = Arc::new(Memory { words, number });
    let len = size_of_val(owner.words.as_slice());
    // SAFETY: the vector's lines, which nobody writes and which moving the vector does not move, live as long as the owner.
    let buffer = unsafe { Buffer::from_raw_parts(ptr, len, owner) };
    Tensor::new(DType::Int64, ByteOrder::Native, Layout::contiguous(&[LEN], 8)?, buffer, 0)
}

/// The dataset that a handle names.
pub(crate) fn find(number: i64) -> std::result::Result<Entry, Failure> {
    with_entries(|entries| entries.get(&number).cloned()).ok_or_else(|| {
        let message = "the dataset behind this op is gone: a graph that was serialised, or carried into another process, does not take \
                       its arrays along. Make the dataset with to_tf_data() in the process that reads it, and keep it.";
        Failure::new(Code::FailedPrecondition, message)
    })
}
