//! The summary of floats.

use super::histogram::Histogram;

/// A float dtype's elements.
pub(super) trait Float: Copy + PartialOrd {
    /// Whether the type holds values that `f32` does not.
    const WIDE: bool;
    fn wide(self) -> f64;
}

impl Float for f32 {
    const WIDE: bool = false;
    #[inline(always)]
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Float for f64 {
    const WIDE: bool = true;
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

/// The summary of the floats seen so far.
#[derive(Clone, Debug)]
pub(super) struct Floats {
    /// The least and greatest finite value.
    pub(super) range: Option<(f64, f64)>,
    /// The sum of the finite values of each chunk, by its number. They are added in the order of
    /// chunks, whichever thread saw them.
    sums: Vec<(u64, f64)>,
    /// The number of finite values.
    pub(super) finite: u64,
    pub(super) nan: u64,
    pub(super) positive_infinity: u64,
    pub(super) negative_infinity: u64,
    /// Which dtypes hold all values exactly.
    pub(super) exact: Exact,
    pub(super) histogram: Histogram,
}

/// Which dtypes hold all values exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    /// Integers.
    pub(super) whole: bool,
    pub(super) float16: bool,
    pub(super) float32: bool,
}

const BLOCK: usize = 2048;
/// Values added and compared at a time, so that the compiler vectorizes the loop.
const LANES: usize = 8;

impl Floats {
    pub(super) fn new() -> Self {
        Self {
            range: None,
            sums: Vec::new(),
            finite: 0,
            nan: 0,
            positive_infinity: 0,
            negative_infinity: 0,
            exact: Exact { whole: true, float16: true, float32: true },
            histogram: Histogram::new(),
        }
    }

    /// Adds the values of a chunk of this number.
    pub(super) fn add<F: Float>(&mut self, chunk: u64, values: &[F]) {
        let mut total = Compensated::default();
        for block in values.chunks(BLOCK) {
            let (low, high, sum) = extremes(block);
            if sum.is_finite() {
                total.add(sum);
                self.finite_block(F::WIDE, (low, high), block.iter().map(|value| value.wide()));
            } else {
                // A value is not finite, or the sum overflows.
                let finite: Vec<f64> = block
                    .iter()
                    .map(|value| value.wide())
                    .filter(|value| self.is_finite(*value))
                    .collect();
                let (low, high, _) = extremes(&finite);
                finite.iter().for_each(|value| total.add(*value));
                if !finite.is_empty() {
                    self.finite_block(F::WIDE, (low, high), finite.iter().copied());
                }
            }
        }
        self.sums.push((chunk, total.value()));
    }

    /// Whether a value is finite; counts it if not.
    fn is_finite(&mut self, value: f64) -> bool {
        if value.is_finite() {
            return true;
        }
        let which = if value.is_nan() {
            &mut self.nan
        } else if value > 0.0 {
            &mut self.positive_infinity
        } else {
            &mut self.negative_infinity
        };
        *which += 1;
        self.exact.whole = false;
        false
    }

    fn finite_block(
        &mut self,
        wide: bool,
        (low, high): (f64, f64),
        values: impl ExactSizeIterator<Item = f64> + Clone,
    ) {
        self.range = Some(self.range.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        self.finite += values.len() as u64;
        let exact = &mut self.exact;
        exact.whole = exact.whole && values.clone().all(is_whole);
        exact.float32 = exact.float32 && (!wide || values.clone().all(is_float32));
        exact.float16 = exact.float16 && values.clone().all(is_float16);
        self.histogram.add(low, high, values);
    }

    pub(super) fn merge(&mut self, other: Self) {
        if let Some((low, high)) = other.range {
            self.range = Some(self.range.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        }
        self.sums.extend(other.sums);
        self.finite += other.finite;
        self.nan += other.nan;
        self.positive_infinity += other.positive_infinity;
        self.negative_infinity += other.negative_infinity;
        self.exact.whole &= other.exact.whole;
        self.exact.float16 &= other.exact.float16;
        self.exact.float32 &= other.exact.float32;
        self.histogram.merge(other.histogram);
    }

    /// The mean of the finite values; not finite itself if their sum is not.
    pub(super) fn mean(&self) -> Option<f64> {
        let mut sums = self.sums.clone();
        sums.sort_unstable_by_key(|(chunk, _)| *chunk);
        let mut total = Compensated::default();
        sums.iter().for_each(|(_, sum)| total.add(*sum));
        (self.finite > 0).then(|| total.value() / self.finite as f64)
    }
}

/// The least value, the greatest and the sum. The sum is not finite if a value is not.
fn extremes<F: Float>(values: &[F]) -> (f64, f64, f64) {
    let mut low = [f64::INFINITY; LANES];
    let mut high = [f64::NEG_INFINITY; LANES];
    let mut sum = [0.0; LANES];
    let (lanes, rest) = values.as_chunks::<LANES>();
    for lane in lanes {
        for i in 0..LANES {
            let value = lane[i].wide();
            low[i] = if value < low[i] { value } else { low[i] };
            high[i] = if value > high[i] { value } else { high[i] };
            sum[i] += value;
        }
    }
    for value in rest {
        low[0] = low[0].min(value.wide());
        high[0] = high[0].max(value.wide());
        sum[0] += value.wide();
    }
    (
        low.into_iter().fold(f64::INFINITY, f64::min),
        high.into_iter().fold(f64::NEG_INFINITY, f64::max),
        sum.into_iter().sum(),
    )
}

/// A compensated sum (Neumaier).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    pub(super) fn value(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "floats beyond i64 have no fraction")]
fn is_whole(value: f64) -> bool {
    (value as i64) as f64 == value || value.abs() >= 9_007_199_254_740_992.0
}

#[allow(clippy::cast_possible_truncation, reason = "the question is whether the value changes")]
pub(super) fn is_float32(value: f64) -> bool {
    f64::from(value as f32) == value
}

/// Eleven significant bits, from 2^-24 to 65504.
fn is_float16(value: f64) -> bool {
    let size = value.abs();
    if size < 2.0_f64.powi(-14) {
        let steps = size * 2.0_f64.powi(24);
        return steps == steps.trunc();
    }
    size <= 65504.0 && value.to_bits().trailing_zeros() >= 42
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "float32 holds every float16")]
    fn every_float16_is_recognized_and_no_other_value() {
        // Every finite float16, and its float32 neighbours.
        let finite = (0..0x7c00_u16).map(|bits| {
            let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 0x3ff));
            if exponent == 0 {
                fraction * 2.0_f64.powi(-24)
            } else {
                (1024.0 + fraction) * 2.0_f64.powi(exponent - 25)
            }
        });
        for value in finite {
            assert!(is_float16(value) && is_float16(-value), "{value}");
            assert!(!is_float16(f64::from((value as f32).next_up())), "{value}");
        }
        assert!(!is_float16(65536.0));
    }

    #[test]
    fn sums_are_exact_where_large_numbers_cancel() {
        let mut sum = Compensated::default();
        [1e100, 1.0, -1e100, 1.0].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.value(), 2.0);
    }
}
