//! What an iteration saves, and plans that go on from it.

use crate::checkpoint::reshard::Part;
use crate::checkpoint::state::{Resharded, State};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::execute::options::Options;
use crate::execute::{Iter, Start};
use crate::shuffle::random;
use crate::stage::Change;
use crate::stage::Epoch;

/// Where an iteration had come to: [`Iter::save`] makes it, [`Dataset::resume`] goes on from it.
#[derive(Clone, Debug)]
pub struct Saved {
    pub(crate) plan: Plan,
    /// The seeds that were drawn because the user gave none.
    pub(crate) seeds: Vec<u64>,
    pub(crate) epoch: Epoch,
    /// How many elements were handed out.
    pub(crate) position: u64,
    /// What the stages of a plan that is not indexed hold back.
    pub(crate) stream: Option<State>,
    /// Where the shards had come to from which this iteration took over, and before them those from
    /// which they did, first.
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
        let hash = random::hash(text.as_bytes());
        let kept = (0..=KEPT.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(kept.unwrap_or(0));
        Self { text, hash, part: Part::of(dataset) }
    }

    /// # Errors
    /// [`Error::State`], naming the first stage that differs.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        let now = dataset.to_string();
        if random::hash(now.as_bytes()) == self.hash {
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
                "the state is of another plan: {differs}. Build the dataset as it was when it was \
                saved."
            ),
        })
    }
}

impl Saved {
    pub(crate) fn of(
        asked: &Dataset,
        seeds: Vec<u64>,
        epoch: Epoch,
        position: u64,
        stream: Option<State>,
        origins: Vec<Resharded>,
    ) -> Self {
        Self { plan: Plan::of(asked), seeds, epoch, position, stream, origins }
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
        if self.stream.is_none() {
            return Ok(Self { epoch, position, ..self });
        }
        let what = format!(
            "the state was changed to position {position} of epoch {}, and holds what belongs to \
            position {} of epoch {}: of a plan \
             whose elements come one after the other, a state cannot be moved. Load it as it was \
             saved, and skip from there.",
            epoch.0, self.position, self.epoch.0
        );
        Err(Error::State { what })
    }

    /// The state of the same iteration, had it handed out so many elements. Of plans that are
    /// indexed, whose state is a position.
    #[must_use]
    pub fn at(&self, position: u64) -> Self {
        Self { position, stream: None, ..self.clone() }
    }
}

impl Dataset {
    /// Goes on where an iteration of the same plan was saved: at once if the plan is indexed, else
    /// after refilling what its stages held back. Seeds that were drawn are those of the saved
    /// iteration.
    ///
    /// The plan may have another number of shards: then this shard continues with its part of what
    /// no shard has handed out, all of which are taken to be where the saved one was. Where they
    /// were not, see [`Dataset::resume_all`].
    ///
    /// ```
    /// use tensorferry_dataset::{Dataset, Options, Saved};
    /// use tensorferry_core::Tensor;
    ///
    /// let tokens = Tensor::from_vec((0_i32..10).collect(), &[10])?;
    /// let dataset = Dataset::from_tensor_slices([tokens])?.batch(3, false)?;
    /// let mut iter = dataset.iter();
    /// iter.next();
    /// let bytes = iter.save()?.to_bytes();
    ///
    /// let mut resumed = dataset.resume(&Saved::from_bytes(&bytes)?, &Options::default())?;
    /// let batch = resumed.next().unwrap()?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[3, 4, 5][..]));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] if the state is of another plan, naming the first stage that differs, or is
    /// damaged.
    pub fn resume(&self, saved: &Saved, options: &Options) -> Result<Iter> {
        if saved.plan.is_other_part(self) {
            return self.resume_part(saved, options);
        }
        saved.plan.check(self)?;
        let dataset = saved.rebuilt(self)?;
        let mut iter = Iter::of(self.clone(), dataset, saved.epoch, options);
        iter.begin(Start {
            position: saved.position,
            stream: saved.stream.clone(),
            origins: saved.origins.clone(),
        })?;
        Ok(iter)
    }

