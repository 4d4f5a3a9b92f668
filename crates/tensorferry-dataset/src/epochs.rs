//! Epoch counters: the epoch of the next pass over a plan, even if the plan is built again.
//!
//! # Rationale
//! Plans are cheap and often built again for each pass: `for epoch in range(9): for batch in
//! rows.batch(32)`. So passes are counted at the sources, which all these plans share. Each live
//! source has a counter for every plan over it, keyed by a hash of the plan's stages. Different
//! plans have different counters, and a counter lives no longer than its source.

use crate::checkpoint::change::Change;
use crate::checkpoint::checkpoint::Checkpoint;
use crate::execute::iter::Iter;
use crate::shuffle::prng;
use crate::shuffle::prng::{Draw, Seed};
use crate::stage::{Dataset, Epoch, Stage};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use tensorferry_io::sync::fork_safe::ForkSafe;

/// The most plans that one source counts. Beyond that, plans that nothing holds are forgotten.
const MOST: usize = 1 << 16;

/// A plan, and the number of the next pass over it. Plans of the same stages over the same sources
/// share the number.
///
/// ```
/// use tensorferry_core::DType;
/// use tensorferry_dataset::{Dataset, EpochCounter};
///
/// let rows = Dataset::range(0, 10, 1, DType::Int64)?;
/// for epoch in 0..3 {
///     let passes = EpochCounter::new(rows.batch(4)?);
///     assert_eq!(passes.next().0, epoch);
/// }
/// EpochCounter::new(rows.clone()).set(7);
/// assert_eq!(EpochCounter::new(rows.batch(4)?).next().0, 7);
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
pub struct EpochCounter {
    dataset: Dataset,
    /// The plan with the seeds of a loaded checkpoint instead of drawn ones.
    adopted: ForkSafe<Option<Dataset>>,
    alone: bool,
    mark: AtomicU64,
    family: AtomicU64,
    known: OnceLock<Known>,
}

/// Facts about a plan, computed at its first pass.
struct Known {
    key: u64,
    /// Keys of all stages of the plan, including its own.
    parts: Vec<u64>,
    roots: Vec<Root>,
    counter: Arc<Counter>,
}

/// The pass counter of a plan.
#[derive(Default)]
struct Counter {
    next: AtomicU64,
    /// Number of the last call of [`EpochCounter::set`] that was applied.
    heard: AtomicU64,
}

/// A source: a stage without inputs.
#[derive(Clone)]
enum Root {
    Stage(Weak<dyn Stage>),
    /// A source with a drawn seed. It is identified by the draw, because adopting a seed rebuilds
    /// the stage.
    Draw(Draw),
}

impl Root {
    fn id(&self) -> (bool, u64) {
        match self {
            Self::Stage(stage) => (true, stage.as_ptr().cast::<()>().addr() as u64),
            Self::Draw(draw) => (false, draw.number()),
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Stage(stage) => stage.strong_count() > 0,
            Self::Draw(draw) => draw.is_alive(),
        }
    }
}

/// The counters of a source.
struct Counted {
    /// Keeps the source's address from being reused.
    root: Root,
    counters: HashMap<u64, Arc<Counter>>,
    /// Epochs from [`EpochCounter::set`] by plan, with the number of the call.
    set: HashMap<u64, (u64, u64)>,
}

#[derive(Default)]
struct Registry {
    roots: HashMap<(bool, u64), Counted>,
    /// Number of roots at which dead ones are removed.
    room: usize,
    /// Number of calls of [`EpochCounter::set`].
    calls: u64,
}

static REGISTRY: LazyLock<ForkSafe<Registry>> = LazyLock::new(ForkSafe::default);

impl Registry {
    fn at(&mut self, root: &Root) -> &mut Counted {
        if self.roots.len() >= self.room {
            self.roots.retain(|_, counted| counted.root.is_alive());
            self.room = 2 * self.roots.len() + 64;
        }
        let new = || Counted { root: root.clone(), counters: HashMap::new(), set: HashMap::new() };
        self.roots.entry(root.id()).or_insert_with(new)
    }

    /// The counter of a plan, from any of its sources. All its sources then share it.
    fn counter(&mut self, key: u64, roots: &[Root]) -> Arc<Counter> {
        let known = roots.iter().find_map(|root| self.at(root).counters.get(&key).cloned());
        let counter = known.unwrap_or_default();
        for root in roots {
            let counters = &mut self.at(root).counters;
            if counters.len() >= MOST {
                counters.retain(|_, counter| Arc::strong_count(counter) > 1);
            }
            counters.insert(key, Arc::clone(&counter));
        }
        counter
    }

    fn set(&mut self, key: u64, roots: &[Root], epoch: u64) {
        self.calls += 1;
        let call = self.calls;
        for root in roots {
            let set = &mut self.at(root).set;
            if set.len() >= MOST {
                set.retain(|_, (when, _)| *when + (MOST as u64 / 2) > call);
            }
            set.insert(key, (call, epoch));
        }
    }

