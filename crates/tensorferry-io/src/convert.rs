//! Conversion on all cores.
//!
//! The functions return the results of the functions with the same names in [`tensorferry_core`],
//! and split large arrays over threads.
//!
//! # Rationale
//! Threads start with a conversion and end with it. A pool would save some ten microseconds of a
//! conversion that takes hundreds, and would not survive a fork. If a thread cannot be started, the
//! calling thread does its work.
//!
//! # Limitations
//! The calling thread alone finds the values of an error.

use crate::memory::pool;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use tensorferry_core::Result;
use tensorferry_core::{ByteOrder, Casting, DType, Layout, Scalar, Tensor, View, ViewMut};

pub use tensorferry_core::convert::{Conversion, diagnose, narrowest, scalar};

/// Minimum number of bytes, read and written, to start threads: some hundreds of microseconds of
/// work for one thread.
const PARALLEL_BYTES: usize = 16 << 20;

/// Bytes per piece of work: small enough that threads end together, and large enough that taking a
/// piece costs nothing.
const PIECE_BYTES: usize = 2 << 20;

/// Number of pieces for `nbytes`, and of the threads that process them.
fn pieces(nbytes: usize) -> (usize, usize) {
    if nbytes < PARALLEL_BYTES {
        return (1, 1);
    }
    let pieces = nbytes.div_ceil(PIECE_BYTES);
    (pieces, thread::available_parallelism().map_or(1, NonZero::get).min(pieces))
}

/// Whether `work` returns true for all pieces. Stops at the first false.
fn all<P: Send>(pieces: Vec<P>, threads: usize, work: impl Fn(P) -> bool + Sync) -> bool {
    let (queue, good) = (Mutex::new(pieces), AtomicBool::new(true));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let take = || {
        while let Some(piece) = next() {
            if !good.load(Ordering::Relaxed) || !work(piece) {
                good.store(false, Ordering::Relaxed);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let named = thread::Builder::new().name("tensorferry-convert".into());
            if named.spawn_scoped(scope, take).is_err() {
                break; // the threads that run, at least this one, empty the queue
            }
        }
        take();
    });
    good.into_inner()
}

/// As [`tensorferry_core::convert_into`], on all cores if `src` is large.
///
/// A conversion of less than 16 MiB, read and written, starts no thread. It allocates nothing
/// unless it fails or there are more than six dimensions.
///
/// ```
/// # use tensorferry_core::{Casting, View, ViewMut};
/// # use tensorferry_io::convert_into;
/// let mut out = [0_u8; 3];
/// let source = View::from_slice(&[1_i64, 2, 3], &[3])?;
/// convert_into(&source, &mut ViewMut::from_slice(&mut out, &[3])?, Casting::Checked)?;
/// assert_eq!(out, [1, 2, 3]);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// Those of [`tensorferry_core::convert_into`].
pub fn convert_into(src: &View<'_>, out: &mut ViewMut<'_>, casting: Casting) -> Result<()> {
    let to = out.dtype();
    if src.layout().nbytes() + out.layout().nbytes() < PARALLEL_BYTES {
        return tensorferry_core::convert_into(src, out, casting);
    }
    let conversion = Conversion::new(src, out, casting)?;
    let (pieces, threads) = pieces(conversion.nbytes());
    let fits = if threads == 1 {
        conversion.run()
    } else {
        all(cut(conversion, pieces), threads, Conversion::run)
    };
    if fits { Ok(()) } else { Err(diagnose(src, to, casting)) }
}

