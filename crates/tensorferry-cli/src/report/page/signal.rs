//! A drawing of the values of a one-dimensional array, in order.

use super::html::escaped;
use crate::outcome::Outcome;
use crate::report::Inspected;
use crate::words::{float, grouped, rounded};
use std::fmt::Write;
use tensorferry::convert::scalar;
use tensorferry::{Array, Kind};

/// The greatest number of values drawn.
const MOST: usize = 480;

/// Larger arrays, in bytes, are sampled.
const LONGEST: usize = 16 << 20;

/// A line through the values of a one-dimensional array of floats, which may be a signal.
pub(super) fn drawn(array: &Array, inspected: &Inspected, title: &str) -> Outcome<String> {
    let (dtype, len) = (inspected.dtype, array.len());
    let Some((low, high)) = inspected.summary.range.map(|(low, high)| (float(low), float(high)))
    else {
        return Ok(String::new());
    };
    if inspected.shape.len() != 1 || dtype.kind() != Kind::Float || len < 3 || low >= high {
        return Ok(String::new());
    }
    let every = len.div_ceil(MOST);
    // All values of a small array are read: samples could show a wave that is an alias.
    let whole = array.nbytes() <= LONGEST;
    let rows: Vec<usize> = (0..len).step_by(every).collect();
    let (tensor, together) = if whole { (array.read()?, every) } else { (array.rows(&rows)?, 1) };
    let (view, order) = (tensor.as_view(), tensor.byte_order());
    let value = |one: &[u8]| float(scalar::read(dtype, order, one).to_scalar(dtype));
    // Halved first: the difference stays finite.
    let high_up = |value: f64| 100.0 * (1.0 - (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0));
    let (mut path, mut pen) = (String::new(), 'M');
    for (at, part) in
        view.as_bytes().unwrap_or_default().chunks(together * dtype.size()).enumerate()
    {
        let values = || part.chunks_exact(dtype.size()).map(value);
        let finite = values().filter(|value| value.is_finite());
        let (least, most) = finite
            .fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        if least <= most {
            let _written = write!(path, "{pen}{at} {:.2}", high_up(least));
            pen = 'L';
        }
        if least < most {
            let _written = write!(path, "L{at} {:.2}", high_up(most));
        }
        // A gap for values that are not finite.
        pen = if values().all(f64::is_finite) { pen } else { 'M' };
    }
    let which = match (every, whole) {
        (1, _) => String::new(),
        (every, true) => format!(", the least and greatest of each {}", grouped(every as u64)),
        (every, false) => format!(", one of each {}", grouped(every as u64)),
    };
    let tick = |bottom: u8, value: f64| {
        format!(
            "<div class=\"line\" style=\"bottom:{bottom}%\"><span>{}</span></div>\n",
            rounded(value, 4)
        )
    };
    Ok(format!(
        "<h3>Values in order{which}</h3>\n<div class=\"chart\">\n<div class=\"plot\">\n{}{}<svg \
        viewBox=\"0 0 {} 100\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Values of {} in order\"><path \
         d=\"{path}\"/></svg>\n</div>\n\
         <div class=\"along\"><span style=\"left:0%\">0</span><span \
         style=\"left:100%\">{}</span></div>\n</div>\n",
        tick(0, low),
        tick(100, high),
        rows.len().saturating_sub(1).max(1),
        escaped(title),
        grouped((len - 1) as u64),
    ))
}
