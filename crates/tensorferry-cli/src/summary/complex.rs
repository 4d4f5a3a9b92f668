//! The summary of complex numbers, ordered by absolute value.

use super::floats::{Compensated, Floats, is_float32};
use num_complex::Complex;

/// The summary of the complex numbers seen so far.
#[derive(Clone, Debug)]
pub(super) struct Complexes {
    /// Of the absolute values.
    pub(super) sizes: Floats,
    /// The sum of the finite values of each chunk, by its number.
    sums: Vec<(u64, Complex<f64>)>,
    /// Whether complex64 holds all values exactly.
    pub(super) single: bool,
}

impl Complexes {
    pub(super) fn new() -> Self {
        Self { sizes: Floats::new(), sums: Vec::new(), single: true }
    }

    /// Adds the values of a chunk of this number.
    pub(super) fn add(&mut self, chunk: u64, values: &[Complex<f64>]) {
        let (mut re, mut im) = (Compensated::default(), Compensated::default());
        for value in values.iter().filter(|value| value.re.is_finite() && value.im.is_finite()) {
            re.add(value.re);
            im.add(value.im);
        }
        self.sums.push((chunk, Complex::new(re.value(), im.value())));
        let sizes: Vec<f64> = values.iter().map(size).collect();
        self.sizes.add(chunk, &sizes);
        let single = |part: f64| part.is_nan() || is_float32(part);
        self.single =
            self.single && values.iter().all(|value| single(value.re) && single(value.im));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.sizes.merge(other.sizes);
        self.sums.extend(other.sums);
        self.single &= other.single;
    }

    /// The mean of the values with two finite parts.
    pub(super) fn mean(&self) -> Option<(f64, f64)> {
        let mut sums = self.sums.clone();
        sums.sort_unstable_by_key(|(chunk, _)| *chunk);
        let (mut re, mut im) = (Compensated::default(), Compensated::default());
        for (_, sum) in sums {
            re.add(sum.re);
            im.add(sum.im);
        }
        let count = self.sizes.finite as f64;
        (self.sizes.finite > 0).then(|| (re.value() / count, im.value() / count))
    }
}

/// The absolute value: NaN if a part is NaN, as in `numpy.isnan`; finite if both parts are.
fn size(value: &Complex<f64>) -> f64 {
    if value.re.is_nan() || value.im.is_nan() {
        return f64::NAN;
    }
    let size = value.re.hypot(value.im);
    if value.re.is_finite() && value.im.is_finite() { size.min(f64::MAX) } else { size }
}
