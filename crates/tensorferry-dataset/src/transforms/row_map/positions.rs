//! Reads integers of any dtype as indices.

use crate::error::{Error, Result};
use tensorferry_core::convert::scalar;
use tensorferry_core::{ByteOrder, Casting, DType, View, ViewMut, convert_into};

/// Integers to widen at once.
const PART: usize = 512;

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
    let mut wide = [0_i64; PART];
    for (part, bytes) in rows.chunks(PART * dtype.size()).enumerate() {
        let count = bytes.len() / dtype.size();
        let wide = &mut wide[..count];
        // A `uint64` beyond `int64` saturates, which is never a valid index either.
        let from = View::from_bytes(dtype, ByteOrder::Native, bytes, &[count])?;
        convert_into(&from, &mut ViewMut::from_slice(wide, &[count])?, Casting::Saturate)?;
        for (at, value) in wide.iter().enumerate() {
            match usize::try_from(*value) {
                Ok(position) if position < len => visit(part * PART + at, position),
                _ => {
                    let value = scalar::read(dtype, ByteOrder::Native, &bytes[at * dtype.size()..])
                        .to_scalar(dtype);
                    return Err(Error::ElementMismatch {
                        what: format!("{value} is not in 0..{len}"),
                    });
                }
            }
        }
    }
    Ok(())
}
