//! Handles: tensors that name a dataset, or a pass over one, and keep it alive.

use crate::code::Code;
use crate::status::Failure;
use std::collections::hash_map::Entry::Vacant;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry::dataset::{Checkpoint, Dataset, Element, Epoch, EpochCounter, Iter, Options};
use tensorferry::{Buffer, ByteOrder, DType, Layout, Result, Tensor};

/// Elements of a handle. TensorFlow copies captured tensors of up to 128 elements into a graph as
/// constants, and a copy would not keep the dataset alive.
const LEN: usize = 256;

/// A dataset that TensorFlow reads.
pub(crate) struct SharedDataset {
    /// How its passes run.
    pub(crate) options: Options,
    /// The passes over it, and the epoch of the next.
    passes: EpochCounter,
    /// Epochs that were counted for passes yet to begin. Other epochs come from checkpoints.
    counted: Mutex<HashSet<u64>>,
}

impl SharedDataset {
    /// The epoch of a pass that begins now.
    pub(crate) fn next_epoch(&self) -> Epoch {
        self.passes.next()
    }

    /// The dataset as the next pass reads it.
    pub(crate) fn dataset(&self) -> Dataset {
        self.passes.dataset()
    }

    /// The epoch of a new pass, which [`IndexedPass::begin`] will begin.
    pub(crate) fn count_epoch(&self) -> Epoch {
        let epoch = self.next_epoch();
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch.0);
        epoch
    }
}

/// One pass over a dataset with random access.
///
/// tf.data asks for elements in order, from the first one or from a checkpoint's: these are
/// iterated, with readahead. Any other element is computed by itself.
pub(crate) struct IndexedPass {
    dataset: Dataset,
    /// A checkpoint of the pass.
    saved: Checkpoint,
    options: Options,
    iter: Mutex<Option<Iter>>,
    /// Whether the pass is new, and no element was asked for yet.
    is_new: AtomicBool,
}

impl IndexedPass {
    /// The pass of a checkpoint.
    pub(crate) fn begin(shared: &SharedDataset, saved: Checkpoint) -> Result<Self> {
        let dataset = shared.dataset().seeded(&saved)?;
        let is_new =
            shared.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(&saved.epoch().0);
        if !is_new {
            shared.passes.resumed_from(&saved);
        }
        let is_new = AtomicBool::new(is_new && dataset.differs_by_pass());
        Ok(Self { dataset, saved, options: shared.options, iter: Mutex::default(), is_new })
    }

    /// The number of elements; `None` if it is infinite.
    pub(crate) fn len(&self) -> Option<u64> {
        self.dataset.cardinality().finite()
    }

    /// Element `index`, which is less than the length.
    ///
    /// # Errors
    /// A new pass does not begin with element 0. Only a symbolic checkpoint, which restores the
    /// position and not the epoch, causes that.
    pub(crate) fn get(&self, index: u64) -> std::result::Result<Element, Failure> {
        if self.is_new.load(Ordering::Relaxed) {
            if index != 0 {
                let message = format!(
                    "a new pass is asked for element {index} first: \
                    experimental_symbolic_checkpoint restored its position, but not its epoch, \
                    which has another order. Save and restore without that option."
                );
                return Err(Failure::new(Code::FAILED_PRECONDITION, message));
            }
            self.is_new.store(false, Ordering::Relaxed);
        }
        Ok(self.compute(index)?)
    }

    fn compute(&self, index: u64) -> Result<Element> {
        let mut iter = self.iter.lock().unwrap_or_else(PoisonError::into_inner);
        let iter = match &mut *iter {
            Some(iter) => iter,
            none => none.insert(self.dataset.resume(&self.saved.at(index), &self.options)?),
        };
        if Iter::position(iter) == index
            && let Some(element) = iter.next()
        {
            return element;
        }
        self.dataset.get_in(index, self.saved.epoch())
    }
}

/// What a handle names.
#[derive(Clone)]
pub(crate) enum Entry {
    Dataset(Arc<SharedDataset>),
    IndexedPass(Arc<IndexedPass>),
    /// A pass over a dataset without random access.
    StreamPass(Arc<Mutex<Iter>>),
}

