//! A Python or NumPy number, held exactly: an integer of any size, a float or a complex number.

use pyo3::prelude::*;
use pyo3::types::PyInt;
use std::cmp::Ordering;
use std::sync::Arc;
use tensorferry::convert::scalar::{self, Bytes, Value};
use tensorferry::{Casting, DType, Kind};

/// The number of leading bits kept of a large integer: over twice those of any float.
const LEADING: u64 = 110;

/// An integer of more than 127 bits, with as many bits as any conversion needs.
#[derive(Debug)]
pub(crate) struct Big {
    negative: bool,
    /// The leading bits of the magnitude. The last one is set if any dropped bit is, for correct
    /// rounding.
    leading: i128,
    /// The number of dropped bits.
    shift: i32,
    /// The low bits of the two's complement.
    low: u64,
    /// The digits, for errors.
    text: String,
}

/// A number.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    Value(Value),
    Big(Arc<Big>),
}

impl Number {
    /// A Python int.
    pub(crate) fn int(value: &Bound<'_, PyInt>) -> PyResult<Self> {
        if let Ok(number) = value.extract::<i64>() {
            return Ok(Self::Value(Value::Int(number.into())));
        }
        let bits: u64 = value.call_method0("bit_length")?.extract()?;
        if bits < 128 {
            return Ok(Self::Value(Value::Int(value.extract()?)));
        }
        let shift = bits - LEADING;
        let magnitude = value.call_method0("__abs__")?;
        let kept = magnitude.call_method1("__rshift__", (shift,))?;
        let exact = kept.call_method1("__lshift__", (shift,))?.eq(&magnitude)?;
        let leading: i128 = kept.extract()?;
        Ok(Self::Big(Arc::new(Big {
            negative: value.lt(0)?,
            leading: leading | i128::from(!exact),
            shift: i32::try_from(shift).unwrap_or(i32::MAX),
            low: value.call_method1("__and__", (u64::MAX,))?.extract()?,
            // Python refuses to convert integers of thousands of digits to text.
            text: if bits <= 1024 {
                value.str()?.to_string()
            } else {
                format!("an integer of {bits} bits")
            },
        })))
    }

    /// The bytes in a dtype; `None` if the number does not fit, or the conversion is not defined.
    pub(crate) fn convert(&self, to: DType, casting: Casting) -> Option<Bytes> {
        match self {
            Self::Value(value) => scalar::convert_scalar(*value, to, casting),
            Self::Big(big) => big.convert(to, casting),
        }
    }

    /// The dtype that errors name for the number.
    pub(crate) fn told_as(&self) -> DType {
        match self {
            Self::Value(Value::Bool(_)) => DType::Bool,
            Self::Value(Value::Int(value))
                if *value > i64::MAX.into() && *value <= u64::MAX.into() =>
            {
                DType::UInt64
            }
            Self::Value(Value::Int(_)) | Self::Big(_) => DType::Int64,
            Self::Value(Value::Float(_)) => DType::Float64,
            Self::Value(Value::Complex(..)) => DType::Complex128,
        }
    }

    /// Whether the conversion to a dtype is defined.
    pub(crate) fn is_defined(&self, to: DType, casting: Casting) -> bool {
        casting.is_defined(self.told_as(), to)
    }

    /// The value; for a larger integer, the least or greatest of 128 bits.
    pub(crate) fn told(&self) -> Value {
        match self {
            Self::Value(value) => *value,
            Self::Big(big) => Value::Int(if big.negative { i128::MIN } else { i128::MAX }),
        }
    }
}

impl Big {
    /// Its digits.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn convert(&self, to: DType, casting: Casting) -> Option<Bytes> {
        match to.kind() {
            Kind::Bool => (casting != Casting::Checked).then(|| bytes(Value::Bool(true), to)),
            Kind::Signed | Kind::Unsigned => match casting {
                Casting::Checked => None,
                Casting::Saturate => {
                    let (low, high) = to.integer_range()?;
                    Some(bytes(Value::Int(if self.negative { low } else { high }), to))
                }
                Casting::Wrap => scalar::convert_scalar(Value::Int(self.low.into()), to, casting),
            },
            Kind::Float => self.to_float(to, casting).map(|value| bytes(Value::Float(value), to)),
            Kind::Complex => {
                let part = if to == DType::Complex64 { DType::Float32 } else { DType::Float64 };
                self.to_float(part, casting).map(|value| bytes(Value::Complex(value, 0.0), to))
            }
            _ => None,
        }
    }

    /// The nearest value of a float dtype: rounded to its width, then scaled by a power of two.
    fn to_float(&self, to: DType, casting: Casting) -> Option<f64> {
        let wide = if matches!(to, DType::Float16) { DType::Float32 } else { to };
        let rounded = scalar::convert_scalar(Value::Int(self.leading), wide, casting)?;
        let scalar::Value::Float(rounded) =
            scalar::read(wide, tensorferry::ByteOrder::Native, &rounded[..wide.size()])
        else {
            return None;
        };
        let value = rounded * 2_f64.powi(self.shift.min(2000));
        let greatest = match to {
            DType::Float16 => 65504.0,
            DType::BFloat16 => f64::from(half_max()),
            DType::Float32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let value = if value > greatest { f64::INFINITY } else { value };
        if value.is_infinite() && casting == Casting::Checked {
            return None;
        }
        Some(if self.negative { -value } else { value })
    }
}

/// The greatest bfloat16.
fn half_max() -> f32 {
    f32::from_bits(0x7f7f_0000)
}

/// The bytes of a value in a dtype that holds it.
fn bytes(value: Value, to: DType) -> Bytes {
    scalar::convert_scalar(value, to, Casting::Saturate).unwrap_or_default()
}

/// The exact order of two real numbers; `None` if one is NaN.
pub(crate) fn compare(a: Value, b: Value) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => compare_with_float(a, float(b)?),
        (None, Some(b)) => compare_with_float(b, float(a)?).map(Ordering::reverse),
        (None, None) => float(a)?.partial_cmp(&float(b)?),
    }
}

fn whole(value: Value) -> Option<i128> {
    match value {
        Value::Bool(value) => Some(value.into()),
        Value::Int(value) => Some(value),
        Value::Float(_) | Value::Complex(..) => None,
    }
}

fn float(value: Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(value),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturating keeps the order")]
fn compare_with_float(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    let truncated = b.trunc();
    // The cast saturates beyond 2^127, where no integer here is.
    Some(
        a.cmp(&(truncated as i128))
            .then_with(|| 0.0_f64.partial_cmp(&(b - truncated)).unwrap_or(Ordering::Equal)),
    )
}
