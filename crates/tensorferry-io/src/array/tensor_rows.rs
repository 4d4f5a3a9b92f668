//! The rows of a tensor.

use crate::array::strided_rows::StridedRows;
use crate::error::Result;
use crate::gather::copy::gather;
use crate::gather::request::{RowRequest, run};
use crate::gather::rows_out::{RowsOut, copy_view, filled, normalise};
use tensorferry_core::{ByteOrder, Index, Tensor, View};

/// A tensor that is a source of rows.
#[derive(Clone, Debug)]
pub struct Source {
    /// The tensor, of any strides and byte order.
    pub tensor: Tensor,
    /// Whether the memory does not change, so that elements may share it. Otherwise, every element
    /// is copied when it is read.
    pub frozen: bool,
}

impl From<Tensor> for Source {
    fn from(tensor: Tensor) -> Self {
        Self { tensor, frozen: true }
    }
}

impl Source {
    /// Copies the requested rows.
    pub fn gather(&self, requests: &[RowRequest], rows: &mut RowsOut<'_>) -> Result<()> {
        let view = self.tensor.as_view();
        if let Some(bytes) = plain_rows(&view) {
            gather(bytes, rows.row, requests, rows.bytes)?;
            normalise(view.dtype(), requests, rows);
            return Ok(());
        }
        if let Some(strided) = StridedRows::new(&self.tensor, rows.row) {
            return Ok(strided.gather(requests, rows)?);
        }
        let mut rest = requests;
        while let Some(first) = rest.first() {
            // Copy consecutive rows together, because each conversion has a fixed cost.
            let (here, later) = rest.split_at(run(rest));
            let start = usize::try_from(first.index).unwrap_or(usize::MAX);
            let these = Index::Slice { start, step: 1, len: here.len() };
            let bytes =
                &mut rows.bytes[first.slot * rows.row..(first.slot + here.len()) * rows.row];
            copy_view(&view.index(&[these])?, bytes)?;
            rest = later;
        }
        Ok(())
    }

    /// Row `index`, which must exist.
    pub fn row(&self, index: u64) -> Result<Tensor> {
        let at = isize::try_from(index).unwrap_or(isize::MAX);
        let row = self.tensor.index(&[Index::At(at)])?;
        if self.frozen && row.byte_order() == ByteOrder::Native && row.as_view().has_normal_bools()
        {
            return Ok(row);
        }
        Ok(filled(row.dtype(), row.shape(), |out| copy_view(&row.as_view(), out))?)
    }
}

/// The bytes of a tensor in native byte order whose rows are contiguous.
pub fn plain_rows<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    let plain = view.byte_order() == ByteOrder::Native && view.layout().is_c_contiguous();
    if plain { view.as_bytes() } else { None }
}
