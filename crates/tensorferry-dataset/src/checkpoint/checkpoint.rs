//! [`Checkpoint`]: the saved position of an iteration.

use crate::checkpoint::change::{Change, Resharded};
use crate::checkpoint::part::Part;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng;
use crate::stage::{Dataset, Epoch};

/// The saved position of an iteration. [`Iter::checkpoint`](crate::execute::iter::Iter::checkpoint)
/// makes it, and [`Dataset::resume`] continues from it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) plan: Plan,
    /// The seeds that were drawn because the user gave none.
    pub(crate) seeds: Vec<u64>,
    pub(crate) epoch: Epoch,
    /// How many elements were handed out.
    pub(crate) position: u64,
    /// The state of the stages of a plan that is not indexed.
    pub(crate) state: Option<State>,
    /// Shard positions of the runs that this one continues, oldest first.
    pub(crate) origins: Vec<Resharded>,
}

/// Bytes of a plan's description that a checkpoint keeps, to report what differs. A hash decides
/// whether plans differ.
const KEPT: usize = 400;

/// The beginning and the hash of a plan's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) text: String,
    pub(crate) hash: u64,
    /// The part of a sharded plan that this is.
    pub(crate) part: Option<Part>,
}

impl Plan {
    fn of(dataset: &Dataset) -> Self {
        let mut text = dataset.to_string();
        let hash = prng::hash(text.as_bytes());
        let kept = (0..=KEPT.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(kept.unwrap_or(0));
        Self { text, hash, part: Part::of(dataset) }
    }

    /// # Errors
    /// [`Error::State`], naming the first stage that differs.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        let now = dataset.to_string();
        if prng::hash(now.as_bytes()) == self.hash {
            return Ok(());
        }
        let (mut old, mut new) = (self.text.split(" | "), now.split(" | "));
        let mut stage = 0_usize;
        let differs = loop {
            stage += 1;
            break match (old.next(), new.next()) {
                (Some(old), Some(new)) if old == new => continue,
                // The kept description is truncated here.
                (Some(old), Some(new)) if self.text.len() + 4 > KEPT && new.starts_with(old) => {
                    format!("they differ in stage {stage}, {new}, or after it")
                }
                (Some(old), Some(new)) => format!("stage {stage} was {old} and is now {new}"),
                (Some(old), None) => format!("stage {stage} was {old} and is now missing"),
                (None, Some(new)) => format!("stage {stage} is now {new}, where the plan ended"),
                (None, None) => "they differ after what the state keeps of the plan".into(),
            };
        };
        Err(Error::State {
            what: format!(
                "the state is of another plan: {differs}. Build the dataset as it was when the \
                    state was saved."
            ),
        })
    }
}

impl Checkpoint {
    pub(crate) fn of(
        asked: &Dataset,
        seeds: Vec<u64>,
        epoch: Epoch,
        position: u64,
        state: Option<State>,
        origins: Vec<Resharded>,
    ) -> Self {
        Self { plan: Plan::of(asked), seeds, epoch, position, state, origins }
    }

    /// The plan with the seeds and shards of the checkpoint. If they are the same, it is the plan
    /// itself, with its caches.
    pub(crate) fn rebuilt(&self, dataset: &Dataset) -> Result<Dataset> {
        let seeds = dataset.drawn_seeds();
        if seeds.len() != self.seeds.len() {
            let what = format!(
                "the state holds {} seeds where the plan draws {}; it is damaged",
                self.seeds.len(),
                seeds.len()
            );
            return Err(Error::State { what });
        }
        let mut dataset = dataset.clone();
        if seeds != self.seeds {
            dataset = dataset.rebuild(&mut self.change(None))?;
        }
        for origin in &self.origins {
            dataset = dataset.rebuild(&mut self.change(Some(origin.clone())))?;
        }
        Ok(dataset)
    }

    /// The change that puts the checkpoint's seeds in place of drawn ones.
    pub(crate) fn change(&self, resharded: Option<Resharded>) -> Change {
        Change { seeds: self.seeds.iter().copied().collect(), resharded }
    }

    /// How many elements were handed out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The epoch of these elements.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The checkpoint of the same plan after `position` elements of `epoch`.
    ///
    /// # Errors
    /// [`Error::State`] if the plan is not indexed and the epoch or position would change: the
    /// state of its stages belongs to the saved position.
    pub fn moved(self, epoch: Epoch, position: u64) -> Result<Self> {
        if (epoch, position) == (self.epoch, self.position) {
            return Ok(self);
        }
        if self.state.is_none() {
            return Ok(Self { epoch, position, ..self });
        }
        let what = format!(
            "the state was changed to position {position} of epoch {}, but holds what belongs to \
                position {} of epoch {}: the state of a plan without random access cannot be \
                moved. Load it as it was saved, and skip from there.",
            epoch.0, self.position, self.epoch.0
        );
        Err(Error::State { what })
    }

    /// The checkpoint of the same iteration after `position` elements. Only for indexed plans,
    /// whose state is a position.
    #[must_use]
    pub fn at(&self, position: u64) -> Self {
        Self { position, state: None, ..self.clone() }
    }
}
