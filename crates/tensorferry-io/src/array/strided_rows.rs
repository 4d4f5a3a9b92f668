//! Rows at a fixed distance in memory, each contiguous: a field of packed records, or the left part
//! of a table.

use crate::gather::byte_order::swap;
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::{RowsOut, normalise_bools};
use tensorferry_core::{ByteOrder, DType, Error, Result, Tensor};

/// A tensor whose rows are contiguous, in either byte order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StridedRows<'a> {
    bytes: &'a [u8],
    /// Offset of the first row in `bytes`.
    start: usize,
    /// Bytes from one row to the next.
    stride: usize,
    rows: usize,
    dtype: DType,
    order: ByteOrder,
}

impl<'a> StridedRows<'a> {
    /// The rows of a tensor, which have `row` bytes. `None` if they are reversed, empty, or not
    /// contiguous.
    pub(crate) fn new(tensor: &'a Tensor, row: usize) -> Option<Self> {
        let layout = tensor.layout();
        let ([rows, dims @ ..], [stride, strides @ ..]) = (layout.shape(), layout.strides()) else {
            return None;
        };
        let mut step = layout.itemsize();
        for (dim, stride) in dims.iter().zip(strides).rev() {
            if *dim > 1 && usize::try_from(*stride) != Ok(step) {
                return None;
            }
            step = step.checked_mul(*dim)?;
        }
        let stride = usize::try_from(*stride).ok().filter(|_| row > 0 && step == row)?;
        let (bytes, start) = (tensor.buffer().as_slice(), tensor.offset());
        let (dtype, order) = (tensor.dtype(), tensor.byte_order());
        Some(Self { bytes, start, stride, rows: *rows, dtype, order })
    }

    /// Copies the requested rows.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is no such row; [`Error::OutOfBounds`] if the output has
    /// no such slot.
    pub(crate) fn gather(&self, requests: &[RowRequest], out: &mut RowsOut<'_>) -> Result<()> {
        match out.row {
            1 => self.copy(requests, out, |to, from| to[..1].copy_from_slice(&from[..1])),
            2 => self.copy(requests, out, |to, from| to[..2].copy_from_slice(&from[..2])),
            4 => self.copy(requests, out, |to, from| to[..4].copy_from_slice(&from[..4])),
            8 => self.copy(requests, out, |to, from| to[..8].copy_from_slice(&from[..8])),
            _ => self.copy(requests, out, <[u8]>::copy_from_slice),
        }
    }

    /// `copy_row` gets slices of the bytes of a row. A constant length saves a call.
    #[inline]
    fn copy(
        &self,
        requests: &[RowRequest],
        out: &mut RowsOut<'_>,
        copy_row: impl Fn(&mut [u8], &[u8]),
    ) -> Result<()> {
        let (row, len) = (out.row, out.bytes.len());
        for request in requests {
            let from = self.row(request.index, row);
            let from = from.ok_or_else(|| no_row(request.index, self.rows as u64))?;
            let to = request
                .slot
                .checked_mul(row)
                .and_then(|at| out.bytes.get_mut(at..)?.get_mut(..row));
            let to = to.ok_or_else(|| no_slot(request.slot, row, len))?;
            copy_row(to, from);
            if self.order == ByteOrder::Swapped {
                swap(self.dtype, to);
            }
            if self.dtype == DType::Bool {
                normalise_bools(to);
            }
        }
        Ok(())
    }

    #[inline]
    fn row(&self, index: u64, row: usize) -> Option<&'a [u8]> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.rows)?;
        let at = index.checked_mul(self.stride)?.checked_add(self.start)?;
        self.bytes.get(at..)?.get(..row)
    }
}

#[cold]
fn no_slot(slot: usize, row: usize, len: usize) -> Error {
    let start = slot as i128 * row as i128;
    Error::OutOfBounds { start, end: start + row as i128, len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::rows_out::copy_view;
    use tensorferry_core::{Buffer, Index, Layout};

    #[test]
    fn rows_are_those_of_the_view() {
        for dtype in [DType::Bool, DType::UInt16, DType::Int32, DType::Float64, DType::Complex128] {
            for (dims, stride) in [(&[][..], 1), (&[], 3), (&[3], 7), (&[2, 3], 6), (&[1, 5], 9)] {
                for order in [ByteOrder::Native, ByteOrder::Swapped] {
                    compare(dtype, dims, stride, order);
                }
            }
        }
    }

    /// Rows of `dims` elements, one every `stride` elements, from an unaligned offset.
    fn compare(dtype: DType, dims: &[usize], stride: usize, order: ByteOrder) {
        let (size, rows) = (dtype.size(), 11);
        let inner = Layout::contiguous(dims, size).unwrap();
        let shape = [&[rows], dims].concat();
        let step = isize::try_from(stride * size).unwrap();
        let layout = Layout::strided(&shape, &[&[step], inner.strides()].concat(), size).unwrap();
        let len = usize::try_from(layout.span().end).unwrap();
        let bytes: Vec<u8> = (0..len + 5).map(|at| (at * 7 % 3).to_le_bytes()[0]).collect();
        let tensor = Tensor::new(dtype, order, layout, Buffer::from_vec(bytes), 5).unwrap();
        let row = inner.nbytes();
        let strided = StridedRows::new(&tensor, row).unwrap();
        let wanted = [3_u64, 10, 0, 3, 4, 5];
        let requests: Vec<RowRequest> = wanted
            .iter()
            .zip((0..wanted.len()).rev())
            .map(|(index, slot)| RowRequest { index: *index, slot })
            .collect();
        let mut found = vec![9; wanted.len() * row];
        strided.gather(&requests, &mut RowsOut { bytes: &mut found, row }).unwrap();
        for request in &requests {
            let mut expected = vec![0; row];
            let at = isize::try_from(request.index).unwrap();
            let view = tensor.index(&[Index::At(at)]).unwrap();
            copy_view(&view.as_view(), &mut expected).unwrap();
            assert_eq!(found[request.slot * row..][..row], expected, "{dtype} {dims:?} {stride}");
        }
        for (index, slot) in [(11, 0), (u64::MAX, 0), (1, wanted.len()), (1, usize::MAX)] {
            let mut out = RowsOut { bytes: &mut found, row };
            assert!(strided.gather(&[RowRequest { index, slot }], &mut out).is_err());
        }
    }

    #[test]
    fn other_layouts_are_not_rows() {
        let tensor = Tensor::from_vec((0..24_i32).collect(), &[4, 6]).unwrap();
        let slice = |start, step, len| Index::Slice { start, step, len };
        let of = |index: &[Index]| tensor.index(index).unwrap();
        assert!(StridedRows::new(&of(&[slice(0, 1, 4), slice(0, 2, 3)]), 12).is_none());
        assert!(StridedRows::new(&of(&[slice(3, -1, 4)]), 24).is_none());
        assert!(StridedRows::new(&of(&[slice(0, 1, 4), slice(0, 1, 0)]), 0).is_none());
        assert!(StridedRows::new(&of(&[slice(0, 2, 2), slice(2, 1, 3)]), 12).is_some());
    }
}
