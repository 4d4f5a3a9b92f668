//! `batch`: stacks consecutive elements.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage};
use crate::transforms::batch::gathered::{batches, batches_of_part, count, len_from};
use crate::transforms::batch::picked::{picked_batches, stacked_rows};
use crate::transforms::batch::stacked::{stack, stacked};
use std::ops::Range;
use tensorferry_core::TensorSpec;

/// How [`Dataset::batch_with`] and [`Dataset::rebatch`] treat an incomplete last batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOptions {
    /// Whether to drop the last batch if it is not full.
    pub drop_remainder: bool,
}

impl BatchOptions {
    /// Only full batches.
    pub const DROP_REMAINDER: Self = Self { drop_remainder: true };
}

struct Batch {
    input: Dataset,
    size: usize,
    drop_remainder: bool,
    spec: Vec<Component>,
}

impl Dataset {
    /// Stacks each `size` consecutive elements along a new first dimension. The last batch holds
    /// the remaining elements.
    ///
    /// # Errors
    /// [`Error::Argument`] if `size` is 0 or an element holds datasets.
    pub fn batch(&self, size: usize) -> Result<Self> {
        self.batch_with(size, BatchOptions::default())
    }

    /// As [`Dataset::batch`], with options.
    ///
    /// # Errors
    /// As [`Dataset::batch`].
    pub fn batch_with(&self, size: usize, options: BatchOptions) -> Result<Self> {
        let BatchOptions { drop_remainder } = options;
        if size == 0 {
            return Err(Error::Argument {
                stage: "batch",
                what: "batch_size has to be at least 1".into(),
            });
        }
        if let Some(batches) = self.stage.stacked(size, drop_remainder)? {
            return Ok(batches);
        }
        // As in tf.data, the specification fixes the batch length only with `drop_remainder`, even
        // if the cardinality would imply it.
        let spec = spec::tensors(self.spec(), "batch")?
            .into_iter()
            .map(|part| {
                Component::Tensor(TensorSpec::new(
                    part.dtype,
                    part.shape.batched(drop_remainder.then_some(size)),
                ))
            })
            .collect();
        Ok(Self::of(Batch { input: self.clone(), size, drop_remainder, spec }))
    }
}

impl Stage for Batch {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        count(&self.input, self.size, self.drop_remainder)
    }

    fn describe(&self) -> String {
        format!("batch({}{})", self.size, if self.drop_remainder { ", drop_remainder" } else { "" })
    }

    fn describe_any_size(&self) -> String {
        "batch".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].batch_with(self.size, BatchOptions { drop_remainder: self.drop_remainder })
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_batches(self.size, self.drop_remainder)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let start = index.saturating_mul(self.size as u64);
        let len = len_from(&self.input, start, self.size);
        stacked(&self.input, start, len, "batch", cx)
            .map_err(|error| self.input.explain(error).at_element("batch", index))
    }

    fn unstacked(&self) -> Option<Dataset> {
        let size = self.size as u64;
        let whole = self.cardinality().finite().filter(|_| self.drop_remainder);
        // Elements of different shapes cannot be stacked; skipping the batch would hide the error.
        let stackable = self
            .input
            .spec()
            .iter()
            .all(|part| part.tensor().is_some_and(|spec| spec.fixed().is_some()));
        (stackable && self.input.indexed)
            .then(|| self.input.take(whole.map(|batches| batches.saturating_mul(size))))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        if let Some(picked) = self.input.stage.picks(cx)? {
            let (source, size) = (picked.source.clone(), (self.size, self.drop_remainder));
            let gather = move |rows: &[u64], cx: &Context| stacked_rows(&source, rows, cx);
            return Ok(picked_batches(picked, &self.input, cx, size, "batch", gather));
        }
        let make = |elements: &[Element]| stack(elements, "batch", None);
        batches(&self.input, cx, "batch", (self.size, self.drop_remainder), make)
    }

    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let make = |elements: &[Element]| stack(elements, "batch", None);
        let size = (self.size, self.drop_remainder);
        Some(batches_of_part(&self.input, cx, "batch", size, part, make))
    }
}
