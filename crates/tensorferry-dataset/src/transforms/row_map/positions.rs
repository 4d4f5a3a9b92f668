//! Reads integers of any dtype as indices.

use crate::error::{Error, Result};
use tensorferry_core::convert::rows::all_below;
use tensorferry_core::convert::scalar;
use tensorferry_core::{ByteOrder, Casting, DType, View, ViewMut, convert_into};

/// Integers to widen at once.
const PART: usize = 512;

/// Calls `visit` with the position of the first integer of each part, and the integers of the part.
/// They are in `0..len`.
///
/// # Errors
/// [`Error::ElementMismatch`] at the first integer that is not in `0..len`, and those of `visit`.
pub(crate) fn for_each_part(
    dtype: DType,
    rows: &[u8],
    len: usize,
    mut visit: impl FnMut(usize, &[i64]) -> Result<()>,
) -> Result<()> {
    let mut wide = [0_i64; PART];
    for (part, bytes) in rows.chunks(PART * dtype.size()).enumerate() {
        let count = bytes.len() / dtype.size();
        let wide = &mut wide[..count];
        // A `uint64` beyond `int64` saturates, which is never a valid index either.
        let from = View::from_bytes(dtype, ByteOrder::Native, bytes, &[count])?;
        convert_into(&from, &mut ViewMut::from_slice(wide, &[count])?, Casting::Saturate)?;
        if !all_below(wide, len) {
            return Err(outside(dtype, bytes, wide, len));
        }
        visit(part * PART, wide)?;
    }
    Ok(())
}

/// The error of the first integer that is not in `0..len`.
fn outside(dtype: DType, bytes: &[u8], wide: &[i64], len: usize) -> Error {
    let is_outside = |value: &i64| usize::try_from(*value).map_or(true, |value| value >= len);
    let at = wide.iter().position(is_outside).unwrap_or(0) * dtype.size();
    let value = scalar::read(dtype, ByteOrder::Native, &bytes[at..]).to_scalar(dtype);
    Error::ElementMismatch { what: format!("{value} is not in 0..{len}") }
}

/// Calls `visit` with the position of each packed integer and its value, an index.
///
/// # Errors
/// [`Error::ElementMismatch`] at the first integer that is not in `0..len`.
pub(crate) fn for_each(
    dtype: DType,
    rows: &[u8],
    len: usize,
    mut visit: impl FnMut(usize, usize),
) -> Result<()> {
    for_each_part(dtype, rows, len, |first, wide| {
        for (at, value) in (first..).zip(wide) {
            // In `0..len`, so it fits.
            visit(at, usize::try_from(*value).unwrap_or(0));
        }
        Ok(())
    })
}
