//! Datasets and passes over them, as ops find them: by a tensor that names one and keeps it alive.

use crate::status::{Code, Failure};
use std::collections::hash_map::Entry::Vacant;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry::dataset::{Checkpoint, Dataset, Element, Epoch, EpochCounter, Iter, Options};
use tensorferry::{Buffer, ByteOrder, DType, Layout, Result, Tensor};

/// Elements of a handle. TensorFlow copies captured tensors of up to 128 elements into a graph as
/// constants, which would cut the handle from the memory that keeps its dataset alive.
const LEN: usize = 256;

/// A plan that TensorFlow reads.
pub(crate) struct Plan {
    /// How its passes run.
    pub(crate) options: Options,
    /// The passes over it, and the epoch of the next.
    passes: EpochCounter,
    /// The epochs that were counted for passes which are still to begin. Others are of checkpoints.
    counted: Mutex<HashSet<u64>>,
}

impl Plan {
    /// The number of a pass that begins now.
    pub(crate) fn next_epoch(&self) -> Epoch {
        self.passes.next()
    }

    /// The plan as the next pass reads it.
    pub(crate) fn dataset(&self) -> Dataset {
        self.passes.dataset()
    }

    /// The number of a pass that [`Indexed::begin`] is to begin, as what it is: a new one.
    pub(crate) fn count_epoch(&self) -> Epoch {
        let epoch = self.next_epoch();
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch.0);
        epoch
    }
}

/// One pass over a plan that is indexed, asked for elements by their index.
///
/// tf.data asks for one after the other, from the first or from where a checkpoint says; then the
/// plan is iterated, and may read ahead. Any other element is computed by itself.
pub(crate) struct Indexed {
    dataset: Dataset,
    /// The pass, at any position.
    saved: Checkpoint,
    options: Options,
    iter: Mutex<Option<Iter>>,
    /// Whether it is new, and not asked for its first element yet.
    is_new: AtomicBool,
}

impl Indexed {
    /// The pass that a state is of.
    pub(crate) fn begin(plan: &Plan, saved: Checkpoint) -> Result<Self> {
        let dataset = plan.dataset().seeded(&saved)?;
        let is_new =
            plan.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(&saved.epoch().0);
        if !is_new {
            plan.passes.resumed_from(&saved);
        }
        let is_new = AtomicBool::new(is_new && dataset.differs_by_pass());
        Ok(Self { dataset, saved, options: plan.options, iter: Mutex::default(), is_new })
    }

    /// How many elements it has; `None` if it has no end.
    pub(crate) fn len(&self) -> Option<u64> {
        self.dataset.cardinality().finite()
    }

    /// Element `index`, which is less than the length. A new pass is asked for the first one first:
    /// by all but a symbolic checkpoint, which knows positions and not what began the pass.
    pub(crate) fn get(&self, index: u64) -> std::result::Result<Element, Failure> {
        if self.is_new.load(Ordering::Relaxed) {
            if index != 0 {
                let message = format!(
                    "a new pass is asked for element {index} first: \
                    experimental_symbolic_checkpoint restored its position and not its \
                     epoch, whose order is another. Save and restore without that option."
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

/// What stands behind a handle.
#[derive(Clone)]
pub(crate) enum Entry {
    Plan(Arc<Plan>),
    /// One pass over a plan that is indexed.
    Epoch(Arc<Indexed>),
    /// A pass over a plan that only streams.
    Pass(Arc<Mutex<Iter>>),
}

impl Entry {
    fn what(&self) -> &'static str {
        match self {
            Self::Plan(_) => "a dataset",
            Self::Epoch(_) => "an epoch of a dataset",
            Self::Pass(_) => "a pass over a stream",
        }
    }

    fn wrong(&self, expected: &str) -> Failure {
        Failure::new(
            Code::INVALID_ARGUMENT,
            format!("the handle names {}, not {expected}", self.what()),
        )
    }

    pub(crate) fn plan(self) -> std::result::Result<Arc<Plan>, Failure> {
        if let Self::Plan(plan) = self { Ok(plan) } else { Err(self.wrong("a dataset")) }
    }

    pub(crate) fn epoch(self) -> std::result::Result<Arc<Indexed>, Failure> {
        if let Self::Epoch(epoch) = self { Ok(epoch) } else { Err(self.wrong("an epoch of one")) }
    }

    pub(crate) fn into_pass(self) -> std::result::Result<Arc<Mutex<Iter>>, Failure> {
        if let Self::Pass(pass) = self { Ok(pass) } else { Err(self.wrong("a pass")) }
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

/// A tensor that names a dataset to the ops of this crate. As long as its memory is in use, here or
/// in TensorFlow, the dataset lives.
///
/// `options` says how passes over it are run. They are counted with `passes`.
///
/// # Errors
/// Those of [`Tensor::new`].
pub fn handle(passes: &EpochCounter, options: Options) -> Result<Tensor> {
    let dataset = passes.dataset();
    // Where nothing is said, elements are computed on several threads, as tf.data would: but no
    // function is called ahead of its time.
    let unsaid = options.read_ahead.is_none() && dataset.read_ahead().is_none();
    let dataset = if unsaid && dataset.is_indexed() && !dataset.is_sequential() {
        dataset.prefetch(None)
    } else {
        dataset
    };
    keep(Entry::Plan(Arc::new(Plan {
        passes: passes.like(dataset),
        options,
        counted: Mutex::default(),
    })))
}

/// How many handles are in use: of datasets, of epochs and of passes.
#[must_use]
pub fn live_handles() -> usize {
    with_entries(|entries| entries.len())
}

/// A tensor that names an entry and keeps it alive.
pub(crate) fn keep(entry: Entry) -> Result<Tensor> {
    // Nobody hits upon a number by accident, nor does a handle that was carried into another
    // process name anything there.
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
    // SAFETY: the vector's lines, which nobody writes and which moving the vector does not move,
    // live as long as the owner.
    let buffer = unsafe { Buffer::from_raw_parts(ptr, len, owner) };
    Tensor::new(DType::Int64, ByteOrder::Native, Layout::contiguous(&[LEN], 8)?, buffer, 0)
}

/// What a handle names.
pub(crate) fn find(number: i64) -> std::result::Result<Entry, Failure> {
    with_entries(|entries| entries.get(&number).cloned()).ok_or_else(|| {
        let message = "the dataset behind this op is not in this process, or is gone: a graph \
            that was serialised, or carried into another \
                       process, does not take its arrays along. Make the dataset with \
                       to_tf_data() in the process that reads it.";
        Failure::new(Code::FAILED_PRECONDITION, message)
    })
}
