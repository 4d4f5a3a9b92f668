//! [`RowsOut`]: the output buffer of a gather.

use crate::convert::convert_into;
use crate::gather::request::RowRequest;
use crate::memory::pool;
use tensorferry_core::{ByteOrder, Error, Layout, Result, Tensor, View, ViewMut};

/// The rows of one component that a gather writes: packed, in native byte order.
#[derive(Debug)]
pub struct RowsOut<'a> {
    /// All rows, contiguously.
    pub bytes: &'a mut [u8],
    /// Bytes per row; may be 0.
    pub row: usize,
}

impl RowsOut<'_> {
    /// The bytes of one row.
    pub fn slot(&mut self, slot: usize) -> &mut [u8] {
        &mut self.bytes[slot * self.row..(slot + 1) * self.row]
    }

    /// The same rows, reborrowed.
    pub fn reborrow(&mut self) -> RowsOut<'_> {
        RowsOut { bytes: self.bytes, row: self.row }
    }
}

/// Makes bools 0 and 1: other non-zero bytes become 1.
pub fn normalise(dtype: tensorferry_core::DType, requests: &[RowRequest], rows: &mut RowsOut<'_>) {
    if dtype == tensorferry_core::DType::Bool {
        requests.iter().for_each(|request| normalise_bools(rows.slot(request.slot)));
    }
}

/// As [`normalise`], of all bytes.
pub fn normalise_bools(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
}

/// Copies the elements of a tensor, row-major, into bytes of exactly their size.
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

/// A C-contiguous tensor in native byte order with the same values. Shares the memory if the tensor
/// already is one.
pub fn packed(tensor: &Tensor) -> Result<Tensor> {
    if tensor.byte_order() == ByteOrder::Native && tensor.layout().is_c_contiguous() {
        return Ok(tensor.clone());
    }
    crate::convert::convert(&tensor.as_view(), tensor.dtype(), tensorferry_core::Casting::Checked)
}

/// A tensor of recycled memory, written by `fill`.
pub fn filled<E: From<Error>>(
    dtype: tensorferry_core::DType,
    shape: &[usize],
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Tensor, E> {
    let layout = Layout::contiguous(shape, dtype.size())?;
    let mut buffer = pool::take(layout.nbytes())?;
    fill(buffer.as_mut_slice())?;
    Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?)
}
