//! The choice of the kernel, in the only file that detects the CPU.
//!
//! # Rationale
//! A kernel is one plain loop, compiled once per pair of dtypes, casting and level of vector
//! instructions. It is chosen once per conversion. [`table`] lists all kernels. A pair is in the
//! row that names the ways in which its values can fail to fit, and only the castings that differ
//! there are compiled. Narrowing at [`CpuLevel::Avx2`] has loops of its own.
//!
//! # Limitations
//! Conversions of real to complex numbers are rare and bound by memory, so they are compiled for
//! [`CpuLevel::Base`] only.

use super::Casting;
use super::halves::{Brain, Half};
use super::lanes::{Bit, Cast, Checked, Lane, Pair, Rule, Saturate, Wrap};
use super::loops::{Run, each};
#[cfg(target_arch = "x86_64")]
use super::narrowing;
use crate::DType;
use core::sync::atomic::{AtomicU8, Ordering};

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

/// The vector instructions that kernels are compiled for. Results do not depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CpuLevel {
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

impl CpuLevel {
    /// The levels of this build, lowest first.
    #[cfg(target_arch = "x86_64")]
    pub const ALL: &[Self] = &[Self::Base, Self::Avx2, Self::Avx512];
    /// The levels of this build, lowest first.
    #[cfg(not(target_arch = "x86_64"))]
    pub const ALL: &[Self] = &[Self::Base];

    /// The name in `TENSORFERRY_CPU_LEVEL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "baseline",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// The levels of this CPU, lowest first.
    #[cfg(test)]
    pub(super) fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|&level| level <= Self::detect())
    }

    /// The highest level of this CPU, whatever `TENSORFERRY_CPU_LEVEL` says. Without the feature
    /// `std`, that of the build's target.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn detect() -> Self {
        if !has!("avx2" "fma" "f16c" "bmi1" "bmi2" "lzcnt") {
            Self::Base
        } else if has!("avx512f" "avx512bw" "avx512dq" "avx512vl") {
            Self::Avx512
        } else {
            Self::Avx2
        }
    }

    /// The highest level of this CPU.
    #[cfg(not(target_arch = "x86_64"))]
    #[must_use]
    pub fn detect() -> Self {
        Self::Base
    }

    /// The level of `asked`, but at most `detected`. An unknown name has no effect but a warning.
    #[cfg(feature = "std")]
    pub(super) fn limited(detected: Self, asked: &str) -> Self {
        let found = [(0, "baseline"), (1, "avx2"), (2, "avx512")]
            .into_iter()
            .find(|(_, name)| asked.trim().eq_ignore_ascii_case(name));
        match found {
            // Of a level that this build does not have, the one below it.
            Some((at, _)) => detected.min(Self::ALL[at.min(Self::ALL.len() - 1)]),
            None => {
                log::warn!(
                    "TENSORFERRY_CPU_LEVEL={asked:?} has no effect: it is not the name of a \
                     level. Set it to \"baseline\", \"avx2\" or \"avx512\"."
                );
                detected
            }
        }
    }
}

/// The level whose kernels this process uses: the highest of this CPU, or the lower one that the
/// environment variable `TENSORFERRY_CPU_LEVEL` names (`baseline`, `avx2` or `avx512`). It is read
/// once. An unknown name is logged as a warning and has no effect, and a level above the CPU's
/// stands for the CPU's. Without the feature `std`, the build's target decides.
///
/// ```
/// let level = tensorferry_core::cpu_level();
/// assert!(tensorferry_core::CpuLevel::ALL.contains(&level));
/// ```
#[must_use]
pub fn cpu_level() -> CpuLevel {
    /// 0 until known, then the level plus 1.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    #[cfg(all(test, feature = "std"))]
    if let Some(level) = FORCED.get() {
        return level;
    }
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let level = CpuLevel::detect();
            #[cfg(feature = "std")]
            let level = match std::env::var_os("TENSORFERRY_CPU_LEVEL") {
                Some(asked) if !asked.is_empty() => {
                    CpuLevel::limited(level, &asked.to_string_lossy())
                }
                _ => level,
            };
            KNOWN.store(level as u8 + 1, Ordering::Relaxed);
            level
        }
        #[cfg(target_arch = "x86_64")]
        2 => CpuLevel::Avx2,
        #[cfg(target_arch = "x86_64")]
        3 => CpuLevel::Avx512,
        _ => CpuLevel::Base,
    }
}

#[cfg(all(test, feature = "std"))]
std::thread_local! {
    static FORCED: core::cell::Cell<Option<CpuLevel>> = const { core::cell::Cell::new(None) };
}

