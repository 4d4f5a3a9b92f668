//! The byte order of elements in memory.

use std::borrow::Cow;
use tensorferry_core::{DType, Kind};

/// Reverses the bytes of each number.
pub(crate) fn swap(dtype: DType, bytes: &mut [u8]) {
    let size = if dtype.kind() == Kind::Complex { dtype.size() / 2 } else { dtype.size() };
    match size {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|number| number.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|number| number.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|number| number.reverse()),
        _ => {}
    }
}

/// The bytes of elements in little-endian order.
pub(crate) fn little(dtype: DType, native: &[u8]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(native);
    }
    let mut bytes = native.to_vec();
    swap(dtype, &mut bytes);
    Cow::Owned(bytes)
}
