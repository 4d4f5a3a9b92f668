//! Checked conversion to integers of fewer bits, by AVX2.
//!
//! # Rationale
//! AVX2 has no instruction that keeps the low bits of each number, and a compiler takes two or
//! three shuffles for each vector instead. Here several vectors are combined by shifts: numbers
//! that fit, less the least value of the target, have no other bits than those of the target. Two
//! shuffles then put the results of all of them in order.
#![allow(clippy::cast_precision_loss, reason = "powers of two")]

use super::lanes::{Cast, Checked};
use super::loops::{Run, each};
use crate::DType;
use core::arch::x86_64::{
    __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_epi64, _mm256_add_pd, _mm256_add_ps,
    _mm256_and_si256, _mm256_castpd_si256, _mm256_castps_si256, _mm256_castsi256_pd,
    _mm256_castsi256_ps, _mm256_or_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_pd, _mm256_set1_ps, _mm256_setr_epi8,
    _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_slli_epi32, _mm256_slli_epi64, _mm256_sub_epi32, _mm256_sub_epi64, _mm256_sub_pd,
    _mm256_sub_ps, _mm256_testz_si256, _mm256_xor_si256,
};

/// The conversion of `Self` to an integer `D` of fewer bits.
trait Narrow<D>: Cast<D> {
    /// The unsigned integer of as many bits as `Self`.
    type Bits;
    /// The number that is added, so that numbers that fit are not negative.
    const BIAS: Self::Bits;
    /// The bits of which the sum has none if the number fits.
    const HIGH: Self::Bits;
    /// The sums of a vector's numbers, and bits that are all zero if they are whole.
    ///
    /// # Safety
    /// On a CPU of [`super::CpuLevel::Avx2`].
    unsafe fn narrow(numbers: __m256i) -> (__m256i, __m256i);
}

macro_rules! bias {
    ($signed:expr, $d:ty) => {
        if $signed && <$d>::MIN != 0 { 1 << (<$d>::BITS - 1) } else { 0 }
    };
}

macro_rules! high {
    ($signed:expr, $us:ty, $d:ty) => {
        <$us>::MAX << if !$signed && <$d>::MIN != 0 { <$d>::BITS - 1 } else { <$d>::BITS }
    };
}

macro_rules! from_int {
    ($s:ty, $us:ty, $add:ident, $all:ident: $($d:ty)*) => {$(impl Narrow<$d> for $s {
        type Bits = $us;
        const BIAS: $us = bias!(<$s>::MIN != 0, $d);
        const HIGH: $us = high!(<$s>::MIN != 0, $us, $d);
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn narrow(numbers: __m256i) -> (__m256i, __m256i) {
            let bias = $all(<Self as Narrow<$d>>::BIAS.cast_signed());
            ($add(numbers, bias), _mm256_setzero_si256())
        }
    })*};
}
from_int!(i64, u64, _mm256_add_epi64, _mm256_set1_epi64x: i8 i16 i32 u8 u16 u32);
from_int!(u64, u64, _mm256_add_epi64, _mm256_set1_epi64x: i8 i16 i32 u8 u16 u32);
from_int!(i32, u32, _mm256_add_epi32, _mm256_set1_epi32: i8 i16 u8 u16);
from_int!(u32, u32, _mm256_add_epi32, _mm256_set1_epi32: i8 i16 u8 u16);
from_int!(i16, u16, _mm256_add_epi16, _mm256_set1_epi16: i8 u8);
from_int!(u16, u16, _mm256_add_epi16, _mm256_set1_epi16: i8 u8);

