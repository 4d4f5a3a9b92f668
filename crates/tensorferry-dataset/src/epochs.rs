//! The epoch of the next pass over a plan, however often the plan is built again.
//!
//! # Rationale
//! A plan is cheap and often built anew for each pass: `for epoch in range(9): for batch in
//! rows.batch(32)`. So passes are counted where all these plans meet, at their sources: each live
//! source has a counter for every plan over it, found by a hash of the plan's stages. Different
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
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
pub struct EpochCounter {
    dataset: Dataset,
    /// The plan with the seeds of a saved state in the place of drawn ones, once one was loaded.
    adopted: ForkSafe<Option<Dataset>>,
    alone: bool,
    mark: AtomicU64,
    family: AtomicU64,
    known: OnceLock<Known>,
}

/// What is found out about a plan at its first pass.
struct Known {
    key: u64,
    /// The keys of the stages that the plan is made of, its own among them.
    parts: Vec<u64>,
    roots: Vec<Root>,
    counter: Arc<Counter>,
}

/// How far the passes over one plan have come.
#[derive(Default)]
struct Counter {
    next: AtomicU64,
    /// The last call of [`EpochCounter::set`] that was heeded.
    heard: AtomicU64,
}

/// A source: a stage that reads from no other.
#[derive(Clone)]
enum Root {
    Stage(Weak<dyn Stage>),
    /// One that draws is made again with another seed, and is known by the draw.
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

/// What is counted at a source.
struct Counted {
    /// Keeps the source's address from being another's.
    root: Root,
    counters: HashMap<u64, Arc<Counter>>,
    /// The epochs given to [`EpochCounter::set`], by plan, with the number of the call.
    set: HashMap<u64, (u64, u64)>,
}

#[derive(Default)]
struct Registry {
    roots: HashMap<(bool, u64), Counted>,
    /// How many roots to keep before those that are gone are looked for.
    room: usize,
    /// How many calls of [`EpochCounter::set`] there were.
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

    /// The counter of a plan: the one that any of its sources has.
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

    /// The last call of `set` for one of these stages, and the epoch it said.
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

/// What a walk over a plan's stages finds.
#[derive(Default)]
struct Walk {
    /// The keys of the stages seen so far, by their address: a stage that is read twice is visited
    /// once.
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

impl EpochCounter {
    /// The passes over a plan, counted with those over every plan that is written like it over the
    /// same sources.
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

    /// The passes over a plan, counted from 0 and with no others.
    #[must_use]
    pub fn alone(dataset: Dataset) -> Self {
        Self { alone: true, ..Self::new(dataset) }
    }

    /// Has these passes be counted apart from those of other marks; what [`EpochCounter::set`] says
    /// reaches all marks of a family. Before the first pass.
    pub fn mark(&self, mark: u64, family: u64) {
        self.mark.store(mark, Ordering::Relaxed);
        self.family.store(family, Ordering::Relaxed);
    }

    /// The passes over a plan of the same mark and family.
    #[must_use]
    pub fn like(&self, dataset: Dataset) -> Self {
        let like = Self { alone: self.alone, ..Self::new(dataset) };
        like.mark(self.mark.load(Ordering::Relaxed), self.family.load(Ordering::Relaxed));
        like
    }

    /// The plan, with the seeds that [`EpochCounter::resumed`] put in the place of drawn ones.
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
        // Of the same stages with other seeds nothing can fail.
        let dataset = dataset.rebuild(&mut change).unwrap_or_else(|_| dataset.clone());
        adopted.insert(dataset).clone()
    }

    fn known(&self) -> &Known {
        // Found before the lock is taken: a forked process would wait for ever for a thread that it
        // lacks.
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

    /// Whether it was made by [`EpochCounter::alone`].
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// A number that is the same for plans that are written alike over sources of the same
    /// contents, in this process.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.known().key
    }

    /// The epoch of a pass that begins now.
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

    /// Says which epoch the next pass is: over this plan, and over every plan that is made of it,
    /// before or after. Passes under way are left as they are.
    pub fn set(&self, epoch: u64) {
        let known = self.known();
        REGISTRY.lock().set(known.key, &known.roots, epoch);
        // Of a plan that counts alone nothing is registered.
        let _heard = known.heed();
        known.counter.next.store(epoch, Ordering::Relaxed);
    }

    /// Has the next pass over this plan be `epoch`, and leaves plans that are made of it as they
    /// are.
    pub fn count_from(&self, epoch: u64) {
        let known = self.known();
        let _heard = known.heed();
        known.counter.next.store(epoch, Ordering::Relaxed);
    }

    /// The epoch that the last call of [`EpochCounter::set`] said of this very plan.
    #[must_use]
    pub fn last_set(&self) -> Option<u64> {
        let known = self.known();
        let registry = REGISTRY.lock();
        let of_root = |root: &Root| registry.roots.get(&root.id())?.set.get(&known.key).copied();
        known.roots.iter().filter_map(of_root).max().map(|(_, epoch)| epoch)
    }

    /// Continues from a saved iteration: the next pass is the one after it, and the seeds that
    /// were drawn are those it was saved with, in every plan over the stages that drew them. Passes
    /// under way are left as they are.
    pub fn resumed(&self, iter: &Iter) {
        self.adopt(&iter.dataset().drawn_seeds(), iter.epoch());
    }

    /// As [`EpochCounter::resumed`], of what was saved.
    pub fn resumed_from(&self, saved: &Checkpoint) {
        self.adopt(&saved.seeds, saved.epoch());
    }

    fn adopt(&self, seeds: &[u64], epoch: Epoch) {
        self.dataset.draws().iter().zip(seeds).for_each(|(seed, value)| seed.adopt(*value));
        self.count_from(epoch.0.saturating_add(1));
    }
}

impl Known {
    /// What [`EpochCounter::set`] said since the last pass.
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
    /// The same plan with `value` in the place of the seed that its last stage drew; the plan
    /// itself if that is a stage of `inputs`, or drew none.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let rows = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let shuffled = rows.shuffle(ShuffleOptions::default())?.with_drawn_seed(7, &[])?;
    /// assert_eq!(shuffled.drawn_seed(), Some(7));
    /// # Ok::<(), tensorferry_core::Error>(())
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

    /// The seed that the last stage drew because none was given: that of the next pass.
    #[must_use]
    pub fn drawn_seed(&self) -> Option<u64> {
        self.stage.checkpoint().seed.and_then(Seed::drawn).map(Seed::upcoming)
    }
}

#[cfg(test)]
mod tests;