    /// Number and epoch of the last `set` call for one of these stages.
    fn last_set(&mut self, known: &Known) -> Option<(u64, u64)> {
        let of_root = |root: &Root| {
            let set = self
                .roots
                .get(&root.id())
                .map(|counted| &counted.set)
                .filter(|set| !set.is_empty())?;
            known.parts.iter().filter_map(|part| set.get(part)).max().copied()
        };
        known.roots.iter().filter_map(of_root).max()
    }
}

/// The result of a walk over a plan's stages.
#[derive(Default)]
struct Walk {
    /// Keys of the visited stages by address, so that a stage that is read twice is visited once.
    keys: HashMap<usize, u64>,
    roots: Vec<Root>,
    window: bool,
}

impl Walk {
    fn key(&mut self, dataset: &Dataset) -> u64 {
        let address = Arc::as_ptr(&dataset.stage).cast::<()>().addr();
        if let Some(key) = self.keys.get(&address) {
            return *key;
        }
        let (inputs, words) = (dataset.stage.inputs(), dataset.stage.describe());
        let info = dataset.stage.checkpoint();
        if inputs.is_empty() {
            let root = info.seed.and_then(Seed::draw).map(Root::Draw);
            self.roots.push(root.unwrap_or_else(|| Root::Stage(Arc::downgrade(&dataset.stage))));
        }
        self.window |= info.is_window;
        let keys: Vec<u64> = dataset.deep(|| inputs.iter().map(|input| self.key(input)).collect());
        let key = match keys.as_slice() {
            [input] if words.is_empty() => *input,
            _ => {
                let functions = dataset.stage.functions();
                let identity = functions
                    .iter()
                    .fold(info.identity, |all, function| prng::mix(all ^ function.identity()));
                let mut bytes = identity.to_le_bytes().to_vec();
                keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
                bytes.extend(words.into_bytes());
                prng::hash(&bytes)
            }
        };
        self.keys.insert(address, key);
        key
    }
}

/// A number that plans of the same stages over the same arrays share, whatever seeds they drew.
pub(crate) fn plan_key(dataset: &Dataset) -> u64 {
    Walk::default().key(dataset)
}

