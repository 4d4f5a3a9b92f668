//! Conversion of one value between integers and floats.
//!
//! # Rationale
//! AVX-512 has an instruction for every such conversion. AVX2 has none for integers of 64 bits or
//! without sign, and a compiler would convert one value after the other. Arithmetic with a large
//! number does it in vectors: a sum whose last bit weighs 1 holds an integer in its last bits.
//!
//! # Limitations
//! Relies on rounding to nearest, which Rust assumes everywhere.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::cast_lossless,
    reason = "this file converts by casts; each lane tests its result"
)]

use super::halves::{Parts, sticky};
use super::lanes::{Cast, bound, outside, whole_part};

/// Floats to integers of all casts, and the checked casts that are instructions at
/// [`super::CpuLevel::Avx512`] alone.
macro_rules! float_to_int {
    ($f:ty, $mask:ty: $($i:ty => $checked:ident $(or $quick:ident)?),*) => {$(impl Cast<$i> for $f {
        #[inline(always)]
        fn wrap(self) -> $i {
            let (out, _) = whole_part!(self, $f, $i);
            let out = if self >= bound!($i, $f) { <$i>::MAX } else { out };
            if self < <$i>::MIN as $f { <$i>::MIN } else { out }
        }
        #[inline(always)]
        fn checked(self) -> ($i, $mask) {
            $checked!(self, $f, $mask, $i)
        }
        #[inline(always)]
        fn checked_natively(self) -> ($i, $mask) {
            natively!($checked, self, $f, $mask, $i)
        }
        $(const IS_QUICK: bool = true;
        #[inline(always)]
        fn quick(self) -> ($i, $mask) {
            $quick!(self, $f, $mask, $i)
        })?
    })*};
}

/// Whether AVX-512 has a faster way than the one of all levels.
macro_rules! natively {
    (by_last_bits, $x:expr, $f:ty, $mask:ty, $i:ty) => {
        by_last_bits!($x, $f, $mask, $i)
    };
    (by_clamping, $x:expr, $f:ty, $mask:ty, $i:ty) => {
        by_clamping!($x, $f, $mask, $i)
    };
    ($other:ident, $x:expr, $f:ty, $mask:ty, $i:ty) => {{
        let (out, inside) = whole_part!($x, $f, $i);
        let fits = inside & (out as $f == $x);
        (out, !fits as $mask)
    }};
}

/// A sum with 1.5 times this is rounded to an integer, which its last bits hold.
macro_rules! shift {
    ($f:ty) => {
        1.5 * (1_u64 << (<$f>::MANTISSA_DIGITS - 1)) as $f
    };
}

/// For integers of up to 32 bits (from `f32` 16): the last bits of a sum with a large number.
macro_rules! by_last_bits {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const SHIFT: $f = shift!($f);
        let shifted = $x + SHIFT;
        // Zero if `x` is whole. A difference has no negative zero, so its bits are zero too.
        let fraction = (shifted - SHIFT) - $x;
        // Outside the integer's range too if the sum has another exponent or is not finite.
        let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
        // The last bits of `SHIFT` are zero.
        let out = shifted.to_bits() as $i;
        (out, fraction.to_bits() | outside!(whole, true, $mask, $i))
    }};
}

/// For `i32` from `f32`: the nearest float in range, which is another one if `x` is outside.
macro_rules! by_clamping {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const LEAST: $f = <$i>::MIN as $f;
        const MOST: $f = bound!($i, $f).next_down();
        let x: $f = if $x < MOST { $x } else { MOST };
        let x: $f = if x > LEAST { x } else { LEAST };
        // SAFETY: at least the type's minimum and less than the bound; NaN became `MOST`.
        let out = unsafe { x.to_int_unchecked::<$i>() };
        (out, (out as $f - $x).to_bits())
    }};
}

/// For `u32` from `f32`: floats of 2^31 and above are whole.
macro_rules! by_signed_half {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const MOST: $f = bound!(i32, $f).next_down();
        let (out, inside) = whole_part!($x, $f, $i);
        let low: $f = if $x < MOST { $x } else { MOST };
        let low: $f = if low > 0.0 { low } else { 0.0 };
        // SAFETY: at least 0 and less than 2^31; NaN became `MOST`.
        let whole = unsafe { low.to_int_unchecked::<i32>() };
        let fits = inside & (whole as $f == low);
        (out, !fits as $mask)
    }};
}

/// For integers of 64 bits: two halves of 32 bits.
macro_rules! by_halves {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const SHIFT: f64 = shift!(f64);
        const HALF: f64 = (1_u64 << 32) as f64;
        let x = $x as f64;
        let inside = (x >= <$i>::MIN as f64) & (x < bound!($i, f64));
        let high = x * (1.0 / HALF) + SHIFT;
        // Exact: `x` without its leading bits, or less than 1.
        let rest = x - (high - SHIFT) * HALF;
        let low = rest + SHIFT;
        let fraction = (low - SHIFT) - rest;
        // The last 32 bits of `SHIFT` are zero.
        let out = (high.to_bits() << 32).wrapping_add(low.to_bits()).wrapping_sub(SHIFT.to_bits());
        (out as $i, !(inside & (fraction == 0.0)) as $mask)
    }};
}

