//! The least and greatest value of an array, and the narrowest dtype that holds its values.

use super::Casting;
use super::dispatch::{Wide, widely};
use super::halves::{Brain, Half};
use super::lanes::{Bit, Cast};
use super::strided::{Visit, blocks, can_convert, diagnose};
use crate::{DType, Error, Kind, Result, Scalar, View};

/// A number with an order, or NaN.
trait Ordered: Copy + PartialOrd + Default {
    fn is_nan(self) -> bool {
        false
    }
    fn scalar(self) -> Scalar;
}

macro_rules! ordered_ints {
    ($($int:ty),*) => {$(impl Ordered for $int {
        fn scalar(self) -> Scalar {
            Scalar::Int(self.into())
        }
    })*};
}
ordered_ints!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! ordered_floats {
    ($($float:ident: $scalar:ident),*) => {$(impl Ordered for $float {
        #[inline(always)]
        fn is_nan(self) -> bool {
            self.is_nan()
        }
        fn scalar(self) -> Scalar {
            Scalar::$scalar(self)
        }
    })*};
}
ordered_floats!(f32: Float32, f64: Float64);

/// An element as stored, and the number that it is.
trait Stored: Copy {
    type Number: Ordered;
    fn number(self) -> Self::Number;
}

macro_rules! stored {
    ($($stored:ty => $number:ty: $x:ident => $value:expr),*) => {$(impl Stored for $stored {
        type Number = $number;
        #[inline(always)]
        fn number(self) -> $number {
            let $x = self;
            $value
        }
    })*};
}
stored!(
    i8 => i8: x => x, i16 => i16: x => x, i32 => i32: x => x, i64 => i64: x => x,
    u8 => u8: x => x, u16 => u16: x => x, u32 => u32: x => x, u64 => u64: x => x,
    Half => f32: x => x.widen(), Brain => f32: x => x.widen(),
    f32 => f32: x => x, f64 => f64: x => x,
    Bit => u8: x => Cast::<u8>::wrap(x)
);

/// The least and greatest element, both NaN if one is, like `numpy.min`.
///
/// `LANES` floats are compared side by side: the compiler may not reorder comparisons of floats. It
/// vectorises those of integers by itself, with 1.
fn extremes<S: Stored, const LANES: usize>(src: &View<'_>) -> Result<Option<(Scalar, Scalar)>> {
    let mut range: Option<(S::Number, S::Number)> = None;
    blocks(src, Visit::Memory, 1, |packed, n| {
        // SAFETY: `blocks` passes `n` initialised elements, at least one, for which any bytes are
        // valid.
        let block = unsafe { Block::<S, LANES>::new(packed, n) };
        let (low, high) = block.extremes();
        range = Some(match range {
            None => (low, high),
            Some((least, most)) => (
                if low < least || low.is_nan() { low } else { least },
                if high > most || high.is_nan() { high } else { most },
            ),
        });
        !low.is_nan()
    })?;
    Ok(range.map(|(low, high)| (low.scalar(), high.scalar())))
}

/// Packed elements, at least one.
#[derive(Clone, Copy)]
struct Block<S, const LANES: usize> {
    packed: *const S,
    n: usize,
}

impl<S: Stored, const LANES: usize> Block<S, LANES> {
    /// # Safety
    /// `n` elements at `packed` are readable and initialised, and stay so. `n` is not 0. They may
    /// be unaligned.
    unsafe fn new(packed: *const u8, n: usize) -> Self {
        Self { packed: packed.cast(), n }
    }

    /// Element `i`, or the last if there are fewer.
    #[inline(always)]
    fn get(&self, i: usize) -> S::Number {
        let i = if i < self.n { i } else { self.n - 1 };
        // SAFETY: element `i < n`, which the caller of `new` promised.
        unsafe { self.packed.wrapping_add(i).read_unaligned() }.number()
    }

    /// The least and greatest number: of equal ones (0.0 and -0.0), the first. Both are the first
    /// NaN if there is one.
    fn extremes(self) -> (S::Number, S::Number) {
        let (low, high, nan) = widely(self);
        let mut numbers = (0..self.n).map(|i| self.get(i));
        if nan {
            let nan = numbers.find(|number| number.is_nan()).unwrap_or(low);
            return (nan, nan);
        }
        let zero = S::Number::default();
        if low != zero && high != zero {
            return (low, high);
        }
        let first = numbers.find(|number| *number == zero).unwrap_or(zero);
        (if low == zero { first } else { low }, if high == zero { first } else { high })
    }
}