    /// Whether its elements depend on more than what it was built of: on the epoch, or on a seed
    /// that was drawn.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let numbers = Dataset::range(0, 10, 1, DType::Int64)?;
    /// assert!(!numbers.differs_by_pass());
    /// assert!(numbers.shuffle(None, Some(7), true)?.differs_by_pass());
    /// assert!(!numbers.shuffle(None, Some(7), false)?.differs_by_pass());
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    #[must_use]
    pub fn differs_by_pass(&self) -> bool {
        self.depends_on_epoch() || !self.drawn_seeds().is_empty()
    }

    /// The same plan with the seeds of a saved iteration in the place of those that were drawn when
    /// it was built again: in the epoch of the state its elements are those of the saved iteration.
    ///
    /// # Errors
    /// [`Error::State`] if the state is of another plan, naming the first stage that differs, or is
    /// damaged.
    pub fn seeded(&self, saved: &Saved) -> Result<Self> {
        saved.plan.check(self)?;
        saved.rebuilt(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorferry_core::Tensor;

    fn numbers(n: i32) -> Dataset {
        let len = usize::try_from(n).unwrap();
        Dataset::from_tensor_slices([Tensor::from_vec((0..n).collect(), &[len]).unwrap()]).unwrap()
    }

    fn values(elements: impl Iterator<Item = Result<crate::stage::Element>>) -> Vec<Vec<i32>> {
        elements
            .map(|element| {
                element.unwrap()[0].tensor().unwrap().view::<i32>().unwrap().iter().collect()
            })
            .collect()
    }

    #[test]
    fn every_prefix_of_an_indexed_plan_resumes() {
        let dataset = numbers(10).batch(3, false).unwrap();
        let whole = values(dataset.iter());
        for position in 0..=whole.len() {
            let mut iter = dataset.iter();
            assert_eq!(values(iter.by_ref().take(position)), whole[..position]);
            let bytes = iter.save().unwrap().to_bytes();
            assert!(bytes.len() < 200, "{}", bytes.len());
            let resumed =
                dataset.resume(&Saved::from_bytes(&bytes).unwrap(), &Options::default()).unwrap();
            assert_eq!(values(resumed), whole[position..]);
        }
    }

    fn refusal(old: &Dataset, new: &Dataset) -> String {
        let saved = old.iter().save().unwrap();
        match new.resume(&saved, &Options::default()) {
            Err(Error::State { what }) => what,
            _ => panic!("a state of {old} was restored into {new}"),
        }
    }

    #[test]
    fn a_state_of_another_plan_is_refused_naming_the_first_stage_that_differs() {
        let base = numbers(10);
        let batch = |size| base.batch(size, false).unwrap();
        assert!(refusal(&batch(3), &batch(4)).contains("stage 2 was batch(3) and is now batch(4)"));
        assert!(
            refusal(&batch(3).take(Some(2)), &batch(3))
                .contains("stage 3 was take(2) and is now missing")
        );
        assert!(refusal(&batch(3), &batch(3).take(Some(2))).contains("stage 3 is now take(2)"));
        assert!(refusal(&numbers(9), &base).contains("stage 1 was"));
        // What differs lies beyond what the state keeps of the plan.
        let long = |last| {
            (0..100).fold(base.clone(), |dataset, _| dataset.take(Some(10))).take(Some(last))
        };
        assert!(refusal(&long(5), &long(6)).contains("differ"));
        let saved = long(5).iter().save().unwrap();
        assert!(saved.to_bytes().len() < 500);
        assert!(long(5).resume(&saved, &Options::default()).is_ok());
    }

    #[test]
    fn a_position_past_the_end_is_refused() {
        let mut saved = numbers(3).iter().save().unwrap();
        saved.position = 4;
        assert!(matches!(numbers(3).resume(&saved, &Options::default()), Err(Error::State { .. })));
    }
}
