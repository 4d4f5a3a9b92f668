//! Rows of a batch: where they are written, and what is written there.

use crate::convert::convert_into;
use crate::error::{Error, Result};
use crate::gather::copy::Request;
use crate::memory::pool;
use tensorferry_core::{ByteOrder, Layout, Tensor, View, ViewMut};

/// Where a gather writes one component: packed rows, native byte order, in the dtype of the
/// node's spec.
#[derive(Debug)]
pub struct Rows<'a> {
    /// All rows, one after the other.
    pub bytes: &'a mut [u8],
    /// Bytes of one row; may be 0.
    pub row: usize,
}

/// The first requests that ask for rows that follow one another, for slots that do so too: how
/// many.
pub fn run(requests: &[Request]) -> usize {
    let follows = |pair: &&[Request]| {
        pair[0].index.checked_add(1) == Some(pair[1].index)
            && pair[0].slot.checked_add(1) == Some(pair[1].slot)
    };
    requests.windows(2).take_while(follows).count() + 1
}

impl Rows<'_> {
    /// The bytes of one row.
    pub fn slot(&mut self, slot: usize) -> &mut [u8] {
        &mut self.bytes[slot * self.row..(slot + 1) * self.row]
    }

    /// The same rows, for a callee.
    pub fn reborrow(&mut self) -> Rows<'_> {
        Rows { bytes: self.bytes, row: self.row }
    }
}

/// Stores bools as 0 and 1, whatever the bytes were that they were copied from.
pub fn normalise(dtype: tensorferry_core::DType, requests: &[Request], rows: &mut Rows<'_>) {
    if dtype == tensorferry_core::DType::Bool {
        requests.iter().for_each(|request| normalise_bools(rows.slot(request.slot)));
    }
}

/// As [`normalise`], of all bytes.
pub fn normalise_bools(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
}

/// Copies a tensor's elements, row-major, into bytes that have room for just them.
pub fn write_row(tensor: &Tensor, out: &mut [u8]) -> Result<()> {
    if tensor.layout().nbytes() != out.len() {
        let what = format!(
            "an element of {} bytes where {} were promised",
            tensor.layout().nbytes(),
            out.len()
        );
        return Err(Error::ElementMismatch { what });
    }
    let view = tensor.as_view();
    if tensor.byte_order() == ByteOrder::Native
        && tensor.layout().is_c_contiguous()
        && let Some(bytes) = view.as_bytes()
    {
        out.copy_from_slice(bytes);
        return Ok(());
    }
    copy_view(&view, out)
}

/// As [`write_row`], for any view.
pub fn copy_view(view: &View<'_>, out: &mut [u8]) -> Result<()> {
    let mut target = ViewMut::from_bytes(view.dtype(), out, view.layout().shape())?;
    convert_into(view, &mut target, tensorferry_core::Casting::Checked)
}

/// A C-contiguous native tensor of the same values: the tensor itself if it is one.
pub fn packed(tensor: &Tensor) -> Result<Tensor> {
    if tensor.byte_order() == ByteOrder::Native && tensor.layout().is_c_contiguous() {
        return Ok(tensor.clone());
    }
    crate::convert::convert(&tensor.as_view(), tensor.dtype(), tensorferry_core::Casting::Checked)
}

/// A tensor of recycled memory that `fill` writes.
pub fn filled(
    dtype: tensorferry_core::DType,
    shape: &[usize],
    fill: impl FnOnce(&mut [u8]) -> Result<()>,
) -> Result<Tensor> {
    let layout = Layout::contiguous(shape, dtype.size())?;
    let mut buffer = pool::take(layout.nbytes())?;
    fill(buffer.as_mut_slice())?;
    Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)
}
