//! The loops of conversion, which every level of vector instructions compiles.

use super::lanes::{Lane, Rule};

/// Converts `n` native elements, which may be unaligned but do not overlap, and returns whether all
/// values fit.
pub(super) type Run = unsafe fn(*const u8, *mut u8, usize) -> bool;

/// The values that are tried with [`Rule::quick`] at once. Source and target stay in the
/// first-level cache for a second try.
const BLOCK: usize = 512;
/// The blocks that are not tried after one with a large value: neighbours are alike.
const SKIPPED: usize = 15;

/// The loops that every level compiles.
///
/// # Safety
/// As [`super::dispatch::Kernel::run`].
#[inline(always)]
pub(super) unsafe fn each<S: Lane, D, R: Rule<S, D>>(
    src: *const u8,
    dst: *mut u8,
    n: usize,
) -> bool {
    let (src, dst) = (src.cast::<S>(), dst.cast::<D>());
    if !R::IS_QUICK {
        // SAFETY: the caller's promise.
        return unsafe { convert_each(src, dst, n, R::apply) };
    }
    let (mut fits, mut skip) = (true, 0);
    for start in (0..n).step_by(BLOCK) {
        let (src, dst, n) =
            (src.wrapping_add(start), dst.wrapping_add(start), BLOCK.min(n - start));
        // SAFETY: a part of the caller's elements.
        if skip == 0 && unsafe { convert_each(src, dst, n, R::quick) } {
            continue;
        }
        skip = if skip == 0 { SKIPPED } else { skip - 1 };
        // SAFETY: as above.
        fits &= unsafe { convert_each(src, dst, n, R::apply) };
    }
    fits
}

/// # Safety
/// As [`super::dispatch::Kernel::run`].
#[inline(always)]
unsafe fn convert_each<S: Lane, D>(
    src: *const S,
    dst: *mut D,
    n: usize,
    convert: impl Fn(S) -> (D, S::Mask),
) -> bool {
    let mut bad = S::Mask::default();
    for i in 0..n {
        // SAFETY: `i < n` elements are readable; any bytes are a `Lane`.
        let value = unsafe { src.wrapping_add(i).read_unaligned() };
        let (out, misfit) = convert(value);
        // SAFETY: `i < n` elements are writable.
        unsafe { dst.wrapping_add(i).write_unaligned(out) };
        bad |= misfit;
    }
    bad == S::Mask::default()
}
