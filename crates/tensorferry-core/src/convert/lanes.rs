//! Branch-free conversion of one value, which the compiler vectorises.
//!
//! # Rationale
//! A lane does not stop at a value that does not fit. It returns an unspecified value and a mask,
//! and the loop ORs the masks and tests them once. A mask has the source's width where possible, so
//! that a vector holds as many masks as values.
//!
//! # Limitations
//! The masks do not say which value does not fit. A second pass with the oracle finds it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::cast_lossless,
    reason = "this file converts by casts; each lane tests its result"
)]

use super::halves::{Brain, Half, round_to_odd, sticky};
use core::ops::BitOrAssign;

/// A value as stored in memory. Any bytes are valid.
pub(super) trait Lane: Copy {
    /// Zero if the value fits.
    type Mask: Copy + Default + PartialEq + BitOrAssign;
}

/// A `bool` as stored in memory: true unless 0, because foreign bytes are not always 0 or 1.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bit(u8);

impl Bit {
    #[inline(always)]
    fn get(self) -> u8 {
        u8::from(self.0 != 0)
    }
}

/// A complex number.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Pair<T>(T, T);

macro_rules! lanes {
    ($($lane:ty: $mask:ty),*) => {$(impl Lane for $lane { type Mask = $mask; })*};
}
lanes!(Bit: u8, i8: u8, i16: u16, i32: u32, i64: u64, u8: u8, u16: u16, u32: u32, u64: u64);
lanes!(Half: u32, Brain: u32, f32: u32, f64: u64);

impl<T: Copy> Lane for Pair<T> {
    type Mask = u8;
}

/// The conversion of `Self` to `D` with each casting.
pub(super) trait Cast<D>: Lane {
    fn wrap(self) -> D;
    fn saturate(self) -> D {
        self.wrap()
    }
    fn checked(self) -> (D, Self::Mask);

    /// As `wrap`, where every conversion between integers and floats is one instruction.
    #[inline(always)]
    fn wrap_natively(self) -> D {
        self.wrap()
    }
    /// As `checked`, where every conversion between integers and floats is one instruction.
    #[inline(always)]
    fn checked_natively(self) -> (D, Self::Mask) {
        self.checked()
    }

    /// Whether `quick` is faster than `checked`.
    const IS_QUICK: bool = false;
    /// As `checked`, but the mask is zero only if the value fits and is small.
    #[inline(always)]
    fn quick(self) -> (D, Self::Mask) {
        self.checked()
    }
}

/// A [`super::Casting`] as a type, so that a kernel is compiled for each.
pub(super) trait Rule<S: Lane, D> {
    /// The rule for AVX-512, which has an instruction for every conversion between integers and
    /// floats. AVX2 has none for 64 bits and for unsigned integers.
    type Native: Rule<S, D>;
    fn apply(value: S) -> (D, S::Mask);

    /// Whether to try `quick` first.
    const IS_QUICK: bool = false;
    /// As `apply`, but the mask may be other than zero for values that fit.
    #[inline(always)]
    fn quick(value: S) -> (D, S::Mask) {
        Self::apply(value)
    }
}

pub(super) struct Checked;
pub(super) struct Saturate;
pub(super) struct Wrap;
pub(super) struct Native<R>(R);

