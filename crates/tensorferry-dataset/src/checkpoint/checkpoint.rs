//! [`Checkpoint`]: the saved position of an iteration.

use crate::checkpoint::change::{Change, Resharded};
use crate::checkpoint::part::Part;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng;
use crate::stage::{Dataset, Epoch};

/// The position of an iteration: [`Iter::checkpoint`](crate::execute::iter::Iter::checkpoint) makes
/// it, [`Dataset::resume`] continues it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) plan: Plan,
    /// The seeds that were drawn because the user gave none.
    pub(crate) seeds: Vec<u64>,
    pub(crate) epoch: Epoch,
    /// How many elements were handed out.
    pub(crate) position: u64,
    /// What the stages of a plan that is not indexed hold back.
    pub(crate) state: Option<State>,
    /// Shard positions of the runs that this one continues, oldest first.
    pub(crate) origins: Vec<Resharded>,
}

/// Bytes of a plan's description that a state keeps, to say what differs. Whether plans differ, a
/// hash tells.
const KEPT: usize = 400;

/// A plan's description: its beginning and a hash of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) text: String,
    pub(crate) hash: u64,
    /// Which part of a whole it is.
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
                // The end of a description that was cut.
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

    /// The plan with the state's seeds and shards; the plan itself, with what its stages cache, if
    /// they are the same.
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

    /// The state's seeds, in the place of those that were drawn when the plan was built again.
    pub(crate) fn change(&self, resharded: Option<Resharded>) -> Change {
        Change { seeds: self.seeds.iter().copied().collect(), resharded }
    }

    /// How many elements were handed out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The epoch they are of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The state of an iteration of the same plan that had handed out `position` elements of
    /// `epoch`.
    ///
    /// # Errors
    /// [`Error::State`] if the state is of a plan that is not indexed, whose stages hold back what
    /// follows from both: it stays where it is.
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

    /// The state of the same iteration after `position` elements. Only for indexed plans, whose
    /// state is a position.
    #[must_use]
    pub fn at(&self, position: u64) -> Self {
        Self { position, state: None, ..self.clone() }
    }
}
