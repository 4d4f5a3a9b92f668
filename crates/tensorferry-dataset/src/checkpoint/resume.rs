//! Resuming an iteration from a checkpoint of the same plan.

use crate::checkpoint::checkpoint::Checkpoint;
use crate::checkpoint::cut::Cut;
use crate::checkpoint::part::Part;
use crate::error::{Error, Result};
use crate::execute::iter::{Iter, Start};
use crate::execute::options::Options;
use crate::shuffle::prng;
use crate::stage::Dataset;

impl Dataset {
    /// Resumes an iteration of the same plan. An indexed plan starts at its position at once; other
    /// plans first restore the buffers of their stages. Drawn seeds are those of the checkpoint.
    ///
    /// The plan may have batches of another size, and continues with the row after the last one
    /// that was handed out. It may have another number of shards. Then this shard continues with
    /// its part of the elements that no shard has handed out, assuming that all shards were at the
    /// same position. If they were not, use [`Dataset::resume_all`].
    ///
    /// ```
    /// use tensorferry_dataset::{Dataset, Options, Checkpoint};
    /// use tensorferry_core::Tensor;
    ///
    /// let tokens = Tensor::from_vec((0_i32..10).collect(), &[10])?;
    /// let dataset = Dataset::from_tensor_slices([tokens])?.batch(3)?;
    /// let mut iter = dataset.iter();
    /// iter.next();
    /// let bytes = iter.checkpoint()?.to_bytes();
    ///
    /// let mut resumed = dataset.resume(&Checkpoint::from_bytes(&bytes)?, &Options::default())?;
    /// let batch = resumed.next().unwrap()?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[3, 4, 5][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`](crate::error::Error::State) if the state is damaged, or is of another plan:
    /// then it names the first stage that differs.
    pub fn resume(&self, saved: &Checkpoint, options: &Options) -> Result<Iter> {
        match saved.plan.check(self) {
            Ok(()) => saved.resume_in(self, options),
            Err(_) if saved.is_of(self) => saved.resized(self)?.resume_in(self, options),
            Err(_) if saved.is_of_whole(self) => self.resume_part(saved, options),
            Err(error) => Err(error),
        }
    }

    /// Whether the elements depend on more than the plan: on the epoch, or on a seed that was
    /// drawn.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let numbers = Dataset::range(0, 10, 1, DType::Int64)?;
    /// assert!(!numbers.differs_by_pass());
    /// assert!(numbers.shuffle(ShuffleOptions::seeded(7))?.differs_by_pass());
    /// let once = ShuffleOptions { reshuffle_each_iteration: false, ..ShuffleOptions::seeded(7) };
    /// assert!(!numbers.shuffle(once)?.differs_by_pass());
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn differs_by_pass(&self) -> bool {
        self.depends_on_epoch() || !self.drawn_seeds().is_empty()
    }

    /// The same plan with the drawn seeds of a checkpoint. In the epoch of the checkpoint, its
    /// elements are those of the saved iteration.
    ///
    /// # Errors
    /// [`Error::State`](crate::error::Error::State) if the state is damaged, or is of another plan:
    /// then it names the first stage that differs.
    pub fn seeded(&self, saved: &Checkpoint) -> Result<Self> {
        saved.plan.check(self)?;
        saved.rebuilt(self)
    }
}

impl Checkpoint {
    /// Whether a dataset is this plan, but for the sizes of its batches.
    pub(crate) fn is_of(&self, dataset: &Dataset) -> bool {
        self.plan.is(dataset)
            || prng::hash(Cut::of(dataset).describe().as_bytes()) == self.progress.plan
    }

    /// Whether a dataset is this plan, but for the sizes of its batches and its shards.
    pub(crate) fn is_of_whole(&self, dataset: &Dataset) -> bool {
        Part::of(dataset, &Cut::of(dataset)).whole == self.plan.part.whole
    }

    fn resume_in(&self, dataset: &Dataset, options: &Options) -> Result<Iter> {
        let running = self.rebuilt(dataset)?;
        let mut iter = Iter::of(dataset.clone(), running, self.epoch, options);
        iter.begin(Start {
            position: self.position,
            state: self.state.clone(),
            origins: self.origins.clone(),
            skipped: self.progress.skipped,
        })?;
        Ok(iter)
    }

    /// The checkpoint at the same row, for batches of another size.
    ///
    /// # Errors
    /// [`Error::State`] for a stream with `drop_remainder`: elements that it has read ahead are
    /// batches of the old size.
    fn resized(&self, dataset: &Dataset) -> Result<Self> {
        if self.state.is_some() && (self.progress.drops || Cut::of(dataset).drops) {
            let what = "a stream with drop_remainder resumes with the same batch size only. Resume \
                with the old one, or without drop_remainder.";
            return Err(Error::State { what: what.into() });
        }
        let mut moved = self.clone();
        (moved.progress.skipped, moved.position) = (self.rows(), 0);
        Ok(moved)
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
        let dataset = numbers(10).batch(3).unwrap();
        let whole = values(dataset.iter());
        for position in 0..=whole.len() {
            let mut iter = dataset.iter();
            assert_eq!(values(iter.by_ref().take(position)), whole[..position]);
            let bytes = iter.checkpoint().unwrap().to_bytes();
            assert!(bytes.len() < 200, "{}", bytes.len());
            let resumed = dataset
                .resume(&Checkpoint::from_bytes(&bytes).unwrap(), &Options::default())
                .unwrap();
            assert_eq!(values(resumed), whole[position..]);
        }
    }

    fn refusal(old: &Dataset, new: &Dataset) -> String {
        let saved = old.iter().checkpoint().unwrap();
        match new.resume(&saved, &Options::default()) {
            Err(Error::State { what }) => what,
            _ => panic!("a state of {old} was restored into {new}"),
        }
    }

    #[test]
    fn a_state_of_another_plan_is_refused_naming_the_first_stage_that_differs() {
        let base = numbers(10);
        let batch = |size| base.batch(size).unwrap();
        let taken = |size| batch(size).take(Some(2));
        assert!(refusal(&taken(3), &taken(4)).contains("stage 2 was batch(3) and is now batch(4)"));
        assert!(
            refusal(&batch(3).take(Some(2)), &batch(3))
                .contains("stage 3 was take(2) and is now missing")
        );
        assert!(refusal(&batch(3), &batch(3).take(Some(2))).contains("stage 3 is now take(2)"));
        assert!(refusal(&numbers(9), &base).contains("stage 1 was"));
        // The difference lies beyond the part of the plan that a checkpoint keeps.
        let long = |last| {
            (0..100).fold(base.clone(), |dataset, _| dataset.take(Some(10))).take(Some(last))
        };
        assert!(refusal(&long(5), &long(6)).contains("differ"));
        let saved = long(5).iter().checkpoint().unwrap();
        assert!(saved.to_bytes().len() < 500);
        assert!(long(5).resume(&saved, &Options::default()).is_ok());
    }

    #[test]
    fn a_position_past_the_end_is_refused() {
        let mut saved = numbers(3).iter().checkpoint().unwrap();
        saved.position = 4;
        assert!(matches!(numbers(3).resume(&saved, &Options::default()), Err(Error::State { .. })));
    }
}
