//! Copies between packed arrays and boxes inside larger ones.

use crate::error::Result;
use std::ops::Range;
use tensorferry_core::Shape;
use tensorferry_core::convert::rows;
use tensorferry_io::cancel::CancelToken;

/// Copies a packed array to the front corner of a packed array of shape `target`, which is at least
/// as large in every dimension.
pub(crate) fn place(
    from: &[u8],
    shape: &[usize],
    to: &mut [u8],
    target: &[usize],
    itemsize: usize,
) {
    let (Some((_, inner)), Some((_, outer))) = (shape.split_first(), target.split_first()) else {
        return to.copy_from_slice(from);
    };
    if inner == outer {
        return to[..from.len()].copy_from_slice(from);
    }
    let bytes = |dims: &[usize]| dims.iter().product::<usize>() * itemsize;
    let (step, stride) = (bytes(inner), bytes(outer));
    if step > 0 {
        for (from, to) in from.chunks_exact(step).zip(to.chunks_exact_mut(stride)) {
            place(from, inner, to, outer, itemsize);
        }
    }
}

/// Copies a box out of a packed array. `ranges` are those of the leading dimensions; the others are
/// copied whole.
pub(crate) fn cut(from: &[u8], shape: &[usize], ranges: &[Range<usize>], to: &mut [u8]) {
    let (Some((len, inner)), Some((range, rest))) = (shape.split_first(), ranges.split_first())
    else {
        return to.copy_from_slice(from);
    };
    if to.is_empty() {
        return;
    }
    // `to` is not empty, so the range and the dimension are not empty either.
    let (stride, step) = (from.len() / len, to.len() / range.len());
    let from = &from[range.start * stride..range.end * stride];
    let whole = rest.iter().zip(inner).all(|(range, len)| range.len() == *len);
    if whole {
        return to.copy_from_slice(from);
    }
    for (from, to) in from.chunks_exact(stride).zip(to.chunks_exact_mut(step)) {
        cut(from, inner, rest, to);
    }
}

/// Bytes to write between two checks for cancellation.
const AT_ONCE: usize = 16 << 20;

/// Fills `out` with one value.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub(crate) fn fill(out: &mut [u8], value: &[u8], cancel: &CancelToken) -> Result<()> {
    let at_once = AT_ONCE / value.len().max(1) * value.len().max(1);
    for part in out.chunks_mut(at_once) {
        if part.len() == at_once {
            cancel.check()?;
        }
        rows::fill(part, value);
    }
    Ok(())
}

/// Lengths in Python's notation.
pub(crate) fn words(lens: &[Option<usize>]) -> String {
    Shape::new(lens.iter().copied()).to_string().replace('?', "None")
}

/// A shape whose dimensions are all known.
pub(crate) fn known(shape: &[usize]) -> Vec<Option<usize>> {
    shape.iter().copied().map(Some).collect()
}
