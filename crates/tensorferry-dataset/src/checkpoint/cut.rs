//! [`Cut`]: where a plan's rows become batches.
//!
//! # Rationale
//! What counts for a run that resumes with another batch size is the number of rows that were
//! handed out. It follows from the position if, after the cut, all stages consume their input one
//! by one, or a fixed number of elements at a time.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::stage::Dataset;

/// A plan in two parts: the rows, and the batches made of them.
pub(crate) struct Cut {
    /// The plan of the rows. It is the whole plan if nothing makes batches of them at its end.
    pub(crate) rows: Dataset,
    /// The stages after the rows, last first. Each has one input.
    after: Vec<Dataset>,
    /// Rows of one element.
    pub(crate) each: u64,
    /// Whether rows of an incomplete element are dropped.
    pub(crate) drops: bool,
}

impl Cut {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let (mut stage, mut chain, mut batches) = (dataset.clone(), Vec::new(), 0);
        while let (info, [input]) = (stage.stage.checkpoint(), stage.stage.inputs())
            && info.consumes.is_some()
        {
            let (input, is_batch) = (input.clone(), info.batches.is_some());
            chain.push(std::mem::replace(&mut stage, input));
            if is_batch {
                batches = chain.len();
            }
        }
        // Maps before the batches belong to the rows.
        let rows = chain.get(batches).unwrap_or(&stage).clone();
        chain.truncate(batches);
        let infos = || chain.iter().map(|stage| stage.stage.checkpoint());
        let each = infos().filter_map(|info| info.consumes).fold(1, u64::saturating_mul);
        let drops = infos().filter_map(|info| info.batches).any(|batches| batches.drop_remainder);
        Self { rows, after: chain, each, drops }
    }

    /// How many stages follow the rows.
    pub(crate) fn len(&self) -> usize {
        self.after.len()
    }

    /// The description of the plan without the sizes of these batches.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.rows.to_string();
        for stage in self.after.iter().rev() {
            append(&mut text, &stage.stage.describe_any_size());
        }
        text
    }

    /// The plan with other rows.
    ///
    /// # Errors
    /// Those of `change`, and as when the stages were made.
    pub(crate) fn with_rows(
        &self,
        change: impl FnOnce(&Dataset) -> Result<Dataset>,
    ) -> Result<Dataset> {
        let mut dataset = change(&self.rows)?;
        for stage in self.after.iter().rev() {
            dataset = stage.stage.rebuild(vec![dataset], &mut Change::default())?;
        }
        Ok(dataset)
    }
}

/// Appends a stage to a plan's description. Some have none, as they do not change elements.
pub(crate) fn append(plan: &mut String, stage: &str) {
    if !stage.is_empty() {
        plan.push_str(" | ");
        plan.push_str(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchOptions, Epoch, ShuffleOptions};
    use tensorferry_core::DType;

    #[test]
    fn maps_before_the_batches_belong_to_the_rows() -> Result<()> {
        let rows = Dataset::range(0, 10, 1, DType::Int64)?.shuffle(ShuffleOptions::seeded(7))?;
        let cut = Cut::of(&rows.enumerate(0).prefetch(Some(1)));
        assert_eq!((cut.len(), cut.each, cut.drops), (0, 1, false));
        let counted = rows.enumerate(0);
        let batches =
            counted.batch(3)?.prefetch(None).batch_with(2, BatchOptions::DROP_REMAINDER)?;
        let cut = Cut::of(&batches.prefetch(Some(2)));
        assert_eq!((cut.len(), cut.each, cut.drops), (4, 6, true));
        assert_eq!(cut.rows.to_string(), counted.to_string());
        assert!(cut.describe().contains("batch | "), "{}", cut.describe());
        assert!(!cut.describe().contains('3'), "{}", cut.describe());
        let other = cut.with_rows(|rows| Ok(rows.skip(Some(4))))?;
        assert_eq!(other.cardinality().finite(), Some(1));
        let taken = Cut::of(&batches.take(Some(1)));
        assert_eq!((taken.len(), taken.each), (0, 1));
        let first = |dataset: &Dataset| dataset.iter_with(Epoch(0), &crate::Options::default());
        assert_eq!(first(&other).count(), 1);
        Ok(())
    }
}