impl EpochCounter {
    /// The counter of a plan, shared with every plan of the same stages over the same sources.
    #[must_use]
    pub fn new(dataset: Dataset) -> Self {
        let (mark, family) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            dataset,
            adopted: ForkSafe::default(),
            alone: false,
            mark,
            family,
            known: OnceLock::new(),
        }
    }

    /// The counter of a plan, starting at 0 and not shared.
    #[must_use]
    pub fn alone(dataset: Dataset) -> Self {
        Self { alone: true, ..Self::new(dataset) }
    }

    /// Counts these passes apart from those of other marks. [`EpochCounter::set`] applies to all
    /// marks of a family. Must be called before the first pass.
    pub fn mark(&self, mark: u64, family: u64) {
        self.mark.store(mark, Ordering::Relaxed);
        self.family.store(family, Ordering::Relaxed);
    }

    /// The counter of another plan, with the same mark and family.
    #[must_use]
    pub fn like(&self, dataset: Dataset) -> Self {
        let like = Self { alone: self.alone, ..Self::new(dataset) };
        like.mark(self.mark.load(Ordering::Relaxed), self.family.load(Ordering::Relaxed));
        like
    }

    /// The plan, with the seeds from [`EpochCounter::resumed`] instead of drawn ones.
    #[must_use]
    pub fn dataset(&self) -> Dataset {
        let mut adopted = self.adopted.lock();
        let dataset = adopted.as_ref().unwrap_or(&self.dataset);
        let draws = dataset.draws();
        if draws.iter().all(|seed| seed.value == seed.upcoming()) {
            return dataset.clone();
        }
        let mut change =
            Change { seeds: draws.iter().map(Seed::upcoming).collect(), ..Change::default() };
        // Rebuilding the same stages with other seeds cannot fail.
        let dataset = dataset.rebuild(&mut change).unwrap_or_else(|_| dataset.clone());
        adopted.insert(dataset).clone()
    }

    fn known(&self) -> &Known {
        // Computed outside of `get_or_init`: a process that is forked inside would wait for ever.
        match self.known.get() {
            Some(known) => known,
            None => {
                let found = self.find();
                self.known.get_or_init(|| found)
            }
        }
    }

    fn find(&self) -> Known {
        let mut walk = Walk::default();
        let key = walk.key(&self.dataset);
        let family = prng::mix(self.family.load(Ordering::Relaxed));
        let key = prng::mix(key ^ family);
        let parts = walk.keys.into_values().map(|part| prng::mix(part ^ family));
        let (mut parts, mut roots): (Vec<u64>, _) = (parts.collect(), walk.roots);
        parts.sort_unstable();
        parts.dedup();
        if self.alone || walk.window {
            roots.clear();
        }
        let marked = prng::mix(key ^ prng::mix(self.mark.load(Ordering::Relaxed)));
        let counter = REGISTRY.lock().counter(marked, &roots);
        Known { key, parts, roots, counter }
    }

    /// Whether this counter was made by [`EpochCounter::alone`].
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// A key that is equal for plans of the same stages over sources of the same contents, in this
    /// process.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.known().key
    }

    /// Begins a pass, and returns its epoch.
    #[must_use]
    pub fn next(&self) -> Epoch {
        let known = self.known();
        if let Some(epoch) = known.heed() {
            known.counter.next.store(epoch.saturating_add(1), Ordering::Relaxed);
            return Epoch(epoch);
        }
        Epoch(known.counter.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The epoch of the next pass.
    #[must_use]
    pub fn upcoming(&self) -> Epoch {
        let known = self.known();
        if let Some(epoch) = known.heed() {
            known.counter.next.store(epoch, Ordering::Relaxed);
        }
        Epoch(known.counter.next.load(Ordering::Relaxed))
    }

    /// Sets the epoch of the next pass over this plan and over every plan that is built on it,
    /// before or after this call. Passes in progress are not affected.
    pub fn set(&self, epoch: u64) {
        let known = self.known();
        REGISTRY.lock().set(known.key, &known.roots, epoch);
        // The registry has no entry for a plan that counts alone, so set the counter too.
        let _heard = known.heed();
        known.counter.next.store(epoch, Ordering::Relaxed);
    }

    /// Sets the epoch of the next pass over this plan, but not over plans that are built on it.
    pub fn count_from(&self, epoch: u64) {
        let known = self.known();
        let _heard = known.heed();
        known.counter.next.store(epoch, Ordering::Relaxed);
    }

    /// The epoch of the last call of [`EpochCounter::set`] for this plan itself.
    #[must_use]
    pub fn last_set(&self) -> Option<u64> {
        let known = self.known();
        let registry = REGISTRY.lock();
        let of_root = |root: &Root| registry.roots.get(&root.id())?.set.get(&known.key).copied();
        known.roots.iter().filter_map(of_root).max().map(|(_, epoch)| epoch)
    }

    /// The epoch of the last call of [`EpochCounter::set`] for this plan or one that it derives
    /// from; else the first. For elements that are read by index, outside of passes.
    #[must_use]
    pub fn set_or_first(&self) -> Epoch {
        let known = self.known();
        let set = REGISTRY.lock().last_set(known);
        Epoch(set.map_or(0, |(_, epoch)| epoch))
    }

    /// Continues after a resumed iteration: the next pass is the one after it. Drawn seeds become
    /// those of the checkpoint, in every plan over the stages that drew them. Passes in progress
    /// are not affected.
    pub fn resumed(&self, iter: &Iter) {
        self.adopt(&iter.dataset().drawn_seeds(), iter.epoch());
    }

    /// As [`EpochCounter::resumed`], from a checkpoint.
    pub fn resumed_from(&self, saved: &Checkpoint) {
        self.adopt(&saved.seeds, saved.epoch());
    }

    fn adopt(&self, seeds: &[u64], epoch: Epoch) {
        self.dataset.draws().iter().zip(seeds).for_each(|(seed, value)| seed.adopt(*value));
        self.count_from(epoch.0.saturating_add(1));
    }
}

impl Known {
    /// The epoch from [`EpochCounter::set`], if it was called since the last pass.
    fn heed(&self) -> Option<u64> {
        let (call, epoch) = REGISTRY.lock().last_set(self)?;
        (self.counter.heard.fetch_max(call, Ordering::Relaxed) < call).then_some(epoch)
    }
}

impl fmt::Debug for EpochCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochCounter").field("dataset", &self.dataset).finish_non_exhaustive()
    }
}

impl Dataset {
    /// The same plan with `value` instead of the seed that its last stage drew. Returns the plan
    /// itself if that stage belongs to one of `inputs`, or drew no seed.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let rows = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let shuffled = rows.shuffle(ShuffleOptions::default())?.with_drawn_seed(7, &[])?;
    /// assert_eq!(shuffled.drawn_seed(), Some(7));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As when the stage was made.
    pub fn with_drawn_seed(&self, value: u64, inputs: &[Self]) -> crate::error::Result<Self> {
        if self.drawn_seed().is_none() || inputs.iter().any(|input| input.is(self)) {
            return Ok(self.clone());
        }
        let made = self.stage.rebuild(
            self.stage.inputs().to_vec(),
            &mut Change { seeds: [value].into(), ..Change::default() },
        )?;
        if let Some(seed) = made.stage.checkpoint().seed {
            seed.adopt(value);
        }
        Ok(made)
    }

    /// The seed of the next pass, if the last stage drew one because none was given.
    #[must_use]
    pub fn drawn_seed(&self) -> Option<u64> {
        self.stage.checkpoint().seed.and_then(Seed::drawn).map(Seed::upcoming)
    }
}

#[cfg(test)]
mod tests;
