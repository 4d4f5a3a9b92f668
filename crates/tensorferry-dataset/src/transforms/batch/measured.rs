//! Batches of elements whose lengths are known before they are read: rows are gathered directly
//! into the batch.

use crate::error::Result;
use crate::request::{Columns, RowPart};
use crate::stage::{Context, Dataset, Element, Value};
use tensorferry_core::{ByteOrder, DType, Dims, Layout, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::pool;
use tensorferry_io::memory::room::{copied, listed};

/// Bytes to gather between two checks for cancellation.
const PART_BYTES: usize = 16 << 20;

/// A dataset whose components have known shapes or are measured.
pub(crate) struct Measured {
    input: Dataset,
    parts: Vec<Part>,
}

/// One component.
pub(crate) struct Part {
    dtype: DType,
    /// The shape, without the first dimension of a measured component.
    pub(crate) inner: Dims,
    /// Bytes of an element, or of one value of a measured component.
    pub(crate) bytes: usize,
    pub(crate) is_measured: bool,
}

/// The memory of one component of a batch.
pub(crate) struct Room {
    dtype: DType,
    layout: Layout,
    buffer: pool::PoolBuffer,
}

impl Part {
    fn new(input: &Dataset, at: usize, spec: &TensorSpec) -> Option<Self> {
        let dims = spec.shape.dims()?;
        let (is_measured, inner) = match dims.split_first() {
            Some((None, inner)) if input.stage.is_measured(at) => (true, inner),
            _ => (false, dims),
        };
        let inner: Dims = inner.iter().copied().collect::<Option<_>>()?;
        let bytes =
            inner.iter().try_fold(spec.dtype.size(), |bytes, &dim| bytes.checked_mul(dim))?;
        Some(Self { dtype: spec.dtype, inner, bytes, is_measured })
    }

    /// Memory for elements or values, with these dimensions before their own.
    pub(crate) fn room(&self, outer: &[usize]) -> Result<Room> {
        let shape: Dims = outer.iter().chain(&self.inner).copied().collect();
        let layout = Layout::contiguous(&shape, self.dtype.size())?;
        let buffer = pool::take(layout.nbytes())?;
        Ok(Room { dtype: self.dtype, layout, buffer })
    }
}

impl Room {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
    }

    pub(crate) fn freeze(self) -> Result<Tensor> {
        Ok(Tensor::new(self.dtype, ByteOrder::Native, self.layout, self.buffer.freeze(), 0)?)
    }
}

impl Measured {
    /// The dataset, if it is indexed and has measured components, and every other one has a known
    /// shape.
    pub(crate) fn new(input: &Dataset) -> Option<Self> {
        let specs = input.spec().iter().enumerate();
        let parts: Option<Vec<Part>> =
            specs.map(|(at, part)| Part::new(input, at, part.tensor()?)).collect();
        let parts = parts?;
        let usable = input.is_indexed() && parts.iter().any(|part| part.is_measured);
        usable.then(|| Self { input: input.clone(), parts })
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The length of a component in each of the requested elements, whose slots are `0..len`.
    pub(crate) fn lengths(
        &self,
        at: usize,
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Vec<usize>> {
        let mut lengths = vec![0; requests.len()];
        self.input.stage.lengths(at, &mut requests.to_vec(), &mut lengths, cx)?;
        Ok(lengths)
    }

    /// The batch of the requested elements, whose slots are `0..len`: components of known shapes
    /// stacked, and what `measured` makes of each other one.
    pub(crate) fn batch(
        &self,
        requests: &[RowRequest],
        mut measured: impl FnMut(usize, &Part) -> Result<Vec<Value>>,
        cx: &Context,
    ) -> Result<Element> {
        let fixed: Vec<usize> =
            (0..self.parts.len()).filter(|at| !self.parts[*at].is_measured).collect();
        let mut stacked = self.stacked(&fixed, requests, cx)?.into_iter();
        let mut batch = Element::new();
        for (at, part) in self.parts.iter().enumerate() {
            if part.is_measured {
                batch.extend(measured(at, part)?);
            } else {
                batch.extend(stacked.next());
            }
        }
        Ok(batch)
    }

    fn stacked(
        &self,
        fixed: &[usize],
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Vec<Value>> {
        if fixed.is_empty() {
            return Ok(Vec::new());
        }
        let parts = || fixed.iter().map(|at| &self.parts[*at]);
        let mut rooms: Vec<Room> =
            parts().map(|part| part.room(&[requests.len()])).collect::<Result<_>>()?;
        let mut out: Vec<RowsOut<'_>> = rooms
            .iter_mut()
            .zip(parts())
            .map(|(room, part)| RowsOut { bytes: room.bytes(), row: part.bytes })
            .collect();
        let most = (PART_BYTES / parts().map(|part| part.bytes).sum::<usize>().max(1)).max(1);
        for some in copied(requests)?.chunks_mut(most) {
            cx.cancel.check()?;
            self.input.stage.gather(Columns::Some(fixed), some, &mut out, cx)?;
        }
        rooms.into_iter().map(|room| Ok(room.freeze()?.into())).collect()
    }

    /// Gathers parts of a measured component into its room.
    pub(crate) fn gather(
        &self,
        at: usize,
        parts: &mut [RowPart],
        room: &mut Room,
        cx: &Context,
    ) -> Result<()> {
        let row = self.parts[at].bytes;
        let mut out = RowsOut { bytes: room.bytes(), row };
        let most = (PART_BYTES / row.max(1)).max(1);
        let mut rest = parts;
        while !rest.is_empty() {
            cx.cancel.check()?;
            let mut values = 0;
            let count = rest.iter().take_while(|part| {
                let begun = values < most;
                values += part.len;
                begun
            });
            let (here, later) = rest.split_at_mut(count.count().max(1));
            self.input.stage.gather_parts(at, here, &mut out, cx)?;
            rest = later;
        }
        Ok(())
    }
}

/// Whole rows of these lengths, each at the slot that `slot` returns for its request and the number
/// of values before it.
///
/// # Errors
/// [`tensorferry_core::Error::Allocation`].
pub(crate) fn whole_rows(
    requests: &[RowRequest],
    lengths: &[usize],
    slot: impl Fn(&RowRequest, usize) -> usize,
) -> Result<Vec<RowPart>> {
    let mut before = 0;
    let row = |(request, &len): (&RowRequest, &usize)| {
        let slot = slot(request, before);
        before += len;
        RowPart { index: request.index, start: 0, len, slot }
    };
    Ok(listed(requests.iter().zip(lengths).map(row))?)
}

/// Requests for elements.
///
/// # Errors
/// [`tensorferry_core::Error::Allocation`].
pub(crate) fn requests(indices: &[u64]) -> Result<Vec<RowRequest>> {
    let slots = indices.iter().enumerate();
    Ok(listed(slots.map(|(slot, index)| RowRequest { index: *index, slot }))?)
}

/// Requests for consecutive elements.
///
/// # Errors
/// [`tensorferry_core::Error::Allocation`].
pub(crate) fn consecutive(start: u64, len: usize) -> Result<Vec<RowRequest>> {
    Ok(listed((0..len).map(|slot| RowRequest { index: start + slot as u64, slot }))?)
}
