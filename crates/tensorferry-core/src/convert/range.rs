//! The least and greatest value of an array, and the narrowest dtype that holds its values.

use super::Casting;
use super::halves::{Brain, Half};
use super::strided::{Visit, blocks, can_convert, diagnose};
use crate::{DType, Error, Kind, Result, Scalar, View};

/// A number with an order, or NaN.
trait Ordered: Copy + PartialOrd {
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

/// The least and greatest element, both NaN if one is, like `numpy.min`.
fn extremes<S: Copy, T: Ordered>(
    src: &View<'_>,
    widen: impl Fn(S) -> T + Copy,
) -> Result<Option<(Scalar, Scalar)>> {
    let mut range: Option<(T, T)> = None;
    blocks(src, Visit::Memory, 1, |packed, n| {
        // SAFETY: `blocks` passes `n` initialised elements, for which any bytes are valid.
        let (low, high, nan) = unsafe { block_extremes(packed.cast(), n, widen) };
        let (low, high) = nan.map_or((low, high), |nan| (nan, nan));
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

/// The least and greatest of the numbers, and the first NaN.
///
/// # Safety
/// `n` elements at `packed` are readable and initialised, and `n` is not 0. They may be unaligned.
unsafe fn block_extremes<S: Copy, T: Ordered>(
    packed: *const S,
    n: usize,
    widen: impl Fn(S) -> T + Copy,
) -> (T, T, Option<T>) {
    // SAFETY: the caller's promise that there is a first element.
    let first = widen(unsafe { packed.read_unaligned() });
    let (mut low, mut high, mut nan) = (first, first, first.is_nan());
    for i in 1..n {
        // SAFETY: element `i < n`.
        let value = widen(unsafe { packed.wrapping_add(i).read_unaligned() });
        low = if value < low { value } else { low };
        high = if value > high { value } else { high };
        nan |= value.is_nan();
    }
    if !nan {
        return (low, high, None);
    }
    // SAFETY: element `i < n`.
    let found = (0..n)
        .map(|i| widen(unsafe { packed.wrapping_add(i).read_unaligned() }))
        .find(|value| value.is_nan());
    (low, high, found)
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
        DType::Int8 => extremes(src, |x: i8| x),
        DType::Int16 => extremes(src, |x: i16| x),
        DType::Int32 => extremes(src, |x: i32| x),
        DType::Int64 => extremes(src, |x: i64| x),
        DType::UInt8 => extremes(src, |x: u8| x),
        DType::UInt16 => extremes(src, |x: u16| x),
        DType::UInt32 => extremes(src, |x: u32| x),
        DType::UInt64 => extremes(src, |x: u64| x),
        DType::Float16 => extremes(src, Half::widen),
        DType::BFloat16 => extremes(src, Brain::widen),
        DType::Float32 => extremes(src, |x: f32| x),
        DType::Float64 => extremes(src, |x: f64| x),
        DType::Complex64 | DType::Complex128 => Err(no_order(src.dtype())),
    }
}

fn no_order(from: DType) -> Error {
    Error::CastNotDefined { from, to: from.part(), casting: Casting::Checked }
}

fn bool_range(src: &View<'_>) -> Result<Option<(Scalar, Scalar)>> {
    let range = extremes(src, |x: u8| u8::from(x != 0))?;
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
