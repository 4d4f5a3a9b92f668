//! Converts the elements of an array to the bytes of a file: row-major, in blocks.

use crate::array::array::Array;
use crate::error::Result;
use crate::memory::pool;
use tensorferry_core::{ByteOrder, Casting, Index, Layout, View, ViewMut};

/// Bytes converted at a time if the elements are not contiguous and native.
const CHUNK: usize = 1 << 20;

/// Calls `write` with the elements of an array in row-major native order, chunk by chunk.
pub(crate) fn of_array(array: &Array, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    array.each_chunk(|rows| of_view(&rows.as_view(), &mut write))
}

/// Calls `write` with the elements in row-major native order: all at once if they are contiguous,
/// otherwise at most [`CHUNK`] bytes (or one element) at a time.
pub(crate) fn of_view(src: &View<'_>, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let layout = src.layout();
    if src.byte_order() == ByteOrder::Native
        && layout.is_c_contiguous()
        && let Some(bytes) = src.as_bytes()
    {
        return write(bytes);
    }
    if layout.is_empty() {
        return Ok(());
    }
    let mut chunk = pool::take(layout.nbytes().min(CHUNK))?;
    let (axis, rows) = cut(layout);
    let mut convert = |part: &[Index]| {
        let part = src.index(part)?;
        let bytes = &mut chunk.as_mut_slice()[..part.layout().nbytes()];
        let mut packed = ViewMut::from_bytes(src.dtype(), bytes, part.layout().shape())?;
        tensorferry_core::convert_into(&part, &mut packed, Casting::Wrap)?;
        write(bytes)
    };
    let Some(&len) = layout.shape().get(axis) else { return convert(&[]) };
    let outer = &layout.shape()[..axis];
    for at in 0..outer.iter().product() {
        let mut index = position(at, outer);
        for start in (0..len).step_by(rows) {
            index.push(Index::Slice { start, step: 1, len: rows.min(len - start) });
            convert(&index)?;
            index.pop();
        }
    }
    Ok(())
}

/// How to divide an array into blocks: an axis, and the number of positions of a block along it. A
/// block has a fixed index in each dimension before the axis.
fn cut(layout: &Layout) -> (usize, usize) {
    let mut inner = layout.nbytes();
    for (axis, &dim) in layout.shape().iter().enumerate() {
        inner /= dim;
        if inner <= CHUNK {
            return (axis, (CHUNK / inner).max(1));
        }
    }
    (layout.ndim(), 1)
}

/// The `at`-th index, in row-major order, of an array of that shape.
fn position(mut at: usize, shape: &[usize]) -> Vec<Index> {
    let mut index: Vec<Index> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let here = at % dim;
            at /= dim;
            Index::At(here.cast_signed())
        })
        .collect();
    index.reverse();
    index
}