/// As `by_last_bits`, for integers of up to 50 bits.
macro_rules! by_50_bits {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const SHIFT: f64 = shift!(f64);
        let shifted = $x + SHIFT;
        let fraction = (shifted - SHIFT) - $x;
        let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
        (whole as $i, fraction.to_bits() | below!(50, whole, <$i>::MIN != 0))
    }};
}

/// For integers that fit in `i32`.
macro_rules! by_i32 {
    ($x:expr, $f:ty, $mask:ty, $i:ty) => {{
        const TOP: u32 = if <$i>::MIN == 0 { 1 << 31 } else { 0 };
        let (out, misfit) = by_clamping!($x, $f, $mask, i32);
        (out as $i, misfit | (out as u32 & TOP))
    }};
}

/// Bits that are zero if an integer of 64 bits has an absolute value of less than 2^`$bits`.
macro_rules! below {
    ($bits:expr, $x:expr, $signed:expr) => {{
        const BIAS: u64 = if $signed { 1 << $bits } else { 0 };
        const HIGH: u64 = u64::MAX << if $signed { $bits + 1 } else { $bits };
        ($x as u64).wrapping_add(BIAS) & HIGH
    }};
}

float_to_int!(f32, u32: i8 => by_last_bits, i16 => by_last_bits, u8 => by_last_bits,
    u16 => by_last_bits, i32 => by_clamping, u32 => by_signed_half, i64 => by_halves or by_i32,
    u64 => by_halves or by_i32);
float_to_int!(f64, u64: i8 => by_last_bits, i16 => by_last_bits, u8 => by_last_bits,
    u16 => by_last_bits, i32 => by_last_bits, u32 => by_last_bits, i64 => by_halves or by_50_bits,
    u64 => by_halves or by_50_bits);

/// Integers to floats by the instruction of their own type.
macro_rules! int_to_float {
    ($f:ty: $($i:ty, $us:ty);*) => {$(impl Cast<$f> for $i {
        #[inline(always)]
        fn wrap(self) -> $f {
            self as $f
        }
        #[inline(always)]
        fn checked(self) -> ($f, $us) {
            const MOST: $f = bound!($i, $f).next_down();
            let out = self as $f;
            let inside = if out < MOST { out } else { MOST };
            // SAFETY: an integer of this type, or the greatest float below the bound.
            let back = unsafe { inside.to_int_unchecked::<$i>() };
            (out, (back != self) as $us)
        }
    })*};
}
int_to_float!(f32: i8, u8; i16, u16; i32, u32; u8, u8; u16, u16);
int_to_float!(f64: i8, u8; i16, u16; i32, u32; u8, u8; u16, u16; u32, u32);

/// The sum of an integer's parts, and the bits of its error, which is a float because the first
/// part is zero or the greater one (Dekker, "A floating-point technique for extending the available
/// precision", 1971).
macro_rules! sum {
    ($x:expr) => {{
        let [high, low] = $x.parts();
        let sum = high + low;
        (sum, (low - (sum - high)).to_bits())
    }};
}

/// As `sum!`, rounded to `f32`.
macro_rules! twice {
    ($x:expr) => {{
        let (sum, error): (f64, u64) = sum!($x);
        let out = sum as f32;
        (out, error | (out as f64 - sum).to_bits())
    }};
}

/// Integers to floats for which only AVX-512 has an instruction.
macro_rules! wide_int_to_float {
    ($($i:ty, $f:ty, $us:ty: $x:ident => $wrap:expr, $checked:expr $(, $quick:expr)?);*) => {$(
        impl Cast<$f> for $i {
            #[inline(always)]
            fn wrap(self) -> $f {
                let $x = self;
                $wrap
            }
            #[inline(always)]
            fn checked(self) -> ($f, $us) {
                let $x = self;
                $checked
            }
            #[inline(always)]
            fn wrap_natively(self) -> $f {
                self as $f
            }
            #[inline(always)]
            fn checked_natively(self) -> ($f, $us) {
                let out = self as $f;
                let (back, inside) = whole_part!(out, $f, $i);
                let fits = inside & (back == self);
                (out, !fits as $us)
            }
            $(const IS_QUICK: bool = true;
            #[inline(always)]
            fn quick(self) -> ($f, $us) {
                let $x = self;
                $quick
            })?
        }
    )*};
}
wide_int_to_float!(
    u32, f32, u32: x => { let [high, low] = x.parts(); high + low }, sum!(x);
    i64, f64, u64: x => { let [high, low] = x.parts(); high + low }, sum!(x),
        (f64::from_bits((x as u64).wrapping_add(SHIFT.to_bits())) - SHIFT, below!(50, x, true));
    u64, f64, u64: x => { let [high, low] = x.parts(); high + low }, sum!(x),
        (f64::from_bits(x.wrapping_add(SHIFT.to_bits())) - SHIFT, below!(50, x, false));
    i64, f32, u64: x => sticky(x.unsigned_abs()).copysign(f64::from_bits(x as u64)) as f32,
        twice!(x), (x as i32 as f32, below!(24, x, true));
    u64, f32, u64: x => sticky(x) as f32, twice!(x), (x as i32 as f32, below!(24, x, false))
);
const SHIFT: f64 = shift!(f64);