impl Entry {
    fn what(&self) -> &'static str {
        match self {
            Self::Dataset(_) => "a dataset",
            Self::IndexedPass(_) => "an epoch of a dataset",
            Self::StreamPass(_) => "a pass over a stream",
        }
    }

    fn wrong(&self, expected: &str) -> Failure {
        Failure::new(
            Code::INVALID_ARGUMENT,
            format!("the handle names {}, not {expected}", self.what()),
        )
    }

    pub(crate) fn dataset(self) -> std::result::Result<Arc<SharedDataset>, Failure> {
        if let Self::Dataset(dataset) = self { Ok(dataset) } else { Err(self.wrong("a dataset")) }
    }

    pub(crate) fn into_indexed_pass(self) -> std::result::Result<Arc<IndexedPass>, Failure> {
        if let Self::IndexedPass(pass) = self {
            Ok(pass)
        } else {
            Err(self.wrong("an epoch of one"))
        }
    }

    pub(crate) fn into_stream_pass(self) -> std::result::Result<Arc<Mutex<Iter>>, Failure> {
        if let Self::StreamPass(pass) = self { Ok(pass) } else { Err(self.wrong("a pass")) }
    }
}

static ENTRIES: Mutex<Option<HashMap<i64, Entry>>> = Mutex::new(None);

fn with_entries<T>(work: impl FnOnce(&mut HashMap<i64, Entry>) -> T) -> T {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    work(entries.get_or_insert_default())
}

/// The memory of a handle; removes the entry when it is freed.
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
        // Dropped after the lock is released: the dataset may own handles itself.
        let entry = with_entries(|entries| entries.remove(&self.number));
        drop(entry);
    }
}

/// A tensor that names a dataset to the ops of this crate. The dataset lives as long as the
/// tensor's memory is in use, here or in TensorFlow.
///
/// Passes run with `options`, and are counted with `passes`.
///
/// # Errors
/// Those of [`Tensor::new`].
pub fn handle(passes: &EpochCounter, options: Options) -> Result<Tensor> {
    let dataset = passes.dataset();
    // By default, elements are computed on several threads, as in tf.data, unless a function is
    // called for them.
    let unset = options.read_ahead.is_none() && dataset.read_ahead().is_none();
    let dataset = if unset && dataset.is_indexed() && !dataset.is_sequential() {
        dataset.prefetch(None)
    } else {
        dataset
    };
    keep(Entry::Dataset(Arc::new(SharedDataset {
        passes: passes.like(dataset),
        options,
        counted: Mutex::default(),
    })))
}

/// The number of handles in use: of datasets and of passes.
#[must_use]
pub fn live_handles() -> usize {
    with_entries(|entries| entries.len())
}

/// A tensor that names an entry and keeps it alive.
pub(crate) fn keep(entry: Entry) -> Result<Tensor> {
    // Random numbers: a handle of another process, or a forged one, names nothing.
    let number = with_entries(|entries| {
        loop {
            let number = RandomState::new().hash_one(0).cast_signed();
            if let Vacant(place) = entries.entry(number) {
                place.insert(entry);
                break number;
            }
        }
    });
    let words = vec![Line([number; 8]); LEN / 8];
    let ptr = std::ptr::NonNull::from(words.as_slice()).cast();
    let owner = Arc::new(Memory { words, number });
    let len = size_of_val(owner.words.as_slice());
    // SAFETY: the vector's lines are never written, do not move with the vector, and live as long
    // as the owner.
    let buffer = unsafe { Buffer::from_raw_parts(ptr, len, owner) };
    Ok(Tensor::new(DType::Int64, ByteOrder::Native, Layout::contiguous(&[LEN], 8)?, buffer, 0)?)
}

/// What a handle names.
pub(crate) fn find(number: i64) -> std::result::Result<Entry, Failure> {
    with_entries(|entries| entries.get(&number).cloned()).ok_or_else(|| {
        let message = "the dataset behind this op is not in this process, or is gone: a graph \
            that is serialised, or sent to another process, does not take its arrays along. Make \
            the dataset with to_tf_data() in the process that reads it.";
        Failure::new(Code::FAILED_PRECONDITION, message)
    })
}
