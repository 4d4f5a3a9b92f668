//! `rebatch`: changes the sizes of batches.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Stage, Step};
use crate::transforms::batch::batch::BatchOptions;
use crate::transforms::batch::gathered::{Gathered, len_from};
use crate::transforms::batch::stacked::{stack, stacked};
use crate::transforms::batch::unbatch::no_rows;
use std::sync::Arc;
use tensorferry_core::TensorSpec;
use tensorferry_io::gather::rows_out::filled;

struct Rebatch {
    input: Dataset,
    /// The rows of the input's elements.
    rows: Dataset,
    sizes: Arc<[usize]>,
    /// Number of rows in one cycle through the sizes.
    cycle: u64,
    drop_remainder: bool,
    spec: Vec<Component>,
}

impl Dataset {
    /// Stacks the rows of the elements into batches whose sizes cycle through `sizes`, like
    /// `unbatch` followed by `batch`. It is indexed if `unbatch` is. The last batch may be smaller,
    /// or is dropped with `drop_remainder`. A size of 0 yields a batch without rows.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{BatchOptions, Cardinality, Dataset};
    ///
    /// let numbers = Dataset::range(0, 8, 1, DType::Int64)?;
    /// let batches = numbers.batch_with(4, BatchOptions::DROP_REMAINDER)?;
    /// let batches = batches.rebatch(vec![3, 1], BatchOptions::default())?;
    /// assert_eq!(batches.cardinality(), Cardinality::Finite(4));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::unbatch`]; [`Error::Argument`] if all sizes are 0 or there are none.
    pub fn rebatch(&self, sizes: Vec<usize>, options: BatchOptions) -> Result<Self> {
        let BatchOptions { drop_remainder } = options;
        let wrong = |what: String| Error::Argument { stage: "rebatch", what };
        let cycle = sizes.iter().try_fold(0_u64, |all, size| all.checked_add(*size as u64));
        let Some(cycle @ 1..) = cycle else {
            return Err(wrong(format!(
                "batch sizes have to be at least 0, and one of them at least 1; they are {sizes:?}"
            )));
        };
        let parts = spec::tensors(self.spec(), "rebatch")?;
        if let Some(at) =
            parts.iter().position(|part| part.shape.dims().is_some_and(<[_]>::is_empty))
        {
            return Err(self.explain(no_rows("rebatch", at, "Batch first.")));
        }
        let rows = self.unbatch()?;
        let size = sizes.first().copied().filter(|first| sizes.iter().all(|size| size == first));
        let known = parts
            .iter()
            .find_map(|part| part.shape.dims().and_then(|dims| dims.first().copied().flatten()));
        // All batches have the same length if an incomplete last batch is dropped, or if the size
        // divides each input batch.
        let len = size.filter(|&size| {
            drop_remainder || known.is_some_and(|known| known.is_multiple_of(size))
        });
        let part = |part: &TensorSpec| {
            Component::Tensor(TensorSpec::new(part.dtype, part.shape.batched(len)))
        };
        let spec = rows.spec().iter().filter_map(Component::tensor).map(part).collect();
        Ok(Self::of(Rebatch {
            input: self.clone(),
            rows,
            sizes: sizes.into(),
            cycle,
            drop_remainder,
            spec,
        }))
    }
}

impl Rebatch {
    /// The first row of a batch, and the size of the batch unless the rows end before.
    fn locate(&self, index: u64) -> (u64, usize) {
        let count = self.sizes.len() as u64;
        let place = usize::try_from(index % count).unwrap_or(0);
        let before: u64 = self.sizes.iter().take(place).map(|size| *size as u64).sum();
        let start = (index / count).saturating_mul(self.cycle).saturating_add(before);
        (start, self.sizes[place])
    }
}

/// A batch without rows. Unknown dimensions are 0.
fn empty(spec: &[Component]) -> Result<Element> {
    let part = |part: &TensorSpec| {
        let dims = part.shape.dims().ok_or_else(|| Error::ElementMismatch {
            what: "a batch of size 0 of rows whose number of dimensions is unknown".into(),
        })?;
        let shape: Vec<usize> =
            std::iter::once(0).chain(dims.iter().map(|dim| dim.unwrap_or(0))).collect();
        Ok(filled(part.dtype, &shape, |_| Ok::<_, Error>(()))?.into())
    };
    spec::tensors(spec, "rebatch")?.into_iter().map(part).collect()
}

