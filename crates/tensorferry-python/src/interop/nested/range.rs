//! The range of the numbers in a list, compared exactly.

use super::convert::value_of;
use super::number::{Number, compare};
use super::walk::{Part, Walk};
use std::cmp::Ordering;
use tensorferry::convert::scalar::Value;
use tensorferry::error::CoreError;
use tensorferry::{Casting, DType, Scalar, View, value_range};

/// The least and greatest value; `None` if there are none. Both are NaN if a value is.
///
/// # Errors
/// Complex numbers have no order. An integer of more than 128 bits counts as the least or greatest
/// of 128.
pub(crate) fn range(walk: &Walk<'_>) -> Result<Option<(Scalar, Scalar)>, CoreError> {
    let mut found: Option<(Value, Value)> = None;
    for part in &walk.parts {
        let of_part = match part {
            Part::Bools(run) => value_range(&View::from_slice(run, &[run.len()])?)?,
            Part::Ints(run) => value_range(&View::from_slice(run, &[run.len()])?)?,
            Part::Floats(run) => value_range(&View::from_slice(run, &[run.len()])?)?,
            Part::Array(source) => value_range(&source.view())?,
            Part::Numbers(run) => {
                for number in run {
                    let value = real(number)?;
                    found = Some(merged(found, (value, value)));
                }
                continue;
            }
        };
        if let Some((low, high)) = of_part {
            found = Some(merged(found, (value_of(low), value_of(high))));
        }
    }
    Ok(found.map(|(low, high)| (scalar(low), scalar(high))))
}

fn real(number: &Number) -> Result<Value, CoreError> {
    match number.told() {
        Value::Complex(..) => Err(CoreError::CastNotDefined {
            from: DType::Complex128,
            to: DType::Float64,
            casting: Casting::Checked,
        }),
        value => Ok(value),
    }
}

fn merged(found: Option<(Value, Value)>, (low, high): (Value, Value)) -> (Value, Value) {
    let Some((least, most)) = found else { return (low, high) };
    match (compare(low, least), compare(high, most)) {
        (Some(low_order), Some(high_order)) => (
            if low_order == Ordering::Less { low } else { least },
            if high_order == Ordering::Greater { high } else { most },
        ),
        // The list so far, or the part, has a NaN.
        _ => {
            let nan = [least, low]
                .into_iter()
                .find(|value| matches!(value, Value::Float(value) if value.is_nan()));
            let nan = nan.unwrap_or(Value::Float(f64::NAN));
            (nan, nan)
        }
    }
}

fn scalar(value: Value) -> Scalar {
    match value {
        Value::Bool(value) => Scalar::Bool(value),
        Value::Int(value) => Scalar::Int(value),
        Value::Float(value) => Scalar::Float64(value),
        Value::Complex(re, im) => Scalar::Complex(re, im),
    }
}

/// Whether a number is less than zero.
pub(crate) fn is_negative(value: Scalar) -> bool {
    compare(value_of(value), Value::Int(0)) == Some(Ordering::Less)
}

/// Whether an integer dtype holds both values.
pub(crate) fn holds(dtype: DType, low: Scalar, high: Scalar) -> bool {
    dtype.integer_range().is_some_and(|(least, most)| {
        compare(value_of(low), Value::Int(least)).is_some_and(Ordering::is_ge)
            && compare(value_of(high), Value::Int(most)).is_some_and(Ordering::is_le)
    })
}
