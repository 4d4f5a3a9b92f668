//! `prefetch`: a hint for how many elements to compute ahead.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::execute::options::ReadAhead;
use crate::spec::Cardinality;
use crate::stage::{CheckpointInfo, Context, Dataset, ElementIter, Elements, Hints, Stage};

struct Prefetch {
    input: Dataset,
    hint: ReadAhead,
}

impl Dataset {
    /// Sets how many elements to compute before they are requested; `None` lets the engine choose.
    /// The elements do not change. The plan's description does not include it, so a state saved
    /// without it can be restored with it.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ReadAhead};
    ///
    /// let dataset = Dataset::range(0, 100, 1, DType::Int64)?.batch(8)?.prefetch(Some(4));
    /// assert_eq!(dataset.read_ahead(), Some(ReadAhead::Elements(4)));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn prefetch(&self, buffer_size: Option<usize>) -> Self {
        let hint = buffer_size.map_or(ReadAhead::Automatic, ReadAhead::Elements);
        Self::of(Prefetch { input: self.clone(), hint })
    }
}

impl Stage for Prefetch {
    fn elements(&self) -> Elements<'_> {
        Elements::Kept(&self.input)
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self { input: inputs[0].clone(), hint: self.hint }))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { read_ahead: inputs.read_ahead.max(Some(self.hint)), ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(1), ..CheckpointInfo::default() }
    }

    fn unstacked(&self) -> Option<Dataset> {
        self.input.stage.unstacked()
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        self.input.element_iter(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorferry_core::DType;

    #[test]
    fn prefetch_is_a_hint_and_no_part_of_the_plan() -> Result<()> {
        let range = Dataset::range(0, 5, 1, DType::Int64)?;
        let hinted = range.prefetch(Some(3)).batch(2)?.prefetch(None);
        assert_eq!(hinted.to_string(), range.batch(2)?.to_string());
        assert_eq!(hinted.read_ahead(), Some(ReadAhead::Elements(3)));
        assert_eq!(range.prefetch(None).read_ahead(), Some(ReadAhead::Automatic));
        assert_eq!(range.read_ahead(), None);
        Ok(())
    }
}
