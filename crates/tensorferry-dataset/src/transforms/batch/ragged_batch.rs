//! `ragged_batch`: batches of elements of different lengths, without padding.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage};
use crate::transforms::batch::batch::BatchOptions;
use crate::transforms::batch::gathered::{batches, count, len_from};
use crate::transforms::batch::measured::{Measured, Part, consecutive, whole_rows};
use crate::transforms::batch::stacked::stack_component;
use std::sync::Arc;
use tensorferry_core::{DType, Dims, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{filled, write_row};
use tensorferry_io::memory::room::collected;

struct RaggedBatch {
    input: Dataset,
    size: usize,
    drop_remainder: bool,
    /// Which components of the input become ragged.
    ragged: Arc<[bool]>,
    measured: Option<Measured>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Batches of `size` consecutive elements. A component whose first dimension is unknown becomes
    /// two: the values of all elements, one after the other, and the int64 row splits: element `i`
    /// of the batch has the values from `splits[i]` to `splits[i + 1]`. Other components are
    /// stacked.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{BatchOptions, Dataset, Ragged};
    ///
    /// let values = Tensor::from_vec(vec![1_i32, 2, 3, 4, 5], &[5])?;
    /// let rows = Ragged::from_row_lengths(values, &Tensor::from_vec(vec![2_i64, 0, 3], &[3])?)?;
    /// let batch = Dataset::from_ragged([rows])?.ragged_batch(2, BatchOptions::default())?.get(0)?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2][..]));
    /// assert_eq!(batch[1].tensor()?.view::<i64>()?.as_slice(), Some(&[0, 2, 2][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `size` is 0, an element holds datasets, or a dimension other than the
    /// first is unknown.
    pub fn ragged_batch(&self, size: usize, options: BatchOptions) -> Result<Self> {
        let BatchOptions { drop_remainder } = options;
        if size == 0 {
            return Err(wrong("batch_size has to be at least 1"));
        }
        let len = drop_remainder.then_some(size);
        let (mut spec, mut ragged) = (Vec::new(), Vec::new());
        for (at, part) in spec::tensors(self.spec(), "ragged_batch")?.into_iter().enumerate() {
            let is_ragged = is_ragged(part).map_err(|error| self.misfit(at, error))?;
            if is_ragged {
                let splits = Shape::new([len.map(|len| len + 1)]);
                spec.push(Component::Tensor(part.clone()));
                spec.push(Component::Tensor(TensorSpec::new(DType::Int64, splits)));
            } else {
                let shape = part.shape.batched(len);
                spec.push(Component::Tensor(TensorSpec::new(part.dtype, shape)));
            }
            ragged.push(is_ragged);
        }
        let measured = Measured::new(self).filter(|measured| {
            measured.parts().iter().zip(&ragged).all(|(part, ragged)| part.is_measured == *ragged)
        });
        let (input, ragged) = (self.clone(), ragged.into());
        Ok(Self::of(RaggedBatch { input, size, drop_remainder, ragged, measured, spec }))
    }
}

fn wrong(what: &str) -> Error {
    Error::Argument { stage: "ragged_batch", what: what.into() }
}

/// Whether the first dimension of a component is unknown.
fn is_ragged(part: &TensorSpec) -> Result<bool> {
    let what = "has more unknown dimensions than the first. Map it to a known shape.";
    let Some(dims) = part.shape.dims() else { return Err(wrong(what)) };
    if dims.iter().skip(1).any(Option::is_none) {
        return Err(wrong(what));
    }
    Ok(dims.first() == Some(&None))
}

/// The splits of rows of these lengths.
fn splits(lengths: impl Iterator<Item = usize>) -> Result<Tensor> {
    let mut splits = vec![0_i64];
    let mut end = 0_usize;
    for len in lengths {
        end = end.saturating_add(len);
        splits.push(i64::try_from(end).unwrap_or(i64::MAX));
    }
    let len = splits.len();
    Ok(Tensor::from_vec(splits, &[len])?)
}

/// The batch of elements that have been read.
fn batch(elements: &[Element], ragged: &[bool]) -> Result<Element> {
    let mut batch = Element::new();
    for (at, ragged) in ragged.iter().enumerate() {
        if *ragged {
            let rows: Vec<&Tensor> =
                elements.iter().map(|element| element[at].tensor()).collect::<Result<_>>()?;
            batch.push(joined(at, &rows)?.into());
            let lengths = rows.iter().map(|row| row.shape().first().copied().unwrap_or(0));
            batch.push(splits(lengths)?.into());
        } else {
            batch.push(stack_component(elements, at, "ragged_batch", None)?);
        }
    }
    Ok(batch)
}

/// The rows, one after the other.
fn joined(at: usize, rows: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = rows.first() else { return Err(wrong("no elements to batch")) };
    let inner: Dims = first.shape().iter().skip(1).copied().collect();
    for row in rows {
        if row.shape().get(1..) != Some(inner.as_slice()) {
            let shapes = Box::new((first.shape().into(), row.shape().into()));
            return Err(Error::UnequalShapes { stage: "ragged_batch", shapes }.in_component(at));
        }
    }
    let count = rows.iter().map(|row| row.shape()[0]).sum();
    let shape: Dims = std::iter::once(count).chain(inner).collect();
    filled(first.dtype(), &shape, |bytes| {
        let mut rest = bytes;
        for row in rows {
            let here;
            (here, rest) = rest.split_at_mut(row.layout().nbytes());
            write_row(row, here)?;
        }
        Ok(())
    })
}

impl RaggedBatch {
    /// The batch of elements whose lengths are known.
    fn gathered(
        &self,
        measured: &Measured,
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Element> {
        let ragged = |at: usize, part: &Part| {
            let lengths = measured.lengths(at, requests, cx)?;
            let mut room = part.room(&[lengths.iter().sum()])?;
            let mut rows = whole_rows(requests, &lengths, |_, before| before);
            measured.gather(at, &mut rows, &mut room, cx)?;
            Ok(vec![room.freeze()?.into(), splits(lengths.into_iter())?.into()])
        };
        measured.batch(requests, ragged, cx)
    }
}

impl Stage for RaggedBatch {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        count(&self.input, self.size, self.drop_remainder)
    }

    fn describe(&self) -> String {
        let remainder = if self.drop_remainder { ", drop_remainder" } else { "" };
        format!("ragged_batch({}{remainder})", self.size)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].ragged_batch(self.size, BatchOptions { drop_remainder: self.drop_remainder })
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(self.size as u64), ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let start = index.saturating_mul(self.size as u64);
        let len = len_from(&self.input, start, self.size);
        let made = match &self.measured {
            Some(measured) => self.gathered(measured, &consecutive(start, len), cx),
            None => {
                let element = |at| {
                    cx.cancel.check()?;
                    self.input.stage.get(start + at, cx)
                };
                collected((0..len as u64).map(element))
                    .and_then(|elements| batch(&elements, &self.ragged))
            }
        };
        made.map_err(|error| self.input.explain(error).at_element("ragged_batch", index))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let ragged = Arc::clone(&self.ragged);
        let make = move |elements: &[Element]| batch(elements, &ragged);
        batches(&self.input, cx, "ragged_batch", (self.size, self.drop_remainder), make)
    }
}
