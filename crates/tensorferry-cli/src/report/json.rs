//! The output of `tensorferry inspect --json`.

use super::Inspected;
use crate::summary::Bars;
use serde_json::{Map, Number, Value, json};
use std::io::{self, Write};
use tensorferry::{ByteOrder, Scalar};

/// The version of the document: it changes if a name changes its meaning or is removed.
const VERSION: u32 = 1;

/// Writes all arrays as one document. `network` is what was asked of object stores, if files are
/// in one.
pub(crate) fn write(
    out: &mut dyn Write,
    arrays: Vec<Value>,
    network: Option<Value>,
) -> io::Result<()> {
    let document = json!({ "version": VERSION, "arrays": arrays, "network": network });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// An array. Values that are unknown, or that JSON cannot hold, are null.
pub(crate) fn of(array: &Inspected) -> Value {
    let summary = &array.summary;
    let (low, high) =
        summary.range.map_or((Value::Null, Value::Null), |(low, high)| (number(low), number(high)));
    json!({
        "file": array.path.to_string_lossy(),
        "files": array.files,
        "name": array.name,
        "format": array.format.name(),
        "dtype": array.dtype.name(),
        "shape": array.shape,
        "byte_order": byte_order(array),
        "order": array.stored.map(|stored| if stored.column_major { "F" } else { "C" }),
        "count": array.count(),
        "bytes": array.bytes_in(array.dtype),
        "values": {
            "min": low,
            "max": high,
            "mean": summary.mean.map_or(Value::Null, number),
            "nan": summary.nan,
            "positive_infinity": summary.positive_infinity,
            "negative_infinity": summary.negative_infinity,
        },
        "smallest_dtype": summary.smallest.map(tensorferry::DType::name),
        "smallest_bytes": summary.smallest.map(|dtype| array.bytes_in(dtype)),
        "histogram": histogram(&summary.histogram),
    })
}

/// `"little"` or `"big"`; null for one-byte elements, and if the array is not stored as such.
fn byte_order(array: &Inspected) -> Option<&'static str> {
    let order = array.stored.filter(|_| array.dtype.size() > 1)?.order;
    Some(if (order == ByteOrder::Native) == cfg!(target_endian = "little") {
        "little"
    } else {
        "big"
    })
}

fn histogram(bars: &Bars) -> Value {
    let mut object = Map::new();
    object.insert("edges".into(), bars.edges.iter().map(|edge| number(*edge)).collect());
    object.insert("counts".into(), bars.counts.iter().copied().map(Value::from).collect());
    object.into()
}

/// A number, exactly; a complex one as its two parts; null if it is not finite.
fn number(value: Scalar) -> Value {
    let float = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match value {
        Scalar::Bool(value) => value.into(),
        // An edge can be 2^64, which an f64 holds.
        Scalar::Int(value) => {
            Number::from_i128(value).map_or_else(|| float(value as f64), Value::Number)
        }
        Scalar::Float32(value) => float(value.into()),
        Scalar::Float64(value) => float(value),
        Scalar::Complex(re, im) => json!([float(re), float(im)]),
    }
}
