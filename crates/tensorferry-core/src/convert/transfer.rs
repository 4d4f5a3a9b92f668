//! Copies elements between any strides and byte orders.

use super::traversal::Tile;
use crate::{ByteOrder, DType, Kind};

/// The bytes of an element to reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Swap {
    No,
    Whole,
    /// Each part of a complex number by itself.
    Halves,
}

impl Swap {
    /// The swap that turns elements of byte order `from` into elements of byte order `to`.
    pub(super) fn between(dtype: DType, from: ByteOrder, to: ByteOrder) -> Self {
        match (from == to || dtype.size() == 1, dtype.kind()) {
            (true, _) => Self::No,
            (_, Kind::Complex) => Self::Halves,
            _ => Self::Whole,
        }
    }
}

/// A [`Swap`] as a type, so that a loop is compiled for each.
trait Order<T> {
    fn apply(value: T) -> T;
}

struct Keep;
struct Whole;
struct Halves;

impl<T> Order<T> for Keep {
    #[inline(always)]
    fn apply(value: T) -> T {
        value
    }
}

macro_rules! orders {
    ($($bits:ty),*) => {$(
        impl Order<$bits> for Whole {
            #[inline(always)]
            fn apply(value: $bits) -> $bits {
                value.swap_bytes()
            }
        }
        impl Order<$bits> for Halves {
            #[inline(always)]
            fn apply(value: $bits) -> $bits {
                value.swap_bytes().rotate_left(<$bits>::BITS / 2)
            }
        }
    )*};
}
orders!(u16, u32, u64, u128);

/// Copies a tile of elements of `size` bytes.
///
/// # Safety
/// The tile's elements at `src` are readable and initialised, those at `dst` are writable, and the
/// two do not overlap. `size` is 1, 2, 4, 8 or 16.
pub(super) unsafe fn transfer(size: usize, swap: Swap, src: *const u8, dst: *mut u8, tile: Tile) {
    let copy: unsafe fn(*const u8, *mut u8, Tile) = match (size, swap) {
        (1, _) => copy_tile::<u8, Keep>,
        (2, Swap::No) => copy_tile::<u16, Keep>,
        (2, _) => copy_tile::<u16, Whole>,
        (4, Swap::No) => copy_tile::<u32, Keep>,
        (4, _) => copy_tile::<u32, Whole>,
        (8, Swap::No) => copy_tile::<u64, Keep>,
        (8, Swap::Whole) => copy_tile::<u64, Whole>,
        (8, Swap::Halves) => copy_tile::<u64, Halves>,
        (_, Swap::No) => copy_tile::<u128, Keep>,
        (_, _) => copy_tile::<u128, Halves>,
    };
    // SAFETY: the caller's promise, with integers of `size` bytes.
    unsafe { copy(src, dst, tile) };
}

/// # Safety
/// As [`transfer`], for elements of the size of `T`.
unsafe fn copy_tile<T: Copy, O: Order<T>>(src: *const u8, dst: *mut u8, tile: Tile) {
    let Tile { rows, cols, src: s, dst: d } = tile;
    // The inner loop follows the dimension along which the source runs.
    let across = s[0].unsigned_abs() < s[1].unsigned_abs() && rows > 1;
    let (outer, inner, s, d) =
        if across { (cols, rows, [s[1], s[0]], [d[1], d[0]]) } else { (rows, cols, s, d) };
    let one = size_of::<T>().cast_signed();
    for i in 0..outer.cast_signed() {
        let (src, dst) = (src.wrapping_offset(i * s[0]), dst.wrapping_offset(i * d[0]));
        // The compiler vectorises constant strides.
        match (s[1] == one, d[1] == one) {
            // SAFETY: a line of the caller's tile.
            (true, true) => unsafe { line::<T, O>(src, one, dst, one, inner) },
            // SAFETY: as above.
            (false, true) => unsafe { line::<T, O>(src, s[1], dst, one, inner) },
            // SAFETY: as above.
            (true, false) => unsafe { line::<T, O>(src, one, dst, d[1], inner) },
            // SAFETY: as above.
            (false, false) => unsafe { line::<T, O>(src, s[1], dst, d[1], inner) },
        }
    }
}

/// # Safety
/// `n` elements `s` bytes apart from `src` are readable and initialised, `n` elements `d` apart
/// from `dst` writable, without overlap.
#[inline(always)]
unsafe fn line<T: Copy, O: Order<T>>(src: *const u8, s: isize, dst: *mut u8, d: isize, n: usize) {
    for i in 0..n.cast_signed() {
        // SAFETY: element `i < n`; any bytes are an unsigned integer.
        let value = unsafe { src.wrapping_offset(i * s).cast::<T>().read_unaligned() };
        // SAFETY: element `i < n`.
        unsafe { dst.wrapping_offset(i * d).cast::<T>().write_unaligned(O::apply(value)) };
    }
}
