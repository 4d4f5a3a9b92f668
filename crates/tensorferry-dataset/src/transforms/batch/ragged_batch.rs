//! `ragged_batch`: batches of elements of different lengths, without padding.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage, Value,
};
use crate::transforms::batch::batch::BatchOptions;
use crate::transforms::batch::gathered::{batches, batches_of_part, count, len_from};
use crate::transforms::batch::measured::{Measured, Part, consecutive, requests, whole_rows};
use crate::transforms::batch::picked::picked_batches;
use crate::transforms::batch::stacked::stack_component;
use std::ops::Range;
use std::sync::Arc;
use tensorferry_core::{DType, Dims, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{filled, write_row};
use tensorferry_io::memory::room::collected;

#[derive(Clone)]
pub(crate) struct RaggedBatch {
    input: Dataset,
    size: usize,
    drop_remainder: bool,
    /// The components that become ragged, if the caller names them: then the stage is a `batch`.
    named: Option<Arc<[usize]>>,
    /// Which components of the input become ragged.
    ragged: Arc<[bool]>,
    measured: Option<Arc<Measured>>,
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
        self.ragged(size, None, options)
    }

    /// As [`Dataset::ragged_batch`] for these components, which have to be of unknown length, and
    /// as [`Dataset::batch`] for the others. Strings, which are rows of bytes, are batched so.
    ///
    /// # Errors
    /// As both.
    pub fn batch_ragged(
        &self,
        size: usize,
        components: &[usize],
        options: BatchOptions,
    ) -> Result<Self> {
        self.ragged(size, Some(components.into()), options)
    }

    fn ragged(
        &self,
        size: usize,
        named: Option<Arc<[usize]>>,
        options: BatchOptions,
    ) -> Result<Self> {
        Ok(Self::of(RaggedBatch::new(self, size, named, options)?))
    }
}

impl RaggedBatch {
    /// Batches in which the `named` components become ragged: see [`Dataset::batch_ragged`].
    pub(crate) fn new(
        input: &Dataset,
        size: usize,
        named: Option<Arc<[usize]>>,
        options: BatchOptions,
    ) -> Result<Self> {
        let BatchOptions { drop_remainder } = options;
        let stage = stage(named.as_deref());
        if size == 0 {
            return Err(wrong(stage, "batch_size has to be at least 1"));
        }
        let len = drop_remainder.then_some(size);
        let (mut spec, mut ragged) = (Vec::new(), Vec::new());
        for (at, part) in spec::tensors(input.spec(), stage)?.into_iter().enumerate() {
            let is_asked = named.as_ref().is_none_or(|named| named.contains(&at));
            let is_ragged =
                is_asked && is_ragged(part).map_err(|what| input.misfit(at, wrong(stage, what)))?;
            if named.is_some() && is_asked && !is_ragged {
                return Err(input.misfit(at, wrong(stage, "is not of unknown length")));
            }
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
        let measured = Measured::new(input).filter(|measured| {
            measured.parts().iter().zip(&ragged).all(|(part, ragged)| part.is_measured == *ragged)
        });
        let (input, ragged) = (input.clone(), ragged.into());
        let measured = measured.map(Arc::new);
        Ok(Self { input, size, drop_remainder, named, ragged, measured, spec })
    }
}

fn stage(named: Option<&[usize]>) -> &'static str {
    if named.is_some() { "batch" } else { "ragged_batch" }
}

fn wrong(stage: &'static str, what: &str) -> Error {
    Error::Argument { stage, what: what.into() }
}