impl<S: Cast<D>, D> Rule<S, D> for Checked {
    type Native = Native<Self>;
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        value.checked()
    }
    const IS_QUICK: bool = S::IS_QUICK;
    #[inline(always)]
    fn quick(value: S) -> (D, S::Mask) {
        value.quick()
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Native<Checked> {
    type Native = Self;
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        value.checked_natively()
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Saturate {
    type Native = Self;
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        (value.saturate(), S::Mask::default())
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Wrap {
    type Native = Native<Self>;
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        (value.wrap(), S::Mask::default())
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Native<Wrap> {
    type Native = Self;
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        (value.wrap_natively(), S::Mask::default())
    }
}

/// The bits of an integer, signed or not, as `$us`, that are not zero if it is outside `$d`: its
/// own high bits, or those of its distance from the least value.
macro_rules! outside {
    ($bits:expr, $signed:expr, $us:ty, $d:ty) => {{
        const SIGNED: [bool; 2] = [$signed, <$d>::MIN != 0];
        const NARROWS: bool = <$d>::BITS < <$us>::BITS;
        const ALL: bool =
            SIGNED[0] == SIGNED[1] && !NARROWS || SIGNED[1] && <$d>::BITS > <$us>::BITS;
        const VALUE_BITS: u32 =
            if SIGNED[0] != SIGNED[1] && SIGNED[1] { <$d>::BITS - 1 } else { <$d>::BITS };
        const TOP: $us = 1 << (<$us>::BITS - 1);
        const HIGH: $us = match (ALL, VALUE_BITS < <$us>::BITS) {
            (true, _) => 0,
            (false, true) => <$us>::MAX << VALUE_BITS % <$us>::BITS,
            (false, false) => TOP,
        };
        const BIAS: $us = match SIGNED[0] && SIGNED[1] && NARROWS {
            true => 1 << (<$d>::BITS - 1) % <$us>::BITS,
            false => 0,
        };
        ($bits as $us).wrapping_add(BIAS) & HIGH
    }};
}
pub(super) use outside;

macro_rules! from_int {
    ($s:ty, $us:ty: $($d:ty)*) => {$(impl Cast<$d> for $s {
        #[inline(always)]
        fn wrap(self) -> $d {
            self as $d
        }
        #[inline(always)]
        fn saturate(self) -> $d {
            const S: [i128; 2] = [<$s>::MIN as i128, <$s>::MAX as i128];
            const D: [i128; 2] = [<$d>::MIN as i128, <$d>::MAX as i128];
            const LOW: i128 = if S[0] < D[0] { D[0] } else { S[0] };
            const HIGH: i128 = if S[1] > D[1] { D[1] } else { S[1] };
            self.clamp(LOW as $s, HIGH as $s) as $d
        }
        #[inline(always)]
        fn checked(self) -> ($d, $us) {
            (self as $d, outside!(self, <$s>::MIN != 0, $us, $d))
        }
    })*
    impl Cast<Bit> for $s {
        #[inline(always)]
        fn wrap(self) -> Bit {
            Bit((self != 0) as u8)
        }
        #[inline(always)]
        fn checked(self) -> (Bit, $us) {
            (Cast::<Bit>::wrap(self), self as $us & !1)
        }
    }};
}
from_int!(i8, u8: i16 i32 i64 u8 u16 u32 u64);
from_int!(i16, u16: i8 i32 i64 u8 u16 u32 u64);
from_int!(i32, u32: i8 i16 i64 u8 u16 u32 u64);
from_int!(i64, u64: i8 i16 i32 u8 u16 u32 u64);
from_int!(u8, u8: i8 i16 i32 i64 u16 u32 u64);
from_int!(u16, u16: i8 i16 i32 i64 u8 u32 u64);
from_int!(u32, u32: i8 i16 i32 i64 u8 u16 u64);
from_int!(u64, u64: i8 i16 i32 i64 u8 u16 u32);

/// The least float too large for an integer type: 2 to the power of its value bits.
macro_rules! bound {
    ($i:ty, $f:ty) => {
        (<$i>::MAX / 2 + 1) as $f * 2.0
    };
}
pub(super) use bound;

/// The whole part of a float, or 0 if it does not fit in an integer type, and whether it fits. A
/// cast with `as` saturates, which does not vectorise.
macro_rules! whole_part {
    ($x:expr, $f:ty, $i:ty) => {{
        let x: $f = $x;
        let inside = (x >= <$i>::MIN as $f) & (x < bound!($i, $f));
        let x: $f = if inside { x } else { 0.0 };
        // SAFETY: 0, or at least the type's minimum and less than the bound: finite, with a whole
        // part in range.
        (unsafe { x.to_int_unchecked::<$i>() }, inside)
    }};
}
pub(super) use whole_part;

macro_rules! float_to_bool {
    ($($f:ty, $mask:ty);*) => {$(impl Cast<Bit> for $f {
        #[inline(always)]
        fn wrap(self) -> Bit {
            Bit((self != 0.0) as u8)
        }
        #[inline(always)]
        fn checked(self) -> (Bit, $mask) {
            let fits = (self == 0.0) | (self == 1.0);
            (Cast::<Bit>::wrap(self), !fits as $mask)
        }
    })*};
}
float_to_bool!(f32, u32; f64, u64);

impl Cast<f64> for f32 {
    #[inline(always)]
    fn wrap(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn checked(self) -> (f64, u32) {
        (self as f64, 0)
    }
}

impl Cast<f32> for f64 {
    #[inline(always)]
    fn wrap(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn checked(self) -> (f32, u64) {
        // The least number that rounds to infinity: half a unit beyond the greatest `f32`.
        const OVERFLOWS: f64 = f32::MAX as f64 + (1_u128 << 103) as f64;
        let magnitude = self.abs();
        let overflows = (OVERFLOWS..f64::INFINITY).contains(&magnitude);
        (self as f32, overflows as u64)
    }
}

/// The 16-bit floats. They convert by way of `f32`, which holds their values exactly.
macro_rules! halves {
    ($($h:ty: $($d:ty)*);*) => {$(
        $(impl Cast<$d> for $h {
            #[inline(always)]
            fn wrap(self) -> $d {
                Cast::<$d>::wrap(self.widen())
            }
            #[inline(always)]
            fn checked(self) -> ($d, u32) {
                Cast::<$d>::checked(self.widen())
            }
        })*
        impl Cast<f32> for $h {
            #[inline(always)]
            fn wrap(self) -> f32 {
                self.widen()
            }
            #[inline(always)]
            fn checked(self) -> (f32, u32) {
                (self.widen(), 0)
            }
        }
        impl Cast<$h> for f32 {
            #[inline(always)]
            fn wrap(self) -> $h {
                <$h>::nearest(self)
            }
            #[inline(always)]
            fn checked(self) -> ($h, u32) {
                let out = <$h>::nearest(self);
                let overflows = out.is_infinite() & self.is_finite();
                (out, overflows as u32)
            }
        }
        impl Cast<$h> for f64 {
            #[inline(always)]
            fn wrap(self) -> $h {
                <$h>::nearest(round_to_odd(self))
            }
            #[inline(always)]
            fn checked(self) -> ($h, u64) {
                let out: $h = self.wrap();
                let overflows = out.is_infinite() & self.is_finite();
                (out, overflows as u64)
            }
        }
    )*};
}
halves!(
    Half: Bit i8 i16 i32 u8 u16 f64 Brain;
    Brain: Bit i8 i16 i32 i64 u8 u16 u32 u64 f64 Half
);

/// `Half` to integers of more bits than it needs, by way of `i32`.
macro_rules! half_to_wide {
    ($($i:ty => $negative:expr),*) => {$(impl Cast<$i> for Half {
        #[inline(always)]
        fn wrap(self) -> $i {
            Cast::<$i>::wrap(self.widen())
        }
        #[inline(always)]
        fn checked(self) -> ($i, u32) {
            let (out, misfit) = Cast::<i32>::checked(self.widen());
            (out as $i, misfit | (out as u32 & $negative))
        }
    })*};
}
half_to_wide!(i64 => 0, u32 => 1 << 31, u64 => 1 << 31);

/// Integers to 16-bit floats, by way of an `f32` that is exact or rounded to odd, so that the
/// result is rounded once.
macro_rules! int_to_halves {
    (@ $h:ident $i:ty, $us:ty, $x:ident => $single:expr) => {
        impl Cast<$h> for $i {
            #[inline(always)]
            fn wrap(self) -> $h {
                let $x = self;
                <$h>::nearest($single)
            }
            #[inline(always)]
            fn checked(self) -> ($h, $us) {
                let out: $h = self.wrap();
                let (back, inside) = whole_part!(out.widen(), f32, $i);
                let fits = inside & (back == self);
                (out, !fits as $us)
            }
        }
    };
    ($($i:ty, $us:ty, $x:ident => $single:expr);*) => {$(
        impl Cast<Half> for $i {
            #[inline(always)]
            fn wrap(self) -> Half {
                let $x = self;
                Half::nearest($single)
            }
            #[inline(always)]
            fn checked(self) -> (Half, $us) {
                // A float16 is less than 2^16 = 65536, so others are outside.
                let single = self as i32 as f32;
                let out = Half::nearest(single);
                let fits = out.widen() == single;
                (out, magnitude_outside!(self, $i, $us) | !fits as $us)
            }
        }
        int_to_halves!(@ Brain $i, $us, $x => $single);
    )*};
}

/// Bits that are not zero if an integer is not in -2^16..2^16.
macro_rules! magnitude_outside {
    ($x:expr, $i:ty, $us:ty) => {{
        const WIDE: bool = <$us>::BITS > 17;
        const BIAS: $us = if WIDE && <$i>::MIN != 0 { 1 << 16 % <$us>::BITS } else { 0 };
        const BITS: u32 = if <$i>::MIN != 0 { 17 } else { 16 };
        const HIGH: $us = if WIDE { <$us>::MAX << BITS % <$us>::BITS } else { 0 };
        ($x as $us).wrapping_add(BIAS) & HIGH
    }};
}

int_to_halves!(
    i8, u8, x => x as f32; u8, u8, x => x as f32; i16, u16, x => x as f32; u16, u16, x => x as f32;
    i32, u32, x => round_to_odd(x as f64); u32, u32, x => round_to_odd(x as f64);
    i64, u64, x => round_to_odd(sticky(x.unsigned_abs()).copysign(f64::from_bits(x as u64)));
    u64, u64, x => round_to_odd(sticky(x))
);

macro_rules! from_bool {
    ($($d:ty)*) => {$(impl Cast<$d> for Bit {
        #[inline(always)]
        fn wrap(self) -> $d {
            Cast::<$d>::wrap(self.get() as i8)
        }
        #[inline(always)]
        fn checked(self) -> ($d, u8) {
            (Cast::<$d>::wrap(self), 0)
        }
    })*};
}
from_bool!(Bit i16 i32 i64 u8 u16 u32 u64 f32 f64 Half Brain);

impl Cast<i8> for Bit {
    #[inline(always)]
    fn wrap(self) -> i8 {
        self.get() as i8
    }
    #[inline(always)]
    fn checked(self) -> (i8, u8) {
        (self.get() as i8, 0)
    }
}

macro_rules! to_complex {
    ($($part:ty: $($s:ty)*);*) => {$($(impl Cast<Pair<$part>> for $s {
        #[inline(always)]
        fn wrap(self) -> Pair<$part> {
            Pair(Cast::<$part>::wrap(self), 0.0)
        }
        #[inline(always)]
        fn checked(self) -> (Pair<$part>, Self::Mask) {
            let (re, mask) = Cast::<$part>::checked(self);
            (Pair(re, 0.0), mask)
        }
    })*)*};
}
to_complex!(
    f32: Bit i8 i16 i32 i64 u8 u16 u32 u64 Half Brain f64;
    f64: Bit i8 i16 i32 i64 u8 u16 u32 u64 Half Brain f32
);

macro_rules! to_own_complex {
    ($($part:ty)*) => {$(impl Cast<Pair<$part>> for $part {
        #[inline(always)]
        fn wrap(self) -> Pair<$part> {
            Pair(self, 0.0)
        }
        #[inline(always)]
        fn checked(self) -> (Pair<$part>, Self::Mask) {
            (Pair(self, 0.0), 0)
        }
    })*};
}
to_own_complex!(f32 f64);