/// By the last bits of a sum with a large number, which is rounded to a whole one.
macro_rules! from_float {
    ($f:ty, $us:ty, [$add:ident $sub:ident $all:ident], [$sub_bits:ident $all_bits:ident],
        [$floats:ident $bits:ident]: $($d:ty)*) => {$(impl Narrow<$d> for $f {
        type Bits = $us;
        const BIAS: $us = bias!(true, $d);
        const HIGH: $us = high!(true, $us, $d);
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn narrow(numbers: __m256i) -> (__m256i, __m256i) {
            const SHIFT: $f = 1.5 * (1_u64 << (<$f>::MANTISSA_DIGITS - 1)) as $f;
            const LESS: $us = SHIFT.to_bits().wrapping_sub(<$f as Narrow<$d>>::BIAS);
            let (numbers, shift) = ($floats(numbers), $all(SHIFT));
            let shifted = $add(numbers, shift);
            let fractions = $sub($sub(shifted, shift), numbers);
            ($sub_bits($bits(shifted), $all_bits(LESS.cast_signed())), $bits(fractions))
        }
    })*};
}
from_float!(f64, u64, [_mm256_add_pd _mm256_sub_pd _mm256_set1_pd],
    [_mm256_sub_epi64 _mm256_set1_epi64x], [_mm256_castsi256_pd _mm256_castpd_si256]:
    i8 i16 i32 u8 u16 u32);
from_float!(f32, u32, [_mm256_add_ps _mm256_sub_ps _mm256_set1_ps],
    [_mm256_sub_epi32 _mm256_set1_epi32], [_mm256_castsi256_ps _mm256_castps_si256]:
    i8 i16 u8 u16);

/// A loop over blocks of one vector of `$us` for each `$k`. Their results of `$bits` bits fill one
/// vector: number `$k` of element `l`, at the bits from `$k * $bits` on, was element `l` of vector
/// `$k`. `$shift` is the shift of such elements, and `$order` shuffles the numbers.
macro_rules! blocks {
    ($name:ident, $us:ty, $bits:literal, [$($k:literal)*], $shift:ident, $order:ident) => {
        /// # Safety
        /// As [`super::dispatch::Kernel::run`], on a CPU of [`super::CpuLevel::Avx2`].
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt")]
        unsafe fn $name<S: Narrow<D, Bits = $us>, D>(
            src: *const u8,
            dst: *mut u8,
            n: usize,
        ) -> bool {
            const WIDTH: usize = 256 / <$us>::BITS as usize;
            const BLOCK: usize = WIDTH * [$($k),*].len();
            let (from, to) = (src.cast::<S>(), dst.cast::<D>());
            let vector = |numbers: [$us; WIDTH]| {
                // SAFETY: both are 32 bytes, of which any are valid.
                unsafe { core::mem::transmute::<[$us; WIDTH], __m256i>(numbers) }
            };
            let bias = vector([0 $(| S::BIAS << ($bits * $k))*; WIDTH]);
            let (mut sums, mut fractions) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            let done = n - n % BLOCK;
            for start in (0..done).step_by(BLOCK) {
                // A bias is the highest bit, which the exclusive or subtracts again.
                let mut combined = bias;
                $(
                    let part = from.wrapping_add(start + $k * WIDTH).cast::<__m256i>();
                    // SAFETY: a part of `start + BLOCK <= n` readable elements.
                    let part = unsafe { part.read_unaligned() };
                    // SAFETY: the caller's promise.
                    let (sum, fraction) = unsafe { S::narrow(part) };
                    sums = _mm256_or_si256(sums, sum);
                    fractions = _mm256_or_si256(fractions, fraction);
                    combined = _mm256_xor_si256(combined, $shift::<{ $k * $bits }>(sum));
                )*
                let out = to.wrapping_add(start).cast::<__m256i>();
                // SAFETY: `BLOCK` elements of `$bits` bits are 32 bytes, and writable.
                unsafe { out.write_unaligned($order(combined)) };
            }
            let high = _mm256_and_si256(sums, vector([S::HIGH; WIDTH]));
            let bad = _mm256_or_si256(high, fractions);
            let (from, to) = (from.wrapping_add(done), to.wrapping_add(done));
            // SAFETY: the rest of the caller's elements.
            let fits = unsafe { each::<S, D, Checked>(from.cast(), to.cast(), n - done) };
            fits && _mm256_testz_si256(bad, bad) == 1
        }
    };
}
blocks!(bits64_to_8, u64, 8, [0 1 2 3 4 5 6 7], _mm256_slli_epi64, order_64_to_8);
blocks!(bits64_to_16, u64, 16, [0 1 2 3], _mm256_slli_epi64, order_64_to_16);
blocks!(bits64_to_32, u64, 32, [0 1], _mm256_slli_epi64, halves_apart);
blocks!(bits32_to_8, u32, 8, [0 1 2 3], _mm256_slli_epi32, order_32_to_8);
blocks!(bits32_to_16, u32, 16, [0 1], _mm256_slli_epi32, order_32_to_16);
blocks!(bits16_to_8, u16, 8, [0 1], _mm256_slli_epi16, order_16_to_8);

