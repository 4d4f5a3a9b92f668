//! Elements stacked along a new first dimension: shared, gathered, or copied one by one.

use crate::error::{Error, Result};
use crate::gather::MADE_ROWS;
use crate::request::Columns;
use crate::stage::{Context, Dataset, Element, Value};
use tensorferry_core::{ByteOrder, Layout, Tensor};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled, write_row};
use tensorferry_io::memory::pool;
use tensorferry_io::memory::room::collected;
use tensorferry_io::memory::room::list_of;

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
    (0..first.len()).map(|at| stack_component(elements, at, stage, cancel)).collect()
}

/// As [`stack`], for component `at` of elements, at least one.
pub(crate) fn stack_component(
    elements: &[Element],
    at: usize,
    stage: &'static str,
    cancel: Option<&CancelToken>,
) -> Result<Value> {
    let Some(first) = elements.first() else {
        return Err(Error::Argument { stage, what: "no elements to stack".into() });
    };
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
}

/// Bytes and rows to gather between two checks for cancellation: a few milliseconds of work, page
/// faults included.
const PART_BYTES: usize = 16 << 20;
const PART_ROWS: usize = MADE_ROWS;

/// Elements `start..start + len` of an indexed input, stacked. Shares their memory if they are
/// contiguous; otherwise as [`gathered`].
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
    gathered(input, len, |slot| start + slot as u64, stage, cx)
}

/// Elements of an indexed input at `len` indices, stacked. Gathers them if their shapes are known,
/// or else stacks them one by one.
pub(crate) fn gathered(
    input: &Dataset,
    len: usize,
    index: impl Fn(usize) -> u64,
    stage: &'static str,
    cx: &Context,
) -> Result<Element> {
    let fixed: Option<Vec<_>> = input
        .spec()
        .iter()
        .map(|part| part.tensor().and_then(|spec| Some((spec.dtype, spec.fixed()?))))
        .collect();
    let Some(parts) = fixed else {
        let elements = (0..len).map(|slot| {
            cx.cancel.check()?;
            input.stage.get(index(slot), cx)
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
    let mut requests = list_of(most.min(len))?;
    for first in (0..len).step_by(most) {
        cx.cancel.check()?;
        let part = first..len.min(first + most);
        requests.clear();
        requests.extend(part.map(|slot| RowRequest { index: index(slot), slot }));
        input.stage.gather(Columns::All, &mut requests, &mut out, cx)?;
    }
    drop(out);
    let freeze = |(dtype, _, buffer, layout): (_, _, pool::PoolBuffer, _)| {
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?.into())
    };
    buffers.into_iter().map(freeze).collect()
}
