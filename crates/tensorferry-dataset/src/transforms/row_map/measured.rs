//! Row maps over datasets of which some components have no known shape.

use crate::error::Result;
use crate::execute::stats::converting;
use crate::request::{Columns, RowPart};
use crate::spec::Component;
use crate::stage::{Context, not_indexed};
use crate::transforms::row_map::row_map::{Block, RowMap};
use crate::transforms::row_map::stage::RowMapStage;
use tensorferry_core::{Dims, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::pool;

/// Bytes of input to gather at once, unless one part is larger.
const CHUNK: usize = 32 << 10;

/// Shape and bytes of one value of a measured component.
fn value(part: &Component) -> Option<(Dims, usize)> {
    let spec = part.tensor()?;
    let inner: Dims = spec.shape.dims()?.iter().skip(1).copied().collect::<Option<_>>()?;
    let bytes = inner.iter().try_fold(spec.dtype.size(), |bytes, &dim| bytes.checked_mul(dim))?;
    Some((inner, bytes))
}

impl<M: RowMap> RowMapStage<M> {
    /// Whether these components have known shapes, before the map and after it.
    pub(crate) fn are_fixed(&self, mut columns: impl Iterator<Item = usize>) -> bool {
        let fixed = |part: &Component| part.tensor().and_then(TensorSpec::fixed).is_some();
        columns.all(|at| fixed(&self.spec[at]) && fixed(&self.input.spec()[at]))
    }

    /// Gathers components of known shapes, where others have none.
    pub(crate) fn gather_fixed(
        &self,
        columns: Columns<'_>,
        requests: &[RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let (mut same, mut rest) = (Vec::new(), Vec::new());
        for (at, rows) in columns.indices(out.len()).zip(out) {
            if self.inner.changes[at].is_none() {
                same.push(at);
                rest.push(rows.reborrow());
                continue;
            }
            let spec = self.input.spec()[at].tensor().and_then(TensorSpec::fixed);
            let (shape, row) = spec.ok_or_else(|| not_indexed("gather"))?;
            let mut buffer = pool::take(row)?;
            for request in requests {
                cx.cancel.check()?;
                let read = [RowsOut { bytes: buffer.as_mut_slice(), row }];
                let wanted = &mut [RowRequest { index: request.index, slot: 0 }];
                self.input.stage.gather(Columns::Some(&[at]), wanted, &mut { read }, cx)?;
                let bytes = buffer.as_mut_slice();
                self.map_one(at, request.index, (&shape, bytes), rows.slot(request.slot), cx)?;
            }
        }
        if same.is_empty() {
            return Ok(());
        }
        self.input.stage.gather(Columns::Some(&same), &mut requests.to_vec(), &mut rest, cx)
    }

    /// Gathers parts of a measured component that changes.
    pub(crate) fn gather_changed(
        &self,
        at: usize,
        parts: &[RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let (from, to) = (value(&self.input.spec()[at]), value(&self.spec[at]));
        let (Some((inner, from)), Some((_, to))) = (from, to) else {
            return Err(not_indexed("gather"));
        };
        let most = (CHUNK / from.max(1)).max(1);
        let mut rest = parts;
        while !rest.is_empty() {
            cx.cancel.check()?;
            let mut values = 0;
            let count = rest.iter().take_while(|part| {
                values += part.len;
                values <= most
            });
            let (here, later) = rest.split_at(count.count().max(1));
            self.map_parts(at, (&inner, from, to), here, out, cx)?;
            rest = later;
        }
        Ok(())
    }

    /// Gathers parts into one buffer, and maps each from there.
    fn map_parts(
        &self,
        at: usize,
        (inner, from, to): (&Dims, usize, usize),
        parts: &[RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let mut buffer = pool::take(parts.iter().map(|part| part.len * from).sum())?;
        let mut slot = 0;
        let packed = |part: &RowPart| {
            let packed = RowPart { slot, ..*part };
            slot += part.len;
            packed
        };
        let mut wanted: Vec<RowPart> = parts.iter().map(packed).collect();
        let mut rows = RowsOut { bytes: buffer.as_mut_slice(), row: from };
        self.input.stage.gather_parts(at, &mut wanted, &mut rows, cx)?;
        let mut rest = &*buffer.as_mut_slice();
        for part in parts {
            let bytes;
            (bytes, rest) = rest.split_at(part.len * from);
            let shape: Dims = std::iter::once(part.len).chain(inner.iter().copied()).collect();
            let out = &mut out.bytes[part.slot * to..(part.slot + part.len) * to];
            self.map_one(at, part.index, (&shape, bytes), out, cx)?;
        }
        Ok(())
    }

    /// Maps one row, or a part of it. An error names the element, and the value by its index in it.
    fn map_one(
        &self,
        at: usize,
        index: u64,
        (shape, rows): (&Dims, &[u8]),
        out: &mut [u8],
        cx: &Context,
    ) -> Result<()> {
        let (epoch, cancel) = (cx.epoch, &cx.cancel);
        let block = Block { indices: &[index], epoch, shape, rows, out, cancel };
        converting(cx.stats.as_ref(), || self.inner.map.apply(at, block)).map_err(|error| {
            let error = self.inner.misfit(at, error).at_element(self.inner.map.stage(), index);
            self.first_error(&[index], error, cx)
        })
    }
}