/// The same bytes in each half of 128 bits.
macro_rules! shuffle {
    ($combined:expr, $($at:expr)*) => {
        _mm256_shuffle_epi8($combined, _mm256_setr_epi8($($at,)* $($at),*))
    };
}

/// The first halves of the numbers of 64 bits, then the second ones.
#[inline]
#[target_feature(enable = "avx2")]
fn halves_apart(combined: __m256i) -> __m256i {
    _mm256_permutevar8x32_epi32(combined, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7))
}

/// Numbers of 64 bits of each half of 128 bits in turn.
#[inline]
#[target_feature(enable = "avx2")]
fn in_turn(combined: __m256i) -> __m256i {
    _mm256_permutevar8x32_epi32(combined, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7))
}

#[inline]
#[target_feature(enable = "avx2")]
fn order_64_to_8(combined: __m256i) -> __m256i {
    shuffle!(halves_apart(combined), 0 4 8 12 1 5 9 13 2 6 10 14 3 7 11 15)
}

#[inline]
#[target_feature(enable = "avx2")]
fn order_64_to_16(combined: __m256i) -> __m256i {
    shuffle!(halves_apart(combined), 0 1 4 5 8 9 12 13 2 3 6 7 10 11 14 15)
}

#[inline]
#[target_feature(enable = "avx2")]
fn order_32_to_8(combined: __m256i) -> __m256i {
    let parts = shuffle!(combined, 0 4 8 12 1 5 9 13 2 6 10 14 3 7 11 15);
    _mm256_permutevar8x32_epi32(parts, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

#[inline]
#[target_feature(enable = "avx2")]
fn order_32_to_16(combined: __m256i) -> __m256i {
    in_turn(shuffle!(combined, 0 1 4 5 8 9 12 13 2 3 6 7 10 11 14 15))
}

#[inline]
#[target_feature(enable = "avx2")]
fn order_16_to_8(combined: __m256i) -> __m256i {
    in_turn(shuffle!(combined, 0 2 4 6 8 10 12 14 1 3 5 7 9 11 13 15))
}

macro_rules! table {
    ($($run:ident: $($from:ident $s:ty => $($to:ident $d:ty)*),+;)+) => {
        /// The checked conversion, for a CPU of [`super::CpuLevel::Avx2`]; `None` for other pairs.
        pub(super) fn checked(from: DType, to: DType) -> Option<Run> {
            match (from, to) {
                $($($((DType::$from, DType::$to) => Some($run::<$s, $d>),)*)+)+
                _ => None,
            }
        }
    };
}
table! {
    bits64_to_8: Int64 i64 => Int8 i8 UInt8 u8, UInt64 u64 => Int8 i8 UInt8 u8,
        Float64 f64 => Int8 i8 UInt8 u8;
    bits64_to_16: Int64 i64 => Int16 i16 UInt16 u16, UInt64 u64 => Int16 i16 UInt16 u16,
        Float64 f64 => Int16 i16 UInt16 u16;
    bits64_to_32: Int64 i64 => Int32 i32 UInt32 u32, UInt64 u64 => Int32 i32 UInt32 u32,
        Float64 f64 => Int32 i32 UInt32 u32;
    bits32_to_8: Int32 i32 => Int8 i8 UInt8 u8, UInt32 u32 => Int8 i8 UInt8 u8,
        Float32 f32 => Int8 i8 UInt8 u8;
    bits32_to_16: Int32 i32 => Int16 i16 UInt16 u16, UInt32 u32 => Int16 i16 UInt16 u16,
        Float32 f32 => Int16 i16 UInt16 u16;
    bits16_to_8: Int16 i16 => Int8 i8 UInt8 u8, UInt16 u16 => Int8 i8 UInt8 u8;
}