impl Stage for Rebatch {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.rows.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        self.rows.cardinality().map(|n| {
            let (mut batches, mut left) =
                ((n / self.cycle).saturating_mul(self.sizes.len() as u64), n % self.cycle);
            for size in self.sizes.iter().map(|size| *size as u64) {
                if left < size {
                    batches = batches.saturating_add(u64::from(left > 0 && !self.drop_remainder));
                    break;
                }
                (batches, left) = (batches.saturating_add(1), left - size);
            }
            batches
        })
    }

    fn describe(&self) -> String {
        format!(
            "rebatch({:?}{})",
            self.sizes,
            if self.drop_remainder { ", drop_remainder" } else { "" }
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].rebatch(self.sizes.to_vec(), BatchOptions { drop_remainder: self.drop_remainder })
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let (start, size) = self.locate(index);
        if size == 0 {
            return empty(self.rows.spec()).map_err(|error| error.at_element("rebatch", index));
        }
        let len = len_from(&self.rows, start, size);
        stacked(&self.rows, start, len, "rebatch", cx)
            .map_err(|error| self.input.explain(error).at_element("rebatch", index))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(RebatchIter {
            gathered: Gathered::new(&self.rows, self.input.names.clone(), cx)?,
            spec: self.rows.spec().to_vec(),
            sizes: Arc::clone(&self.sizes),
            drop_remainder: self.drop_remainder,
        }))
    }
}

struct RebatchIter {
    gathered: Gathered,
    /// Specification of the rows.
    spec: Vec<Component>,
    sizes: Arc<[usize]>,
    drop_remainder: bool,
}

impl ElementIter for RebatchIter {
    fn next(&mut self) -> Step {
        let index = self.gathered.index;
        let place = usize::try_from(index % self.sizes.len() as u64).unwrap_or(0);
        let size = self.sizes[place];
        if size == 0 {
            self.gathered.index = index.saturating_add(1);
            let batch = empty(&self.spec).map_err(|error| error.at_element("rebatch", index));
            return Ok(Some(batch));
        }
        let elements = self.gathered.next(size, self.drop_remainder)?;
        let Some(elements) = elements else { return Ok(None) };
        // After the last rows there are no more batches, not even of size 0.
        if elements.as_ref().is_ok_and(|elements| elements.len() == size) || elements.is_err() {
            self.gathered.index = index.saturating_add(1);
        }
        let batch = elements.and_then(|elements| stack(&elements, "rebatch", None));
        self.gathered.batch("rebatch", index, batch)
    }

    fn save(&self) -> Result<State> {
        self.gathered.save()
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.gathered.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{rows, streamed};
    use crate::testing::{assert_rebuilds, assert_rejects_damage, assert_resumes, range};

    #[test]
    fn rebatch_cycles_through_its_sizes() -> Result<()> {
        for input in [
            range(6).batch(4)?,
            streamed(&range(6).batch(4)?),
            range(6).batch_with(2, BatchOptions::DROP_REMAINDER)?,
            streamed(&range(6)).batch_with(3, BatchOptions::DROP_REMAINDER)?,
        ] {
            let mixed = input.rebatch(vec![3, 1], BatchOptions::default())?;
            assert_eq!(rows(&mixed)?, [vec![0, 1, 2], vec![3], vec![4, 5]]);
            assert_eq!(
                rows(&input.rebatch(vec![3, 1], BatchOptions::DROP_REMAINDER)?)?,
                [vec![0, 1, 2], vec![3]]
            );
            assert_eq!(
                rows(&input.rebatch(vec![5], BatchOptions::default())?)?,
                [vec![0, 1, 2, 3, 4], vec![5]]
            );
            assert_resumes(&mixed);
            assert_rejects_damage(&mixed);
            assert_rebuilds(&mixed);
        }
        Ok(())
    }

    #[test]
    fn there_are_as_many_batches_as_cardinality_says() -> Result<()> {
        for n in 0..12 {
            for sizes in [vec![1], vec![3], vec![3, 1], vec![1, 4, 2]] {
                for drop in [false, true] {
                    let batches = range(n)
                        .batch(2)?
                        .rebatch(sizes.clone(), BatchOptions { drop_remainder: drop })?;
                    assert_eq!(
                        batches.cardinality(),
                        Cardinality::Finite(batches.iter().count() as u64),
                        "{batches}"
                    );
                    let stream = streamed(&range(n).batch(2)?)
                        .rebatch(sizes.clone(), BatchOptions { drop_remainder: drop })?;
                    assert_eq!(rows(&stream)?, rows(&batches)?, "{batches}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_length_of_a_batch_is_promised_where_it_cannot_vary() -> Result<()> {
        let batches = range(8).batch_with(4, BatchOptions::DROP_REMAINDER)?;
        let spec = |sizes: &[usize], drop| {
            Ok::<_, Error>(
                batches.rebatch(sizes.to_vec(), BatchOptions { drop_remainder: drop })?.spec()[0]
                    .to_string(),
            )
        };
        assert_eq!(spec(&[2, 2], false)?, "int64[2]");
        assert_eq!(spec(&[3], false)?, "int64[?]");
        assert_eq!(spec(&[3], true)?, "int64[3]");
        assert_eq!(spec(&[3, 1], true)?, "int64[?]");
        assert!(batches.rebatch(Vec::new(), BatchOptions::default()).is_err());
        assert!(batches.rebatch(vec![0, 0], BatchOptions::default()).is_err());
        assert!(range(8).rebatch(vec![2], BatchOptions::default()).is_err());
        Ok(())
    }
}
