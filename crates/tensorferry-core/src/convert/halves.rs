//! The two 16-bit floats in branch-free bit arithmetic, which the compiler vectorises on every CPU.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "this file rounds to 16 bits"
)]

/// An IEEE 754 binary16 as stored in memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Half(u16);

/// A bfloat16 (the upper half of a binary32) as stored in memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Brain(u16);

impl Half {
    /// The same value.
    #[inline(always)]
    pub(super) fn widen(self) -> f32 {
        const REBIAS: u32 = (127 - 15) << 23;
        let magnitude = ((self.0 & 0x7fff) as u32) << 13;
        let normal = magnitude + REBIAS;
        let special = normal + REBIAS; // the exponent of an infinity or NaN becomes 255
        // A subnormal is a multiple of 2^-24: add a leading one above it, then subtract that.
        let tiny = f32::from_bits(normal + (1 << 23)) - f32::from_bits(113 << 23);
        let bits = if magnitude >= 0x7c00 << 13 { special } else { normal };
        let bits = if magnitude < 0x0400 << 13 { tiny.to_bits() } else { bits };
        f32::from_bits(bits | ((self.0 & 0x8000) as u32) << 16)
    }

    /// The nearest value, ties to even.
    #[inline(always)]
    pub(super) fn nearest(value: f32) -> Self {
        const MAGIC: u32 = ((127 - 15) + (23 - 10) + 1) << 23; // 0.5, whose last bit weighs 2^-24
        let sign = value.to_bits() & 0x8000_0000;
        let magnitude = value.to_bits() ^ sign;
        let normal =
            magnitude.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + (magnitude >> 13 & 1))
                >> 13;
        let tiny =
            (f32::from_bits(magnitude) + f32::from_bits(MAGIC)).to_bits().wrapping_sub(MAGIC);
        let nan = 0x7e00 | (magnitude >> 13 & 0x1ff);
        let special = if magnitude > 0x7f80_0000 { nan } else { 0x7c00 };
        let out = if magnitude < 113 << 23 { tiny } else { normal };
        let out = if magnitude >= (127 + 16) << 23 { special } else { out };
        Self(out as u16 | (sign >> 16) as u16)
    }

    #[inline(always)]
    pub(super) fn is_infinite(self) -> bool {
        self.0 & 0x7fff == 0x7c00
    }
}

impl Brain {
    /// The same value.
    #[inline(always)]
    pub(super) fn widen(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The nearest value, ties to even.
    #[inline(always)]
    pub(super) fn nearest(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // Rounding could turn a NaN into an infinity, so a NaN is truncated.
        let nan = (bits >> 16) | 0x40;
        Self((if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) as u16)
    }

    #[inline(always)]
    pub(super) fn is_infinite(self) -> bool {
        self.0 & 0x7fff == 0x7f80
    }
}

/// `value` rounded towards zero, with the last bit set if it is inexact. Rounding that again, to
/// fewer bits, equals rounding `value` directly (Boldo and Melquiond, "Emulation of FMA
/// and correctly rounded sums", 2008).
#[inline(always)]
pub(super) fn round_to_odd(value: f64) -> f32 {
    let near = value as f32;
    let back = near as f64;
    let inexact = (back != value) & !value.is_nan();
    let away = back.abs() > value.abs();
    let bits = near.to_bits() - (inexact & away) as u32;
    f32::from_bits(bits | inexact as u32)
}