/// About `pieces` parts of equal size, last first.
fn cut(conversion: Conversion<'_>, pieces: usize) -> Vec<Conversion<'_>> {
    let splits = conversion.splits();
    let pieces = pieces.min(splits).max(1);
    let mut parts = Vec::with_capacity(pieces);
    let mut rest = conversion;
    for left in (2..=pieces).rev() {
        // Whole cache lines of the destination, if positions are single elements.
        let at = rest.splits() / left;
        let at = if at >= 1024 { at & !63 } else { at };
        let (head, tail) = rest.split_at(at);
        parts.push(head);
        rest = tail;
    }
    parts.push(rest);
    parts.reverse();
    parts
}

/// As [`tensorferry_core::convert()`], into recycled memory aligned to 64 bytes, on all cores if
/// the array is large. The result is row-major and in native byte order.
///
/// ```
/// # use tensorferry_core::{Casting, DType, View};
/// # use tensorferry_io::convert;
/// let tensor = convert(&View::from_slice(&[1_i64, 2, 3], &[3])?, DType::Int32, Casting::Checked)?;
/// assert_eq!(tensor.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// Those of [`convert_into`]; [`tensorferry_core::Error::Allocation`].
pub fn convert(src: &View<'_>, to: DType, casting: Casting) -> Result<Tensor> {
    let layout = Layout::contiguous(src.layout().shape(), to.size())?;
    let mut buffer = pool::take(layout.nbytes())?;
    // SAFETY: the buffer has the bytes of the layout, which is packed, and is accessed only through
    // `out` while `out` lives.
    let mut out =
        unsafe { ViewMut::from_raw(to, ByteOrder::Native, layout.clone(), buffer.as_mut_ptr()) };
    convert_into(src, &mut out, casting)?;
    Tensor::new(to, ByteOrder::Native, layout, buffer.freeze(), 0)
}

/// Parts of a view of about [`PIECE_BYTES`] each, and the number of threads for them. `None` if the
/// view is small.
fn parts<'a>(src: &View<'a>) -> Option<(Vec<View<'a>>, usize)> {
    let (pieces, threads) = pieces(src.layout().nbytes());
    let dims = src.layout().shape().iter().zip(src.layout().strides()).enumerate();
    // Split along the dimension of the widest stride, or along the longest if that is short.
    let (axis, len) = dims
        .max_by_key(|&(_, (&dim, stride))| (dim.min(pieces), stride.unsigned_abs()))
        .map(|(axis, (&dim, _))| (axis, dim))?;
    let pieces = pieces.min(len);
    if threads == 1 || pieces <= 1 {
        return None;
    }
    let (mut parts, mut rest) = (Vec::with_capacity(pieces), src.clone());
    for left in (2..=pieces).rev() {
        let (head, tail) = rest.split_at(axis, rest.layout().shape()[axis] / left).ok()?;
        parts.push(head);
        rest = tail;
    }
    parts.push(rest);
    Some((parts, threads))
}

/// Whether [`convert_into`] memory of dtype `to` would succeed, as
/// [`tensorferry_core::can_convert`]. Stops at the first value that does not fit. Uses all cores if
/// the array is large.
#[must_use]
pub fn can_convert(src: &View<'_>, to: DType, casting: Casting) -> bool {
    let looks =
        casting == Casting::Checked && src.dtype() != to && casting.is_defined(src.dtype(), to);
    match if looks { parts(src) } else { None } {
        Some((parts, threads)) => {
            all(parts, threads, |part| tensorferry_core::can_convert(&part, to, casting))
        }
        None => tensorferry_core::can_convert(src, to, casting),
    }
}

