//! The choice of the kernel, in the only file that detects the CPU.
//!
//! # Rationale
//! A kernel is one plain loop, compiled once per pair of dtypes, casting and level of vector
//! instructions. It is chosen once per conversion. [`table`] lists all kernels. A pair is in the
//! row that names the ways in which its values can fail to fit, and only the castings that differ
//! there are compiled.
//!
//! # Limitations
//! Conversions of real to complex numbers are rare and bound by memory, so they are compiled for
//! [`Level::Base`] only.

use super::Casting;
use super::halves::{Brain, Half};
use super::lanes::{Bit, Cast, Checked, Lane, Pair, Rule, Saturate, Wrap};
use crate::DType;
#[cfg(target_arch = "x86_64")]
use core::sync::atomic::{AtomicU8, Ordering};

/// Converts `n` native elements, which may be unaligned but do not overlap, and returns whether all
/// values fit.
type Run = unsafe fn(*const u8, *mut u8, usize) -> bool;

/// Converts packed elements of one dtype to packed elements of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    run: Run,
    /// The numbers per element: 2 if complex numbers are converted part by part.
    parts: usize,
    /// Whether the elements' bytes are copied unchanged.
    pub(super) is_copy: bool,
}

impl Kernel {
    /// Converts `n` elements, and returns whether all values fit. The result for a value that does
    /// not fit is unspecified.
    ///
    /// # Safety
    /// `n` elements of the source's dtype at `src` are readable and initialised, `n` of the
    /// target's at `dst` writable, and they do not overlap.
    #[inline]
    pub(super) unsafe fn run(&self, src: *const u8, dst: *mut u8, n: usize) -> bool {
        // SAFETY: the caller's promise, with `parts` numbers in each element. `kernel` and
        // `kernel_at` only use a level that this CPU has.
        unsafe { (self.run)(src, dst, n * self.parts) }
    }
}

/// The vector instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Those of the build's target.
    Base,
    /// 256 bits: x86-64-v3.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits: x86-64-v4.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
macro_rules! has {
    ($($feature:tt)*) => { true $(&& std::arch::is_x86_feature_detected!($feature))* };
}
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
macro_rules! has {
    ($($feature:tt)*) => { true $(&& cfg!(target_feature = $feature))* };
}

impl Level {
    /// The levels of this CPU, lowest first.
    #[cfg(test)]
    pub(super) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let all = [Self::Base, Self::Avx2, Self::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        let all = [Self::Base];
        all.into_iter().filter(|&level| level <= Self::best())
    }

    /// The highest level of this CPU, detected once.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn best() -> Self {
        /// 0 until detected, then the level plus 1.
        static KNOWN: AtomicU8 = AtomicU8::new(0);
        match KNOWN.load(Ordering::Relaxed) {
            1 => Self::Base,
            2 => Self::Avx2,
            3 => Self::Avx512,
            _ => {
                let best = Self::detect();
                KNOWN.store(best as u8 + 1, Ordering::Relaxed);
                best
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        if !has!("avx2" "fma" "f16c" "bmi1" "bmi2" "lzcnt") {
            Self::Base
        } else if has!("avx512f" "avx512bw" "avx512dq" "avx512vl") {
            Self::Avx512
        } else {
            Self::Avx2
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn best() -> Self {
        Self::Base
    }
}

/// Loops that are worth compiling for wider vectors than those of the build's target.
pub trait Wide {
    /// The result.
    type Output;

    /// Runs the loops. This function and all it calls have to be `#[inline(always)]`, because only
    /// inlined code is compiled for each level.
    fn run(self) -> Self::Output;
}

/// Runs the work with the vector instructions of this CPU. The result does not depend on them.
pub fn widely<W: Wide>(work: W) -> W::Output {
    match Level::best() {
        // SAFETY: the CPU has the instructions of this level.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { widely_avx512(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { widely_avx2(work) },
        Level::Base => work.run(),
    }
}

/// # Safety
/// On a CPU of [`Level::Avx2`] or above.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt")]
unsafe fn widely_avx2<W: Wide>(work: W) -> W::Output {
    work.run()
}

/// # Safety
/// On a CPU of [`Level::Avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widely_avx512<W: Wide>(work: W) -> W::Output {
    work.run()
}

/// The loop that every level compiles.
///
/// # Safety
/// As [`Kernel::run`].
#[inline(always)]
unsafe fn each<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    let (src, dst) = (src.cast::<S>(), dst.cast::<D>());
    let mut bad = S::Mask::default();
    for i in 0..n {
        // SAFETY: `i < n` elements are readable; any bytes are a `Lane`.
        let value = unsafe { src.wrapping_add(i).read_unaligned() };
        let (out, misfit) = R::apply(value);
        // SAFETY: `i < n` elements are writable.
        unsafe { dst.wrapping_add(i).write_unaligned(out) };
        bad |= misfit;
    }
    bad == S::Mask::default()
}

/// # Safety
/// As [`Kernel::run`].
unsafe fn base<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

/// # Safety
/// As [`Kernel::run`], on a CPU of [`Level::Avx2`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt")]
unsafe fn avx2<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

/// # Safety
/// As [`Kernel::run`], on a CPU of [`Level::Avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

fn at<S: Lane, D, R: Rule<S, D>>(level: Level) -> Run {
    match level {
        Level::Base => base::<S, D, R>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::<S, D, R>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::<S, D, R>,
    }
}

/// Conversions in which every value fits, so that all castings agree.
fn total<S: Cast<D>, D>(level: Level, _: Casting) -> Option<Run> {
    Some(at::<S, D, Wrap>(level))
}

/// Real to complex numbers, for [`Level::Base`] only.
fn plain<S: Cast<D>, D>(_: Level, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(base::<S, D, Checked>),
        Casting::Saturate | Casting::Wrap => Some(base::<S, D, Wrap>),
    }
}