/// Calls `check` with each level of this CPU, which the kernels of this thread use meanwhile.
#[cfg(all(test, feature = "std"))]
pub(super) fn at_every_level(mut check: impl FnMut(CpuLevel)) {
    for level in CpuLevel::available() {
        FORCED.set(Some(level));
        check(level);
    }
    FORCED.set(None);
}

/// Loops that are worth compiling for wider vectors than those of the build's target.
pub trait Wide {
    /// The result.
    type Output;

    /// Runs the loops. This function and all it calls have to be `#[inline(always)]`, because only
    /// inlined code is compiled for each level.
    fn run(self) -> Self::Output;
}

/// Runs the work with the vector instructions of this process's level. The result does not depend
/// on them.
#[inline]
pub fn widely<W: Wide>(work: W) -> W::Output {
    match cpu_level() {
        // SAFETY: the CPU has the instructions of this level.
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 => unsafe { widely_avx512(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => unsafe { widely_avx2(work) },
        CpuLevel::Base => work.run(),
    }
}

/// # Safety
/// On a CPU of [`CpuLevel::Avx2`] or above.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt")]
unsafe fn widely_avx2<W: Wide>(work: W) -> W::Output {
    work.run()
}

/// # Safety
/// On a CPU of [`CpuLevel::Avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widely_avx512<W: Wide>(work: W) -> W::Output {
    work.run()
}

/// # Safety
/// As [`Kernel::run`].
unsafe fn base<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

/// # Safety
/// As [`Kernel::run`], on a CPU of [`CpuLevel::Avx2`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt")]
unsafe fn avx2<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

/// # Safety
/// As [`Kernel::run`], on a CPU of [`CpuLevel::Avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<S: Lane, D, R: Rule<S, D>>(src: *const u8, dst: *mut u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { each::<S, D, R>(src, dst, n) }
}

fn at<S: Lane, D, R: Rule<S, D>>(level: CpuLevel) -> Run {
    match level {
        CpuLevel::Base => base::<S, D, R>,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => avx2::<S, D, R>,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 => avx512::<S, D, R::Native>,
    }
}

/// Conversions in which every value fits, so that all castings agree.
fn total<S: Cast<D>, D>(level: CpuLevel, _: Casting) -> Option<Run> {
    Some(at::<S, D, Wrap>(level))
}

/// Real to complex numbers, for [`CpuLevel::Base`] only.
fn plain<S: Cast<D>, D>(_: CpuLevel, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(base::<S, D, Checked>),
        Casting::Saturate | Casting::Wrap => Some(base::<S, D, Wrap>),
    }
}

/// Integers to integers.
fn narrow<S: Cast<D>, D>(level: CpuLevel, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate => Some(at::<S, D, Saturate>(level)),
        Casting::Wrap => Some(at::<S, D, Wrap>(level)),
    }
}

/// Numbers to floats and bools: `Saturate` and `Wrap` round in the same way.
fn round<S: Cast<D>, D>(level: CpuLevel, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate | Casting::Wrap => Some(at::<S, D, Wrap>(level)),
    }
}

/// Floats to integers, for which `Wrap` is not defined.
fn truncate<S: Cast<D>, D>(level: CpuLevel, casting: Casting) -> Option<Run> {
    match casting {
        Casting::Checked => Some(at::<S, D, Checked>(level)),
        Casting::Saturate => Some(at::<S, D, Wrap>(level)),
        Casting::Wrap => None,
    }
}

macro_rules! table {
    ($($from:ident $s:ty { $($how:ident: $($to:ident $d:ty),+;)+ })+) => {
        fn table(from: DType, to: DType, level: CpuLevel, casting: Casting) -> Option<Run> {
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
    kernel_at(cpu_level(), from, to, casting)
}

/// As [`kernel`], at a level of this CPU.
pub(super) fn kernel_at(
    level: CpuLevel,
    from: DType,
    to: DType,
    casting: Casting,
) -> Option<Kernel> {
    if from == to && from != DType::Bool {
        return Some(Kernel { run: copy_of(from.size()), parts: 1, is_copy: true });
    }
    let (from, to, parts) = match (from, to) {
        (DType::Complex64, DType::Complex128) => (DType::Float32, DType::Float64, 2),
        (DType::Complex128, DType::Complex64) => (DType::Float64, DType::Float32, 2),
        pair => (pair.0, pair.1, 1),
    };
    #[cfg(target_arch = "x86_64")]
    if (level, casting) == (CpuLevel::Avx2, Casting::Checked)
        && let Some(run) = narrowing::checked(from, to)
    {
        return Some(Kernel { run, parts, is_copy: false });
    }
    Some(Kernel { run: table(from, to, level, casting)?, parts, is_copy: false })
}
