//! Fills and reversals of elements of any size.

use crate::convert::dispatch::{Wide, widely};

/// Calls a function with a number of bytes as a constant, or the other one.
macro_rules! by_size {
    ($size:expr, $function:ident($($argument:expr),*), $other:expr) => {
        match $size {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            6 => $function::<6>($($argument),*),
            8 => $function::<8>($($argument),*),
            12 => $function::<12>($($argument),*),
            16 => $function::<16>($($argument),*),
            _ => $other,
        }
    };
}

/// Shorter lines, such as the channels of a pixel, are reversed without looking at the CPU.
const WORTH_A_CALL: usize = 128;

/// Copies units of `unit` bytes in reverse order. Copies as many as both hold.
#[inline]
pub fn reverse(src: &[u8], out: &mut [u8], unit: usize) {
    fn sized<const N: usize>(src: &[u8], out: &mut [u8]) {
        let work = Reverse::<N> { src: src.as_chunks().0, out: out.as_chunks_mut().0 };
        if src.len() < WORTH_A_CALL { work.run() } else { widely(work) }
    }
    let unsized_units = |out: &mut [u8]| {
        for (out, src) in out.chunks_exact_mut(unit.max(1)).zip(src.rchunks_exact(unit.max(1))) {
            out.copy_from_slice(src);
        }
    };
    by_size!(unit, sized(src, out), unsized_units(out));
}

struct Reverse<'a, const N: usize> {
    src: &'a [[u8; N]],
    out: &'a mut [[u8; N]],
}

impl<const N: usize> Wide for Reverse<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, src) in self.out.iter_mut().zip(self.src.iter().rev()) {
            *out = *src;
        }
    }
}

/// Fills `out` with copies of `value`, an element.
pub fn fill(out: &mut [u8], value: &[u8]) {
    fn sized<const N: usize>(out: &mut [u8], value: &[u8]) {
        if let Some(value) = value.first_chunk::<N>() {
            widely(Fill { out: out.as_chunks_mut().0, value: *value });
        }
    }
    if let Some((first, rest)) = value.split_first()
        && rest.iter().all(|byte| byte == first)
    {
        return out.fill(*first);
    }
    let unsized_value = |out: &mut [u8]| {
        for part in out.chunks_exact_mut(value.len().max(1)) {
            part.copy_from_slice(value);
        }
    };
    by_size!(value.len(), sized(out, value), unsized_value(out));
}

struct Fill<'a, const N: usize> {
    out: &'a mut [[u8; N]],
    value: [u8; N],
}

impl<const N: usize> Wide for Fill<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for out in self.out {
            *out = self.value;
        }
    }
}
