//! The two 16-bit floats, and exact sums of floats, in branch-free arithmetic, which the compiler
//! vectorises on every CPU.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
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

/// An integer as the exact sum of two floats of half its bits: the high and the low half.
pub(super) trait Parts<F> {
    fn parts(self) -> [F; 2];
}

impl Parts<f32> for u32 {
    #[inline(always)]
    fn parts(self) -> [f32; 2] {
        const SHIFTS: [f32; 2] = [(1_u64 << 39) as f32, (1_u64 << 23) as f32];
        let high = f32::from_bits(self >> 16 | SHIFTS[0].to_bits()) - SHIFTS[0];
        let low = f32::from_bits(self & 0xffff | SHIFTS[1].to_bits()) - SHIFTS[1];
        [high, low]
    }
}

impl Parts<f64> for u64 {
    #[inline(always)]
    fn parts(self) -> [f64; 2] {
        const SHIFTS: [f64; 2] = [(1_u128 << 84) as f64, (1_u64 << 52) as f64];
        let high = f64::from_bits(self >> 32 | SHIFTS[0].to_bits()) - SHIFTS[0];
        let low = f64::from_bits(self & 0xffff_ffff | SHIFTS[1].to_bits()) - SHIFTS[1];
        [high, low]
    }
}

impl Parts<f64> for i64 {
    #[inline(always)]
    fn parts(self) -> [f64; 2] {
        let [high, low] = (self as u64 ^ 1 << 63).parts();
        [high - (1_u64 << 63) as f64, low]
    }
}

/// A float that rounds like `magnitude` to any precision far below 52 bits: the bits that an `f64`
/// cannot hold are replaced by one sticky bit.
#[inline(always)]
pub(super) fn sticky(magnitude: u64) -> f64 {
    let squashed = (magnitude & !0xfff) | (((magnitude & 0xfff) != 0) as u64) << 12;
    let [high, low] = (if magnitude >> 53 == 0 { magnitude } else { squashed }).parts();
    high + low
}
