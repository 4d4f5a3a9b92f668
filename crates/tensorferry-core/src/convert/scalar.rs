//! Conversion of one value at a time: the oracle for tests of kernels, and the values in errors.
//!
//! # Rationale
//! The code is exact integer arithmetic and single rounding, step by step, so that it can be
//! compared with the table in [`Casting`]. It is slow, and runs only in tests and after a kernel
//! found a value that does not fit.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "each cast is preceded by the range check that makes it exact"
)]

use super::Casting;
use crate::{ByteOrder, DType, Kind, Scalar};
use half::{bf16, f16};

/// A value of any dtype. `f64` holds the values of all float dtypes exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    Bool(bool),
    Int(i128),
    Float(f64),
    Complex(f64, f64),
}

/// The bytes of one element in native order. Only the first `dtype.size()` are used.
pub type Bytes = [u8; 16];

fn first<const N: usize>(bytes: &Bytes) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

fn packed(parts: [&[u8]; 2]) -> Bytes {
    let mut out = [0; 16];
    let (head, tail) = out.split_at_mut(parts[0].len());
    head.copy_from_slice(parts[0]);
    tail[..parts[1].len()].copy_from_slice(parts[1]);
    out
}

/// The value of an element's bytes. A `bool` is true unless its byte is 0.
///
/// # Panics
/// If `element` has fewer than `dtype.size()` bytes.
#[must_use]
pub fn read(dtype: DType, order: ByteOrder, element: &[u8]) -> Value {
    let mut bytes = [0; 16];
    let size = dtype.size();
    bytes[..size].copy_from_slice(&element[..size]);
    if order == ByteOrder::Swapped {
        let part = if dtype.kind() == Kind::Complex { size / 2 } else { size };
        bytes[..size].chunks_mut(part).for_each(<[u8]>::reverse);
    }
    let bytes = &bytes;
    match dtype {
        DType::Bool => Value::Bool(bytes[0] != 0),
        DType::Int8 => Value::Int(i8::from_ne_bytes(first(bytes)).into()),
        DType::Int16 => Value::Int(i16::from_ne_bytes(first(bytes)).into()),
        DType::Int32 => Value::Int(i32::from_ne_bytes(first(bytes)).into()),
        DType::Int64 => Value::Int(i64::from_ne_bytes(first(bytes)).into()),
        DType::UInt8 => Value::Int(bytes[0].into()),
        DType::UInt16 => Value::Int(u16::from_ne_bytes(first(bytes)).into()),
        DType::UInt32 => Value::Int(u32::from_ne_bytes(first(bytes)).into()),
        DType::UInt64 => Value::Int(u64::from_ne_bytes(first(bytes)).into()),
        DType::Float16 => Value::Float(f16::from_ne_bytes(first(bytes)).to_f64()),
        DType::BFloat16 => Value::Float(bf16::from_ne_bytes(first(bytes)).to_f64()),
        DType::Float32 => Value::Float(f32::from_ne_bytes(first(bytes)).into()),
        DType::Float64 => Value::Float(f64::from_ne_bytes(first(bytes))),
        DType::Complex64 => {
            let [a, b, c, d, e, f, g, h] = first(bytes);
            Value::Complex(
                f32::from_ne_bytes([a, b, c, d]).into(),
                f32::from_ne_bytes([e, f, g, h]).into(),
            )
        }
        DType::Complex128 => {
            let (mut re, mut im) = ([0; 8], [0; 8]);
            re.copy_from_slice(&bytes[..8]);
            im.copy_from_slice(&bytes[8..]);
            Value::Complex(f64::from_ne_bytes(re), f64::from_ne_bytes(im))
        }
    }
}

impl Value {
    /// The value as errors and summaries show it for elements of `dtype`.
    #[must_use]
    pub fn to_scalar(self, dtype: DType) -> Scalar {
        match self {
            Self::Bool(value) => Scalar::Bool(value),
            Self::Int(value) => Scalar::Int(value),
            Self::Float(value) if dtype == DType::Float64 => Scalar::Float64(value),
            // Exact, because the dtype is no wider than `f32`.
            Self::Float(value) => Scalar::Float32(value as f32),
            Self::Complex(re, im) => Scalar::Complex(re, im),
        }
    }
}

/// The bytes of `value` in `to`, or `None` if it does not fit or the conversion is not defined
/// ([`Casting::is_defined`]).
#[must_use]
pub fn convert_scalar(value: Value, to: DType, casting: Casting) -> Option<Bytes> {
    match (value, to.kind()) {
        (Value::Complex(re, im), Kind::Complex) => {
            let part = to.part();
            Some(join(part, float_to_float(re, part, casting)?, float_to_float(im, part, casting)?))
        }
        (Value::Complex(..), _) => None,
        (Value::Bool(value), _) => convert_scalar(Value::Int(value.into()), to, casting),
        (_, Kind::Complex) => {
            let part = to.part();
            Some(join(part, convert_scalar(value, part, casting)?, [0; 16]))
        }
        (Value::Int(value), Kind::Bool) => to_bool(value != 0, value == 0 || value == 1, casting),
        (Value::Float(value), Kind::Bool) => {
            to_bool(value != 0.0, value == 0.0 || value == 1.0, casting)
        }
        (Value::Int(value), Kind::Signed | Kind::Unsigned) => int_to_int(value, to, casting),
        (Value::Float(value), Kind::Signed | Kind::Unsigned) => float_to_int(value, to, casting),
        (Value::Int(value), Kind::Float) => int_to_float(value, to, casting),
        (Value::Float(value), Kind::Float) => float_to_float(value, to, casting),
    }
}