/// Whether the first dimension of a component is unknown.
fn is_ragged(part: &TensorSpec) -> Result<bool, &'static str> {
    let what = "has more unknown dimensions than the first. Map it to a known shape.";
    let Some(dims) = part.shape.dims() else { return Err(what) };
    if dims.iter().skip(1).any(Option::is_none) {
        return Err(what);
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
fn batch(elements: &[Element], ragged: &[bool], stage: &'static str) -> Result<Element> {
    let mut batch = Element::new();
    for (at, ragged) in ragged.iter().enumerate() {
        if *ragged {
            batch.extend(joined_rows(elements, at, stage)?);
        } else {
            batch.push(stack_component(elements, at, stage, None)?);
        }
    }
    Ok(batch)
}

/// The rows of a component of elements, one after the other, and their splits.
pub(crate) fn joined_rows(elements: &[Element], at: usize, stage: &'static str) -> Result<Element> {
    let rows: Vec<&Tensor> =
        elements.iter().map(|element| element[at].tensor()).collect::<Result<_>>()?;
    let lengths = rows.iter().map(|row| row.shape().first().copied().unwrap_or(0));
    Ok(vec![joined(at, &rows, stage)?.into(), splits(lengths)?.into()])
}

/// The rows of a component whose lengths are known, one after the other, and their splits.
pub(crate) fn gathered_rows(
    measured: &Measured,
    (at, part): (usize, &Part),
    requests: &[RowRequest],
    lengths: Vec<usize>,
    cx: &Context,
) -> Result<Vec<Value>> {
    let mut room = part.room(&[lengths.iter().sum()])?;
    let mut rows = whole_rows(requests, &lengths, |_, before| before)?;
    measured.gather(at, &mut rows, &mut room, cx)?;
    Ok(vec![room.freeze()?.into(), splits(lengths.into_iter())?.into()])
}

/// The rows, one after the other.
fn joined(at: usize, rows: &[&Tensor], stage: &'static str) -> Result<Tensor> {
    let Some(first) = rows.first() else { return Err(wrong(stage, "no elements to batch")) };
    let inner: Dims = first.shape().iter().skip(1).copied().collect();
    for row in rows {
        if row.shape().get(1..) != Some(inner.as_slice()) {
            let shapes = Box::new((first.shape().into(), row.shape().into()));
            return Err(Error::UnequalShapes { stage, shapes }.in_component(at));
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
    fn stage(&self) -> &'static str {
        stage(self.named.as_deref())
    }

    fn make(&self) -> impl Fn(&[Element]) -> Result<Element> + Send + 'static {
        let (ragged, stage) = (Arc::clone(&self.ragged), self.stage());
        move |elements| batch(elements, &ragged, stage)
    }

    /// The batch of these elements of an indexed input. Their slots are `0..len`.
    pub(crate) fn of(&self, requests: &[RowRequest], cx: &Context) -> Result<Element> {
        if let Some(measured) = &self.measured {
            return self.gathered(measured, requests, cx);
        }
        let element = |request: &RowRequest| {
            cx.cancel.check()?;
            self.input.stage.get(request.index, cx)
        };
        collected(requests.iter().map(element)).and_then(|elements| self.of_elements(&elements))
    }

    /// The batch of elements that have been read.
    pub(crate) fn of_elements(&self, elements: &[Element]) -> Result<Element> {
        batch(elements, &self.ragged, self.stage())
    }

    /// The batch of elements whose lengths are known.
    fn gathered(
        &self,
        measured: &Measured,
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Element> {
        let ragged = |at: usize, part: &Part| {
            let lengths = measured.lengths(at, requests, cx)?;
            gathered_rows(measured, (at, part), requests, lengths, cx)
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
        match &self.named {
            None => format!("ragged_batch({}{remainder})", self.size),
            Some(named) => format!("batch({}{remainder}, ragged={named:?})", self.size),
        }
    }

    fn describe_any_size(&self) -> String {
        match &self.named {
            None => "ragged_batch".into(),
            Some(named) => format!("batch(ragged={named:?})"),
        }
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let options = BatchOptions { drop_remainder: self.drop_remainder };
        inputs[0].ragged(self.size, self.named.clone(), options)
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_batches(self.size, self.drop_remainder)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let start = index.saturating_mul(self.size as u64);
        let len = len_from(&self.input, start, self.size);
        let made = consecutive(start, len).and_then(|requests| self.of(&requests, cx));
        made.map_err(|error| self.input.explain(error).at_element(self.stage(), index))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let size = (self.size, self.drop_remainder);
        if let Some(picked) = self.input.stage.picks(cx)? {
            let of_source = Self::new(
                &picked.source,
                self.size,
                self.named.clone(),
                BatchOptions { drop_remainder: self.drop_remainder },
            )?;
            let gather = move |rows: &[u64], cx: &Context| of_source.of(&requests(rows)?, cx);
            return Ok(picked_batches(picked, &self.input, cx, size, self.stage(), gather));
        }
        batches(&self.input, cx, self.stage(), size, self.make())
    }

    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let size = (self.size, self.drop_remainder);
        Some(batches_of_part(&self.input, cx, self.stage(), size, part, self.make()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilterOptions;
    use crate::all_ways::streamed;
    use crate::sources::ragged::Ragged;
    use crate::testing::{
        assert_goes_on_after_a_stop, assert_rebuilds, assert_rejects_damage, assert_resumes, range,
        rest, stream,
    };
    use crate::user_fn::function::Function;

    /// Rows of bytes between numbers.
    fn strings() -> Dataset {
        let lengths = Tensor::from_vec(vec![2_i64, 0, 3, 1, 0], &[5]).unwrap();
        let values = Tensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[6]).unwrap();
        let rows = Ragged::from_row_lengths(values, &lengths).unwrap();
        Dataset::zip(vec![range(5), Dataset::from_ragged([rows]).unwrap(), range(5)]).unwrap()
    }

    const LAST: BatchOptions = BatchOptions { drop_remainder: false };

    #[test]
    fn named_components_become_ragged_however_they_are_read() {
        for options in [LAST, BatchOptions::DROP_REMAINDER] {
            for size in [1, 2, 5, 7] {
                let named = strings().batch_ragged(size, &[1], options).unwrap();
                let slow = streamed(&strings()).batch_ragged(size, &[1], options).unwrap();
                let whole = strings().ragged_batch(size, options).unwrap();
                assert_eq!(named.spec(), whole.spec());
                let found = rest(&mut stream(&named));
                assert_eq!(found, rest(&mut stream(&slow)));
                assert_eq!(found, rest(&mut stream(&whole)));
                for plan in [&named, &slow] {
                    assert_resumes(plan);
                    assert_rejects_damage(plan);
                    assert_goes_on_after_a_stop(plan);
                }
                assert_rebuilds(&named);
            }
        }
    }

    #[test]
    fn batches_after_a_filter_of_batches_gather_rows_together() {
        let keep = || {
            Function::new("keep", |batch: Element| {
                Ok(batch[0].tensor()?.view::<i64>()?.iter().map(|value| value != 1).collect())
            })
        };
        let filtered = |input: &Dataset| {
            let options = FilterOptions { components: Some(vec![0]), ..FilterOptions::default() };
            input.filter_batched(keep(), options).unwrap()
        };
        for size in [1, 2, 3, 7] {
            let fast = filtered(&strings()).batch_ragged(size, &[1], LAST).unwrap();
            let slow = filtered(&streamed(&strings())).batch_ragged(size, &[1], LAST).unwrap();
            assert_eq!(rest(&mut stream(&fast)), rest(&mut stream(&slow)));
            assert_resumes(&fast);
            assert_rejects_damage(&fast);
            assert_goes_on_after_a_stop(&fast);
            let all = FilterOptions { strings: vec![1], batch_size: 2, ..FilterOptions::default() };
            for input in [strings(), streamed(&strings())] {
                let whole = input.filter_batched(keep(), all.clone()).unwrap();
                let whole = whole.batch_ragged(size, &[1], LAST).unwrap();
                assert_eq!(rest(&mut stream(&whole)), rest(&mut stream(&slow)));
                assert_resumes(&whole);
            }
        }
    }

    #[test]
    fn other_components_are_stacked_as_in_a_batch() {
        let both = Dataset::zip(vec![strings(), strings()]).unwrap();
        let batch = both.batch_ragged(3, &[1], LAST).unwrap();
        let error = batch.get(0).unwrap_err();
        assert_eq!(error.code(), "unequal_shapes");
        assert!(error.to_string().contains("batch: element 0"), "{error}");
        let single = both.batch_ragged(1, &[1], LAST).unwrap();
        assert_eq!(single.get(2).unwrap()[5].tensor().unwrap().shape(), [1, 3]);
        let error = both.batch_ragged(2, &[0], LAST).unwrap_err().to_string();
        assert!(error.contains("is not of unknown length"), "{error}");
        assert!(both.batch_ragged(0, &[1], LAST).is_err());
    }
}