/// Integers to integers.
fn narrow<S: Cast<D>, D>(level: Level, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate => Some(at::<S, D, Saturate>(level)),
        Casting::Wrap => Some(at::<S, D, Wrap>(level)),
    }
}

/// Numbers to floats and bools: `Saturate` and `Wrap` round in the same way.
fn round<S: Cast<D>, D>(level: Level, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate | Casting::Wrap => Some(at::<S, D, Wrap>(level)),
    }
}

/// Floats to integers, for which `Wrap` is not defined.
fn truncate<S: Cast<D>, D>(level: Level, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate => Some(at::<S, D, Wrap>(level)),
        Casting::Wrap => None,
    }
}

macro_rules! table {
    ($($from:ident $s:ty { $($how:ident: $($to:ident $d:ty),+;)+ })+) => {
        fn table(from: DType, to: DType, level: Level, casting: Casting) -> Option<Run> {
            match (from, to) {
                $($($((DType::$from, DType::$to) => $how::<$s, $d>(level, casting),)+)+)+
                _ => None,
            }
        }
    };
}

table! {
    Bool Bit {
        total: Bool Bit, Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64, Float16 Half, BFloat16 Brain, Float32 f32, Float64 f64;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Int8 i8 {
        total: Int16 i16, Int32 i32, Int64 i64, Float16 Half, BFloat16 Brain, Float32 f32,
            Float64 f64;
        narrow: UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64;
        round: Bool Bit;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Int16 i16 {
        total: Int32 i32, Int64 i64, Float32 f32, Float64 f64;
        narrow: Int8 i8, UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64;
        round: Bool Bit, Float16 Half, BFloat16 Brain;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Int32 i32 {
        total: Int64 i64, Float64 f64;
        narrow: Int8 i8, Int16 i16, UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64;
        round: Bool Bit, Float16 Half, BFloat16 Brain, Float32 f32;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Int64 i64 {
        narrow: Int8 i8, Int16 i16, Int32 i32, UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64;
        round: Bool Bit, Float16 Half, BFloat16 Brain, Float32 f32, Float64 f64;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    UInt8 u8 {
        total: Int16 i16, Int32 i32, Int64 i64, UInt16 u16, UInt32 u32, UInt64 u64,
            Float16 Half, BFloat16 Brain, Float32 f32, Float64 f64;
        narrow: Int8 i8;
        round: Bool Bit;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    UInt16 u16 {
        total: Int32 i32, Int64 i64, UInt32 u32, UInt64 u64, Float32 f32, Float64 f64;
        narrow: Int8 i8, Int16 i16, UInt8 u8;
        round: Bool Bit, Float16 Half, BFloat16 Brain;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    UInt32 u32 {
        total: Int64 i64, UInt64 u64, Float64 f64;
        narrow: Int8 i8, Int16 i16, Int32 i32, UInt8 u8, UInt16 u16;
        round: Bool Bit, Float16 Half, BFloat16 Brain, Float32 f32;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    UInt64 u64 {
        narrow: Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32;
        round: Bool Bit, Float16 Half, BFloat16 Brain, Float32 f32, Float64 f64;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Float16 Half {
        total: BFloat16 Brain, Float32 f32, Float64 f64;
        truncate: Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64;
        round: Bool Bit;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    BFloat16 Brain {
        total: Float32 f32, Float64 f64;
        truncate: Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64;
        round: Bool Bit, Float16 Half;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Float32 f32 {
        total: Float64 f64;
        truncate: Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64;
        round: Bool Bit, Float16 Half, BFloat16 Brain;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
    Float64 f64 {
        truncate: Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64;
        round: Bool Bit, Float16 Half, BFloat16 Brain, Float32 f32;
        plain: Complex64 Pair<f32>, Complex128 Pair<f64>;
    }
}

/// # Safety
/// As [`Kernel::run`], for elements of `SIZE` bytes.
unsafe fn copy<const SIZE: usize>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise: `n` elements in both, which do not overlap.
    unsafe { src.copy_to_nonoverlapping(dst, n * SIZE) };
    true
}

fn copy_of(size: usize) -> Run {
    match size {
        1 => copy::<1>,
        2 => copy::<2>,
        4 => copy::<4>,
        8 => copy::<8>,
        _ => copy::<16>,
    }
}

/// The kernel for this CPU; `None` if the conversion is not defined ([`Casting::is_defined`]).
pub(super) fn kernel(from: DType, to: DType, casting: Casting) -> Option<Kernel> {
    kernel_at(Level::best(), from, to, casting)
}

/// As [`kernel`], at a level of this CPU.
pub(super) fn kernel_at(level: Level, from: DType, to: DType, casting: Casting) -> Option<Kernel> {
    if from == to && from != DType::Bool {
        return Some(Kernel { run: copy_of(from.size()), parts: 1, is_copy: true });
    }
    let (from, to, parts) = match (from, to) {
        (DType::Complex64, DType::Complex128) => (DType::Float32, DType::Float64, 2),
        (DType::Complex128, DType::Complex64) => (DType::Float64, DType::Float32, 2),
        pair => (pair.0, pair.1, 1),
    };
    Some(Kernel { run: table(from, to, level, casting)?, parts, is_copy: false })
}
