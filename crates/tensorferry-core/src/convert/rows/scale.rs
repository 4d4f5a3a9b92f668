//! `x * mul + add` in float32, in one pass from any real dtype.

use crate::DType;
use crate::convert::dispatch::{Wide, widely};
use crate::convert::halves::{Brain, Half};
use crate::convert::lanes::{Bit, Cast};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// Least length of repeated factors: a loop over them is long enough to be vectorised.
const REPEATED: usize = 256;
/// Least number of elements with the same factors that have a loop of their own.
const RUN: usize = 64;

/// What to multiply by and to add.
#[derive(Clone, Debug)]
pub struct Factors {
    mul: Vec<f32>,
    add: Vec<f32>,
    /// Number of successive elements with the same factors.
    run: usize,
}

impl Factors {
    /// Factors `mul[i]` and `add[i]` for `run` elements each, from the first on, again and again.
    /// `None` if there are none or the lengths differ.
    #[must_use]
    pub fn new(mul: &[f32], add: &[f32], run: usize) -> Option<Self> {
        if mul.is_empty() || mul.len() != add.len() || run == 0 {
            return None;
        }
        if mul.len() == 1 {
            return Some(Self { mul: mul.to_vec(), add: add.to_vec(), run: 1 });
        }
        if run >= RUN {
            return Some(Self { mul: mul.to_vec(), add: add.to_vec(), run });
        }
        let times = REPEATED.div_ceil(mul.len() * run);
        let repeated = |values: &[f32]| -> Vec<f32> {
            let each = values.iter().flat_map(|value| core::iter::repeat_n(*value, run));
            each.collect::<Vec<_>>().repeat(times)
        };
        Some(Self { mul: repeated(mul), add: repeated(add), run: 1 })
    }
}

/// Computes `x * mul + add` for the elements of `src`: `x` is rounded to the nearest float32, then
/// the product, then the sum. Returns whether `from` is real and `out` has as many elements as
/// `src`; otherwise `out` is unspecified.
#[must_use]
pub fn scale(from: DType, src: &[u8], factors: &Factors, out: &mut [u8]) -> bool {
    if !src.len().is_multiple_of(from.size())
        || out.len() != src.len() / from.size() * size_of::<f32>()
    {
        return false;
    }
    match from {
        DType::Bool => of::<Bit>(src, factors, out),
        DType::Int8 => of::<i8>(src, factors, out),
        DType::Int16 => of::<i16>(src, factors, out),
        DType::Int32 => of::<i32>(src, factors, out),
        DType::Int64 => of::<i64>(src, factors, out),
        DType::UInt8 => of::<u8>(src, factors, out),
        DType::UInt16 => of::<u16>(src, factors, out),
        DType::UInt32 => of::<u32>(src, factors, out),
        DType::UInt64 => of::<u64>(src, factors, out),
        DType::Float16 => of::<Half>(src, factors, out),
        DType::BFloat16 => of::<Brain>(src, factors, out),
        DType::Float32 => of::<f32>(src, factors, out),
        DType::Float64 => of::<f64>(src, factors, out),
        DType::Complex64 | DType::Complex128 => return false,
    }
    true
}

fn of<S: ToSingle>(src: &[u8], factors: &Factors, out: &mut [u8]) {
    match (factors.mul.as_slice(), factors.add.as_slice(), factors.run) {
        (&[mul], &[add], _) => widely(Uniform::<S> { src, mul, add, out, of: PhantomData }),
        (mul, add, 1) => widely(Periodic::<S> { src, mul, add, out, of: PhantomData }),
        (mul, add, run) => {
            let runs = src.chunks(run * size_of::<S>()).zip(out.chunks_mut(run * size_of::<f32>()));
            for ((src, out), (&mul, &add)) in runs.zip(mul.iter().zip(add).cycle()) {
                widely(Uniform::<S> { src, mul, add, out, of: PhantomData });
            }
        }
    }
}

/// A dtype that rounds to float32.
trait ToSingle: Copy {
    fn to_single(self) -> f32;
}

macro_rules! to_single {
    ($($lane:ty)*) => {$(impl ToSingle for $lane {
        #[inline(always)]
        fn to_single(self) -> f32 {
            Cast::<f32>::wrap(self)
        }
    })*};
}
to_single!(Bit i8 i16 i32 i64 u8 u16 u32 u64 Half Brain f64);

impl ToSingle for f32 {
    #[inline(always)]
    fn to_single(self) -> f32 {
        self
    }
}

/// One pair of factors for all elements.
struct Uniform<'a, S> {
    src: &'a [u8],
    mul: f32,
    add: f32,
    out: &'a mut [u8],
    of: PhantomData<S>,
}

impl<S: ToSingle> Wide for Uniform<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (src, out) = (self.src.as_ptr().cast::<S>(), self.out.as_mut_ptr().cast::<f32>());
        for i in 0..self.out.len() / size_of::<f32>() {
            // SAFETY: `scale` compared the lengths, so `src` has element `i`, and any bytes are an
            // `S`.
            let value = unsafe { src.wrapping_add(i).read_unaligned() };
            let value = value.to_single() * self.mul + self.add;
            // SAFETY: `i` is less than the number of elements of `out`.
            unsafe { out.wrapping_add(i).write_unaligned(value) };
        }
    }
}

/// Factors that repeat.
struct Periodic<'a, S> {
    src: &'a [u8],
    mul: &'a [f32],
    add: &'a [f32],
    out: &'a mut [u8],
    of: PhantomData<S>,
}

impl<S: ToSingle> Wide for Periodic<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let period = self.mul.len();
        let src = self.src.chunks(period * size_of::<S>());
        for (src, out) in src.zip(self.out.chunks_mut(size_of_val(self.mul))) {
            let src = src.as_ptr().cast::<S>();
            let out = out.as_chunks_mut::<4>().0.iter_mut();
            for (i, ((out, mul), add)) in out.zip(self.mul).zip(self.add).enumerate() {
                // SAFETY: `scale` compared the lengths, so the chunk of `src` has as many elements
                // as that of `out`, and any bytes are an `S`.
                let value = unsafe { src.wrapping_add(i).read_unaligned() };
                *out = (value.to_single() * mul + add).to_ne_bytes();
            }
        }
    }
}