/// The least and greatest value, as [`tensorferry_core::value_range`]. Uses all cores if the array
/// is large.
///
/// # Errors
/// [`tensorferry_core::Error::CastNotDefined`] for complex numbers, which have no order.
pub fn value_range(src: &View<'_>) -> Result<Option<(Scalar, Scalar)>> {
    let Some((parts, threads)) = parts(src) else { return tensorferry_core::value_range(src) };
    let whole: Mutex<Result<Option<(Scalar, Scalar)>>> = Mutex::new(Ok(None));
    all(parts, threads, |part| {
        let range = tensorferry_core::value_range(&part);
        let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
        match (range, whole.as_mut()) {
            (_, Err(_)) | (Ok(None), _) => {}
            (Err(error), Ok(_)) => *whole = Err(error),
            (Ok(Some((low, high))), Ok(known)) => {
                let merged = known.map_or((low, high), |(least, most)| {
                    (outer(least, low, true), outer(most, high, false))
                });
                *known = Some(merged);
            }
        }
        whole.is_ok()
    });
    whole.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The lesser or the greater of two values of one dtype, or NaN if either is.
fn outer(left: Scalar, right: Scalar, lesser: bool) -> Scalar {
    let first = match (left, right) {
        (Scalar::Bool(a), Scalar::Bool(_)) => a != lesser,
        (Scalar::Int(a), Scalar::Int(b)) => (a < b) == lesser,
        (Scalar::Float32(a), Scalar::Float32(b)) => {
            a.is_nan() || (!b.is_nan() && (a < b) == lesser)
        }
        (Scalar::Float64(a), Scalar::Float64(b)) => {
            a.is_nan() || (!b.is_nan() && (a < b) == lesser)
        }
        _ => true, // a dtype has one kind of Scalar, and complex numbers were refused
    };
    if first { left } else { right }
}

/// The narrowest integer dtype that holds the values, as [`tensorferry_core::smallest_dtype`]. Uses
/// all cores if the array is large.
///
/// # Errors
/// Those of [`tensorferry_core::smallest_dtype`].
pub fn smallest_dtype(src: &View<'_>) -> Result<DType> {
    narrowest(src, value_range(src)?, can_convert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorferry_core::Error;
    use tensorferry_core::Index;

    const N: usize = 1 << 21;

    fn numbers() -> Vec<i64> {
        (0_i64..1 << 21).map(|i| i * 7919 % 100_003 - 50_000).collect()
    }

    #[test]
    fn large_conversions_are_whole_on_any_number_of_threads() {
        let source = numbers();
        for shape in [&[N][..], &[4, N / 4], &[N / 4, 4], &[3, 5, N / 16]] {
            let source = &source[..shape.iter().product()];
            let view = View::from_slice(source, shape).unwrap();
            let tensor = convert(&view, DType::Int32, Casting::Checked).unwrap();
            assert!(tensor.as_ptr().addr().is_multiple_of(64));
            assert!(
                tensor
                    .view::<i32>()
                    .unwrap()
                    .iter()
                    .zip(source)
                    .all(|(out, &value)| i64::from(out) == value),
                "{shape:?}"
            );
            assert_eq!(
                value_range(&view).unwrap(),
                tensorferry_core::value_range(&view).unwrap(),
                "{shape:?}"
            );
            assert_eq!(smallest_dtype(&view).unwrap(), DType::Int32);
        }
    }

    #[test]
    fn large_strided_conversions_are_whole() {
        let source = numbers();
        let layout = Layout::fortran(&[1024, 1024], 8).unwrap();
        let (layout, by) =
            layout.index(&[Index::Slice { start: 1023, step: -1, len: 1024 }]).unwrap();
        let start = source.as_ptr().cast::<u8>().wrapping_offset(by);
        // SAFETY: a slice of a layout of as many elements as the vector has.
        let view = unsafe { View::from_raw(DType::Int64, ByteOrder::Native, layout, start) };
        let tensor = convert(&view, DType::Float64, Casting::Checked).unwrap();
        let values = tensor.view::<f64>().unwrap();
        for i in 0..1024 {
            assert!(
                (0..1024).all(|j| values.get(&[i, j]) == Some(source[j * 1024 + 1023 - i] as f64))
            );
        }
    }

    #[test]
    fn one_misfit_in_a_large_array_is_found_wherever_it_is() {
        for at in [0, 1, N / 2 - 1, N - 1] {
            let mut source = numbers();
            source[at] = 1 << 40;
            let view = View::from_slice(&source, &[N / 8, 8]).unwrap();
            assert!(!can_convert(&view, DType::Int32, Casting::Checked));
            assert!(can_convert(&view, DType::Int32, Casting::Wrap));
            assert_eq!(smallest_dtype(&view).unwrap(), DType::Int64);
            match convert(&view, DType::Int32, Casting::Checked) {
                Err(Error::ValuesDoNotFit(misfits)) => {
                    assert_eq!(
                        (misfits.count, misfits.index.as_slice()),
                        (1, &[at / 8, at % 8][..])
                    );
                    assert_eq!(misfits.value, Scalar::Int(1 << 40));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_nan_anywhere_is_the_range_of_a_large_array() {
        for at in [0, N / 3, N - 1] {
            let mut source: Vec<f64> = numbers().into_iter().map(|value| value as f64).collect();
            source[at] = f64::NAN;
            let Some((Scalar::Float64(low), Scalar::Float64(high))) =
                value_range(&View::from_slice(&source, &[N]).unwrap()).unwrap()
            else {
                panic!("no range of floats");
            };
            assert!(low.is_nan() && high.is_nan());
        }
    }
}
