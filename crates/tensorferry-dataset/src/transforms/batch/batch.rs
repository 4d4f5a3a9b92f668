//! `batch`: stacks consecutive elements.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::gather::MADE_ROWS;
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Columns, Context, Dataset, Element, ElementIter, Elements, Stage, Value,
};
use crate::transforms::batch::gathered::{batches, count, len_from};
use tensorferry_core::{ByteOrder, Layout, Tensor, TensorSpec};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled, write_row};
use tensorferry_io::memory::pool;
use tensorferry_io::memory::room::collected;

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

/// Stacks elements, at least one, along a new first dimension. Without `stop`, it cannot be
/// interrupted.
pub(crate) fn stack(
    elements: &[Element],
    stage: &'static str,
    cancel: Option<&CancelToken>,
) -> Result<Element> {
    let Some(first) = elements.first() else {
        return Err(Error::Argument { stage, what: "no elements to stack".into() });
    };
    let component = |at: usize| -> Result<Value> {
        let model = first[at].tensor()?;
        for element in elements {
            let tensor = element[at].tensor()?;
            if tensor.shape() != model.shape() {
                let shapes = Box::new((model.shape().into(), tensor.shape().into()));
                return Err(Error::UnequalShapes { stage, shapes }.in_component(at));
            }
        }
        let shape: Vec<usize> =
            std::iter::once(elements.len()).chain(model.shape().iter().copied()).collect();
        let row = model.layout().nbytes();
        let stacked = filled(model.dtype(), &shape, |bytes| -> Result<()> {
            for (i, element) in elements.iter().enumerate() {
                cancel.map_or(Ok(()), CancelToken::check)?;
                write_row(element[at].tensor()?, &mut bytes[i * row..(i + 1) * row])?;
            }
            Ok(())
        })?;
        Ok(stacked.into())
    };
    (0..first.len()).map(component).collect()
}

/// Bytes and rows to gather between two checks for cancellation: a few milliseconds of work, page
/// faults included.
const PART_BYTES: usize = 16 << 20;
const PART_ROWS: usize = MADE_ROWS;

/// Elements `start..start + len` of an indexed input, stacked. Shares their memory if they are
/// contiguous. Otherwise gathers them if their shapes are known, or else stacks them one by one.
pub(crate) fn stacked(
    input: &Dataset,
    start: u64,
    len: usize,
    stage: &'static str,
    cx: &Context,
) -> Result<Element> {
    if let Some(shared) = input.stage.slice(start, len, cx) {
        return Ok(shared.into_iter().map(Value::Tensor).collect());
    }
    let fixed: Option<Vec<_>> = input
        .spec()
        .iter()
        .map(|part| part.tensor().and_then(|spec| Some((spec.dtype, spec.fixed()?))))
        .collect();
    let Some(parts) = fixed else {
        let elements = (start..start + len as u64).map(|index| {
            cx.cancel.check()?;
            input.stage.get(index, cx)
        });
        return stack(&collected(elements)?, stage, Some(&cx.cancel));
    };
    let mut buffers = Vec::with_capacity(parts.len());
    for (dtype, (shape, row)) in &parts {
        let shape: Vec<usize> = std::iter::once(len).chain(shape.iter().copied()).collect();
        let layout = Layout::contiguous(&shape, dtype.size())?;
        buffers.push((*dtype, *row, pool::take(layout.nbytes())?, layout));
    }
    let mut out: Vec<RowsOut<'_>> = buffers
        .iter_mut()
        .map(|(_, row, buffer, _)| RowsOut { bytes: buffer.as_mut_slice(), row: *row })
        .collect();
    let bytes: usize = out.iter().map(|rows| rows.row).sum();
    let most = (PART_BYTES / bytes.max(1)).clamp(1, PART_ROWS);
    let mut requests = Vec::with_capacity(most.min(len));
    for first in (0..len).step_by(most) {
        cx.cancel.check()?;
        let part = first..len.min(first + most);
        requests.clear();
        requests.extend(part.map(|slot| RowRequest { index: start + slot as u64, slot }));
        input.stage.gather(Columns::All, &mut requests, &mut out, cx)?;
    }
    drop(out);
    let freeze = |(dtype, _, buffer, layout): (_, _, pool::PoolBuffer, _)| {
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?.into())
    };
    buffers.into_iter().map(freeze).collect()
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

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].batch_with(self.size, BatchOptions { drop_remainder: self.drop_remainder })
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(self.size as u64), ..CheckpointInfo::default() }
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
        let make = |elements: &[Element]| stack(elements, "batch", None);
        batches(&self.input, cx, "batch", (self.size, self.drop_remainder), make)
    }
}
