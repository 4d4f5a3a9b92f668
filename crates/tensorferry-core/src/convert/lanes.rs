//! How one value becomes another, branch-free: what the compiler turns into vector code.
//!
//! # Rationale
//! A lane never stops at a value that does not fit. It writes something and reports a mask; the
//! loop ORs the masks together and asks once. Where a test is possible in the source's own width,
//! the mask has that width, so that a vector holds as many masks as values.
//!
//! # Limitations
//! Which value did not fit is not known afterwards: a second pass with the oracle finds out.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::cast_lossless,
    reason = "narrowing is what this file is for; each lane tests its own result"
)]

use super::halves::{Brain, Half, round_to_odd};
use core::ops::BitOrAssign;

/// A value as it lies in memory; any bytes are one.
pub(super) trait Lane: Copy {
    /// Zero where the value fits.
    type Mask: Copy + Default + PartialEq + BitOrAssign;
}

/// A `bool` as it lies in memory: true unless 0, because foreign bytes are not always 0 or 1.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bit(u8);

impl Bit {
    #[inline(always)]
    fn get(self) -> u8 {
        u8::from(self.0 != 0)
    }
}

/// A complex number made from a real one.
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

/// `Self` becomes `D` under each casting.
pub(super) trait Cast<D>: Lane {
    fn wrap(self) -> D;
    fn saturate(self) -> D {
        self.wrap()
    }
    fn checked(self) -> (D, Self::Mask);
}

/// A [`super::Casting`] as a type, so that a kernel is compiled for each.
pub(super) trait Rule<S: Lane, D> {
    fn apply(value: S) -> (D, S::Mask);
}

pub(super) struct Checked;
pub(super) struct Saturate;
pub(super) struct Wrap;

impl<S: Cast<D>, D> Rule<S, D> for Checked {
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        value.checked()
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Saturate {
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        (value.saturate(), S::Mask::default())
    }
}

impl<S: Cast<D>, D> Rule<S, D> for Wrap {
    #[inline(always)]
    fn apply(value: S) -> (D, S::Mask) {
        (value.wrap(), S::Mask::default())
    }
}

macro_rules! from_int {
    ($s:ty, $us:ty: $($d:ty)*) => {$(impl Cast<$d> for $s {
        #[inline(always)]
        fn wrap(self) -> $d {
            self as $d
        }
        #[inline(always)]
        fn saturate(self) -> $d {
            const LOW: i128 = if (<$s>::MIN as i128) < <$d>::MIN as i128 { <$d>::MIN as i128 } else { <$s>::MIN as i128 };
            const HIGH: i128 = if (<$s>::MAX as i128) > <$d>::MAX as i128 { <$d>::MAX as i128 } else { <$s>::MAX as i128 };
            self.clamp(LOW as $s, HIGH as $s) as $d
        }
        #[inline(always)]
        fn checked(self) -> ($d, $us) {
            // Where the signs differ, the top bit of the source is a value that the target, no
            // wider, cannot hold.
            const ALWAYS: bool = <$s>::MIN as i128 >= <$d>::MIN as i128 && <$s>::MAX as i128 <= <$d>::MAX as i128;
            const CROSS: bool = (<$s>::MIN == 0) != (<$d>::MIN == 0) && !ALWAYS;
            const TOP: $us = if CROSS { 1 << (<$us>::BITS - 1) } else { 0 };
            let out = self as $d;
            (out, (out as $s ^ self) as $us | (self as $us & TOP))
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

/// Two to the number of value bits of an integer type: the least float too large for it.
macro_rules! bound {
    ($i:ty, $f:ty) => {
        (<$i>::MAX / 2 + 1) as $f * 2.0
    };
}

/// The whole part of a float, 0 where an integer type does not hold it, and whether it does. `as`
/// saturates and does not vectorise.
macro_rules! whole_part {
    ($x:expr, $f:ty, $i:ty) => {{
        let x: $f = $x;
        let inside = (x >= <$i>::MIN as $f) & (x < bound!($i, $f));
        let x: $f = if inside { x } else { 0.0 };
        // SAFETY: 0, or at least the type's least value and less than the bound: finite, and its
        // whole part is in range.
        (unsafe { x.to_int_unchecked::<$i>() }, inside)
    }};
}

macro_rules! float_and_ints {
    ($f:ty, $mask:ty: $($i:ty, $us:ty);*) => {$(
        impl Cast<$i> for $f {
            #[inline(always)]
            fn wrap(self) -> $i {
                let (out, _) = whole_part!(self, $f, $i);
                let out = if self >= bound!($i, $f) { <$i>::MAX } else { out };
                if self < <$i>::MIN as $f { <$i>::MIN } else { out }
            }
            #[inline(always)]
            fn checked(self) -> ($i, $mask) {
                let (out, inside) = whole_part!(self, $f, $i);
                let fits = inside & (out as $f == self);
                (out, !fits as $mask)
            }
        }
        impl Cast<$f> for $i {
            #[inline(always)]
            fn wrap(self) -> $f {
                self as $f
            }
            #[inline(always)]
            fn checked(self) -> ($f, $us) {
                let out = self as $f;
                let (back, inside) = whole_part!(out, $f, $i);
                let fits = inside & (back == self);
                (out, !fits as $us)
            }
        }
    )*};
}
float_and_ints!(f32, u32: i8, u8; i16, u16; i32, u32; i64, u64; u8, u8; u16, u16; u32, u32; u64, u64);
float_and_ints!(f64, u64: i8, u8; i16, u16; i32, u32; i64, u64; u8, u8; u16, u16; u32, u32; u64, u64);

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
        let out = self as f32;
        let overflows = out.is_infinite() & self.is_finite();
        (out, overflows as u64)
    }
}

/// Half-width floats: widening to `f32` is exact, so everything that starts from one starts from
/// there.
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
halves!(Half: Bit i8 i16 i32 i64 u8 u16 u32 u64 f64 Brain; Brain: Bit i8 i16 i32 i64 u8 u16 u32 u64 f64 Half);

/// Integers to half-width floats, by way of an `f32` that rounds no second time: exact, or rounded
/// to odd.
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
        int_to_halves!(@ Half $i, $us, $x => $single);
        int_to_halves!(@ Brain $i, $us, $x => $single);
    )*};
}
int_to_halves!(
    i8, u8, x => x as f32; u8, u8, x => x as f32; i16, u16, x => x as f32; u16, u16, x => x as f32;
    i32, u32, x => round_to_odd(x as f64); u32, u32, x => round_to_odd(x as f64);
    i64, u64, x => round_to_odd(sticky(x.unsigned_abs()).copysign(x as f64));
    u64, u64, x => round_to_odd(sticky(x))
);

/// A float that any rounding to far fewer than 52 bits treats like `magnitude`: the bits that `f64`
/// cannot hold become one.
#[inline(always)]
fn sticky(magnitude: u64) -> f64 {
    let squashed = (magnitude & !0xfff) | (((magnitude & 0xfff) != 0) as u64) << 12;
    (if magnitude >> 53 == 0 { magnitude } else { squashed }) as f64
}

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
to_complex!(f32: Bit i8 i16 i32 i64 u8 u16 u32 u64 Half Brain f64; f64: Bit i8 i16 i32 i64 u8 u16 u32 u64 Half Brain f32);

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
