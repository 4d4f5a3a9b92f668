//! [`Checkpoint`]: the saved position of an iteration.

use crate::checkpoint::change::{Change, Resharded};
use crate::checkpoint::cut::Cut;
use crate::checkpoint::differs::difference;
use crate::checkpoint::part::{Part, sharded};
use crate::checkpoint::progress::Progress;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng;
use crate::stage::{Dataset, Epoch};
use crate::transforms::select::parts::Parts;

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
    /// What gives the number of rows that were handed out.
    pub(crate) progress: Progress,
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
    pub(crate) part: Part,
}

impl Plan {
    fn of(dataset: &Dataset, cut: &Cut) -> Self {
        let mut text = dataset.to_string();
        let hash = prng::hash(text.as_bytes());
        let kept = (0..=KEPT.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(kept.unwrap_or(0));
        Self { text, hash, part: Part::of(dataset, cut) }
    }

    fn is_text(&self, text: &str) -> bool {
        prng::hash(text.as_bytes()) == self.hash
    }

    /// Whether a dataset is this plan.
    pub(crate) fn is(&self, dataset: &Dataset) -> bool {
        self.is_text(&dataset.to_string())
    }

    /// # Errors
    /// [`Error::State`], naming the first stage that differs.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        let now = dataset.to_string();
        if self.is_text(&now) {
            return Ok(());
        }
        let what = difference(&self.text, self.text.len() + 4 > KEPT, &now);
        Err(Error::State { what: format!("the state is of another plan: {what}") })
    }
}

impl Checkpoint {
    /// `running` is `asked` with the seeds, shards and skipped rows of a restored checkpoint.
    pub(crate) fn of(
        (asked, running): (&Dataset, &Dataset),
        epoch: Epoch,
        position: u64,
        state: Option<State>,
        origins: Vec<Resharded>,
        skipped: u64,
    ) -> Self {
        let cut = Cut::of(asked);
        let plan = Plan::of(asked, &cut);
        let text = prng::hash(cut.describe().as_bytes());
        let progress = Progress::of(running, &plan.part, text, skipped).after(&origins);
        Self { plan, seeds: running.drawn_seeds(), epoch, position, progress, state, origins }
    }

    /// The plan with the seeds, shards and skipped rows of the checkpoint. If they are the same, it
    /// is the plan itself, with its caches.
    pub(crate) fn rebuilt(&self, dataset: &Dataset) -> Result<Dataset> {
        let mut dataset = self.seeded(dataset)?;
        if sharded(&dataset).is_some() {
            for origin in &self.origins {
                dataset = dataset.rebuild(&mut self.change(Some(origin.clone())))?;
            }
        } else if !self.origins.is_empty() {
            let origins = self.origins.clone();
            dataset =
                Cut::of(&dataset).with_rows(|rows| rows.sharded(1, 0, Parts::Strided, origins))?;
        }
        // The state of a stream is behind them.
        if self.progress.skipped > 0 && self.state.is_none() {
            let skipped = Some(self.progress.skipped);
            dataset = Cut::of(&dataset).with_rows(|rows| Ok(rows.skip(skipped)))?;
        }
        Ok(dataset)
    }

    /// The plan with the seeds of the checkpoint.
    fn seeded(&self, dataset: &Dataset) -> Result<Dataset> {
        let seeds = dataset.drawn_seeds();
        if seeds.len() != self.seeds.len() {
            let what = format!(
                "the state holds {} seeds where the plan draws {}; it is damaged",
                self.seeds.len(),
                seeds.len()
            );
            return Err(Error::State { what });
        }
        if seeds == self.seeds {
            return Ok(dataset.clone());
        }
        dataset.rebuild(&mut self.change(None))
    }

    /// How many rows of its part were handed out.
    pub(crate) fn rows(&self) -> u64 {
        let part = &self.plan.part;
        let (index, shards) = if part.counts { (part.index, part.shards) } else { (0, 1) };
        self.progress.handed_out(self.position, index, shards)
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
            let mut moved = Self { position, ..self };
            if epoch != moved.epoch {
                // Rows that other runs handed out are those of their epoch.
                moved.progress = moved.progress.of_whole_epoch(&moved.origins);
                (moved.epoch, moved.origins) = (epoch, Vec::new());
            }
            return Ok(moved);
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
