//! Helpers for random access: [`Stage::get`](crate::stage::Stage::get) through a gather, and a
//! gather of some components through one of all.

use crate::error::Result;
use crate::request::Columns;
use crate::spec::{Component, tensors};
use crate::stage::{Context, Element, gather_each, not_indexed};
use tensorferry_core::{ByteOrder, Layout, Tensor};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::pool;

/// Maximum rows that a stage computes in `slice`, rather than sharing them. More rows are gathered,
/// a part at a time.
pub(crate) const MADE_ROWS: usize = 1 << 20;

/// Computes an element by gathering one row. Its components must be tensors of known shape.
pub(crate) fn get_by_gather(
    spec: &[Component],
    index: u64,
    gather: impl FnOnce(&mut [RowRequest], &mut [RowsOut<'_>]) -> Result<()>,
) -> Result<Element> {
    let mut parts = Vec::with_capacity(spec.len());
    for spec in tensors(spec, "get")? {
        let shape = spec.shape.as_fixed().ok_or_else(|| not_indexed("get"))?;
        let layout = Layout::contiguous(&shape, spec.dtype.size())?;
        parts.push((spec.dtype, pool::take(layout.nbytes())?, layout));
    }
    let mut out: Vec<RowsOut<'_>> = parts
        .iter_mut()
        .map(|(_, buffer, layout)| RowsOut { bytes: buffer.as_mut_slice(), row: layout.nbytes() })
        .collect();
    gather(&mut [RowRequest { index, slot: 0 }], &mut out)?;
    drop(out);
    let freeze = |(dtype, buffer, layout): (_, pool::PoolBuffer, _)| {
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?.into())
    };
    parts.into_iter().map(freeze).collect()
}

/// Gathers all components.
type Gather<'a> = dyn Fn(&mut [RowRequest], &mut [RowsOut<'_>]) -> Result<()> + 'a;

/// Gathers some components by gathering all and dropping the others. Gathers element by element if
/// a component has no known shape or is requested twice.
pub(crate) fn gather_some(
    spec: &[Component],
    which: &[usize],
    requests: &mut [RowRequest],
    out: &mut [RowsOut<'_>],
    cx: &Context,
    gather_all: &Gather<'_>,
    get: &dyn Fn(u64) -> Result<Element>,
) -> Result<()> {
    let fixed: Option<Vec<usize>> =
        spec.iter().map(|part| Some(part.tensor()?.fixed()?.1)).collect();
    let twice = which.iter().enumerate().any(|(at, component)| which[..at].contains(component));
    let (Some(bytes), false) = (fixed, twice) else {
        return gather_each(get, Columns::Some(which), requests, out, cx);
    };
    let slots = requests.iter().map(|request| request.slot + 1).max().unwrap_or(0);
    let mut unwanted = Vec::new();
    for (component, row) in bytes.iter().enumerate() {
        let len = if which.contains(&component) { 0 } else { row.saturating_mul(slots) };
        unwanted.push(pool::take(len)?);
    }
    let mut all: Vec<RowsOut<'_>> = unwanted
        .iter_mut()
        .zip(&bytes)
        .map(|(buffer, &row)| RowsOut { bytes: buffer.as_mut_slice(), row })
        .collect();
    for (&component, rows) in which.iter().zip(out) {
        all[component] = rows.reborrow();
    }
    gather_all(requests, &mut all)
}