/// The least and greatest number, in lanes that the compiler vectorises, and whether there is a
/// NaN. Only then are the numbers unspecified.
impl<S: Stored, const LANES: usize> Wide for Block<S, LANES> {
    type Output = (S::Number, S::Number, bool);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let first = self.get(0);
        let (mut low, mut high, mut nan) = ([first; LANES], [first; LANES], [false; LANES]);
        let mut merge = |lane: usize, number: S::Number| {
            low[lane] = if number < low[lane] { number } else { low[lane] };
            high[lane] = if number > high[lane] { number } else { high[lane] };
            nan[lane] |= number.is_nan();
        };
        let whole = self.n - self.n % LANES;
        for start in (0..whole).step_by(LANES) {
            for lane in 0..LANES {
                // SAFETY: `start + lane` is less than `whole`, so an element.
                let stored = unsafe { self.packed.wrapping_add(start + lane).read_unaligned() };
                merge(lane, stored.number());
            }
        }
        for i in whole..self.n {
            merge(i - whole, self.get(i));
        }
        let mut all = (low[0], high[0], nan[0]);
        for lane in 1..LANES {
            all.0 = if low[lane] < all.0 { low[lane] } else { all.0 };
            all.1 = if high[lane] > all.1 { high[lane] } else { all.1 };
            all.2 |= nan[lane];
        }
        all
    }
}

/// The least and greatest value, or `None` if there are no elements. Both are NaN if any element
/// is, like `numpy.min`. 16-bit floats are returned as `f32`.
///
/// `tensorferry::value_range` returns the same and uses all cores.
///
/// ```
/// # use tensorferry_core::{Scalar, View, value_range};
/// let range = value_range(&View::from_slice(&[3_i64, -1, 2], &[3])?)?;
/// assert_eq!(range, Some((Scalar::Int(-1), Scalar::Int(3))));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::CastNotDefined`] for complex numbers, which have no order.
pub fn value_range(src: &View<'_>) -> Result<Option<(Scalar, Scalar)>> {
    match src.dtype() {
        DType::Bool => bool_range(src),
        DType::Int8 => extremes::<i8, 1>(src),
        DType::Int16 => extremes::<i16, 1>(src),
        DType::Int32 => extremes::<i32, 1>(src),
        DType::Int64 => extremes::<i64, 1>(src),
        DType::UInt8 => extremes::<u8, 1>(src),
        DType::UInt16 => extremes::<u16, 1>(src),
        DType::UInt32 => extremes::<u32, 1>(src),
        DType::UInt64 => extremes::<u64, 1>(src),
        DType::Float16 => extremes::<Half, 32>(src),
        DType::BFloat16 => extremes::<Brain, 32>(src),
        DType::Float32 => extremes::<f32, 32>(src),
        DType::Float64 => extremes::<f64, 32>(src),
        DType::Complex64 | DType::Complex128 => Err(no_order(src.dtype())),
    }
}

fn no_order(from: DType) -> Error {
    Error::CastNotDefined { from, to: from.part(), casting: Casting::Checked }
}

fn bool_range(src: &View<'_>) -> Result<Option<(Scalar, Scalar)>> {
    let range = extremes::<Bit, 1>(src)?;
    let truth = |value: Scalar| Scalar::Bool(value == Scalar::Int(1));
    Ok(range.map(|(low, high)| (truth(low), truth(high))))
}

/// The narrowest integer dtype that holds the values, unsigned if none is negative. `Bool` for
/// bools, and `UInt8` if there are no elements. Floats have to be whole numbers.
///
/// `tensorferry::smallest_dtype` returns the same and uses all cores.
///
/// ```
/// # use tensorferry_core::{DType, View, smallest_dtype};
/// assert_eq!(smallest_dtype(&View::from_slice(&[0_i64, 255], &[2])?)?, DType::UInt8);
/// assert_eq!(smallest_dtype(&View::from_slice(&[-1_i64, 255], &[2])?)?, DType::Int16);
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::ValuesDoNotFit`] if a float is not a whole number or exceeds 64 bits;
/// [`Error::CastNotDefined`] for complex numbers.
pub fn smallest_dtype(src: &View<'_>) -> Result<DType> {
    narrowest(src, value_range(src)?, can_convert)
}

/// [`smallest_dtype`] of values with a known range. `can_convert` is the caller's [`can_convert`].
///
/// # Errors
/// As [`smallest_dtype`].
pub fn narrowest(
    src: &View<'_>,
    range: Option<(Scalar, Scalar)>,
    can_convert: impl Fn(&View<'_>, DType, Casting) -> bool,
) -> Result<DType> {
    let from = src.dtype();
    if from == DType::Bool {
        return Ok(from);
    }
    let Some((low, high)) = range else { return Ok(DType::UInt8) };
    let (low, high) = (whole(low), whole(high));
    let kind = if low >= 0 { Kind::Unsigned } else { Kind::Signed };
    let widest = if low >= 0 { DType::UInt64 } else { DType::Int64 };
    let holds = |dtype: &DType| {
        dtype.integer_range().is_some_and(|(least, most)| least <= low && high <= most)
    };
    let to =
        DType::ALL.into_iter().filter(|dtype| dtype.kind() == kind).find(holds).unwrap_or(widest);
    if from.is_integer() || can_convert(src, to, Casting::Checked) {
        Ok(to)
    } else {
        Err(diagnose(src, to, Casting::Checked))
    }
}

/// The whole part, saturated outside every dtype's range.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, outside every dtype's range"
)]
fn whole(value: Scalar) -> i128 {
    match value {
        Scalar::Bool(value) => value.into(),
        Scalar::Int(value) => value,
        Scalar::Float32(value) => value as i128,
        Scalar::Float64(value) | Scalar::Complex(value, _) => value as i128,
    }
}