fn join(part: DType, re: Bytes, im: Bytes) -> Bytes {
    packed([&re[..part.size()], &im[..part.size()]])
}

fn to_bool(truth: bool, fits: bool, casting: Casting) -> Option<Bytes> {
    (fits || casting != Casting::Checked).then(|| packed([&[u8::from(truth)], &[]]))
}

/// The low bytes of a value: its two's complement in an integer dtype.
fn int_bytes(value: i128, to: DType) -> Bytes {
    let bits = value as u128;
    match to.size() {
        1 => packed([&(bits as u8).to_ne_bytes(), &[]]),
        2 => packed([&(bits as u16).to_ne_bytes(), &[]]),
        4 => packed([&(bits as u32).to_ne_bytes(), &[]]),
        _ => packed([&(bits as u64).to_ne_bytes(), &[]]),
    }
}

fn int_to_int(value: i128, to: DType, casting: Casting) -> Option<Bytes> {
    let (low, high) = to.integer_range()?;
    match casting {
        Casting::Checked => (low..=high).contains(&value).then(|| int_bytes(value, to)),
        Casting::Saturate => Some(int_bytes(value.clamp(low, high), to)),
        Casting::Wrap => Some(int_bytes(value, to)),
    }
}

fn float_to_int(value: f64, to: DType, casting: Casting) -> Option<Bytes> {
    let truncated = value as i128; // saturates outside every dtype's range; NaN becomes 0
    match casting {
        Casting::Checked if !value.is_finite() || truncated as f64 != value => None,
        Casting::Checked | Casting::Saturate => int_to_int(truncated, to, casting),
        Casting::Wrap => None,
    }
}

/// The significant bits, the least exponent of a normal number, and the greatest exponent.
fn format(to: DType) -> (u32, i32, i32) {
    match to {
        DType::Float16 => (11, -14, 15),
        DType::BFloat16 => (8, -126, 127),
        DType::Float32 => (24, -126, 127),
        _ => (53, -1022, 1023),
    }
}

/// 2 to the power of `exponent`, which is that of a normal or subnormal `f64`.
fn power_of_two(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074))
    }
}

/// The bytes of an infinity, a NaN or a value that `to` holds exactly.
fn float_bytes(value: f64, to: DType) -> Bytes {
    match to {
        DType::Float16 => packed([&f16::from_f64(value).to_ne_bytes(), &[]]),
        DType::BFloat16 => packed([&bf16::from_f64(value).to_ne_bytes(), &[]]),
        DType::Float32 => packed([&(value as f32).to_ne_bytes(), &[]]),
        _ => packed([&value.to_ne_bytes(), &[]]),
    }
}

fn int_to_float(value: i128, to: DType, casting: Casting) -> Option<Bytes> {
    let (precision, _, greatest) = format(to);
    let magnitude = value.unsigned_abs();
    let width = u128::BITS - magnitude.leading_zeros();
    let shift = width.saturating_sub(precision);
    let (kept, lost) = (magnitude >> shift, magnitude & ((1 << shift) - 1));
    let half = if shift == 0 { 1 } else { 1_u128 << (shift - 1) };
    let up = lost > half || (lost == half && kept % 2 == 1);
    let rounded = (kept + u128::from(up)) << shift;
    if casting == Casting::Checked && rounded != magnitude {
        return None;
    }
    let infinite = rounded >= 1_u128.checked_shl(greatest as u32 + 1).unwrap_or(u128::MAX);
    if infinite && casting == Casting::Checked {
        return None;
    }
    // Exact, because there are at most 53 significant bits.
    let rounded = if infinite { f64::INFINITY } else { rounded as f64 };
    Some(float_bytes(if value < 0 { -rounded } else { rounded }, to))
}

fn float_to_float(value: f64, to: DType, casting: Casting) -> Option<Bytes> {
    if to == DType::Float64 || !value.is_finite() || value == 0.0 {
        return Some(float_bytes(value, to));
    }
    let (precision, least, greatest) = format(to);
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
    // The distance of two neighbours at this exponent. Division by it is exact: it is a power of
    // two, at least 2^-149.
    let quantum = power_of_two(exponent - precision as i32 + 1);
    // Adding and subtracting 2^52, where neighbours are 1 apart, rounds to an integer, ties to
    // even.
    let steps = (value.abs() / quantum + power_of_two(52)) - power_of_two(52);
    let rounded = steps * quantum;
    let infinite = rounded >= power_of_two(greatest) * 2.0;
    if infinite && casting == Casting::Checked {
        return None;
    }
    let rounded = if infinite { f64::INFINITY } else { rounded };
    Some(float_bytes(rounded.copysign(value), to))
}
