//! A histogram of values whose range is not known in advance.
//!
//! # Rationale
//! The width of bins is a power of two, and bins start at its multiples. If a value lies outside,
//! the width doubles until the bins reach it, and bins are merged in pairs, which is exact. The
//! final width depends only on the range of all values, not on their order. So parts of an array
//! can be counted separately and merged.

/// The greatest number of bins.
const BINS: usize = 2048;
const LAST: i64 = 2047;

/// Counts in bins: bin `i` holds the values in `[i * 2^power, (i + 1) * 2^power)`.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    power: i32,
    /// The number of the first bin of `counts`.
    first: i64,
    counts: Vec<u64>,
    /// The numbers of the least and greatest bin in use, once there is one.
    used: Option<(i64, i64)>,
}

/// Values that fall into bins.
pub(crate) trait Place: Copy {
    /// The least power of two that the width of bins may be, for values in this range.
    fn least_power(low: Self, high: Self) -> i32;

    /// The number of the value's bin: the value over `2^power`, rounded down.
    fn bin(self, power: i32) -> i64;

    /// A factor or shift for all values: see [`Place::bin_by`].
    type Scale: Copy;

    /// The scale of a power.
    fn scale(power: i32) -> Self::Scale;

    /// [`Place::bin`], of a power's scale.
    fn bin_by(self, scale: Self::Scale) -> i64;
}

impl Place for i64 {
    type Scale = i32;

    fn least_power(_low: Self, _high: Self) -> i32 {
        0
    }

    fn bin(self, power: i32) -> i64 {
        self >> power.min(63)
    }

    fn scale(power: i32) -> i32 {
        power.min(63)
    }

    #[inline]
    fn bin_by(self, scale: i32) -> i64 {
        self >> scale
    }
}

impl Place for f64 {
    type Scale = f64;

    /// Limits the numbers of bins to 51 bits.
    fn least_power(low: Self, high: Self) -> i32 {
        let greatest = low.abs().max(high.abs());
        if greatest == 0.0 { LEAST } else { (exponent(greatest) - 49).max(LEAST) }
    }

    fn bin(self, power: i32) -> i64 {
        self.bin_by(Self::scale(power))
    }

    fn scale(power: i32) -> f64 {
        2.0_f64.powi(-power)
    }

    #[inline]
    fn bin_by(self, scale: f64) -> i64 {
        // -0.0 + 0.0 is 0.0, in bin 0. A product of -0.0 is an underflowed negative number.
        let scaled = (self + 0.0) * scale;
        // Rounds to nearest, and subtracts one if that was up: branch-free, as a branch would be
        // taken for half of all values.
        let shifted = scaled + ROUNDS;
        let nearest = shifted - ROUNDS;
        let integer = shifted.to_bits().cast_signed() - ROUNDS.to_bits().cast_signed();
        integer + ((scaled - nearest).to_bits().cast_signed() >> 63)
    }
}

/// Adding a number of up to 51 bits to this rounds it to an integer, which the low bits of the sum
/// then hold.
const ROUNDS: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// The least power: the inverse of a lesser one would not be finite.
const LEAST: i32 = -1000;

/// The exponent of a number; for a subnormal number, that of the least normal one.
fn exponent(value: f64) -> i32 {
    let biased = (value.to_bits() >> 52) & 0x7ff;
    i32::try_from(biased).unwrap_or(0).max(1) - 1023
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { power: i32::MIN, first: 0, counts: vec![0; BINS], used: None }
    }

    /// Counts values in the range from `low` to `high`.
    pub(crate) fn add<P: Place>(&mut self, low: P, high: P, values: impl Iterator<Item = P>) {
        self.cover(low, high);
        let (scale, first, counts) = (P::scale(self.power), self.first, self.counts.as_mut_slice());
        for value in values {
            let at = usize::try_from(value.bin_by(scale).wrapping_sub(first)).unwrap_or(usize::MAX);
            // Always inside: bins are in order, and cover `low` and `high`.
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
    }

    /// Widens the bins until they cover these values.
    fn cover<P: Place>(&mut self, low: P, high: P) {
        self.widen(self.power.max(P::least_power(low, high)));
        loop {
            let (least, most) = (low.bin(self.power), high.bin(self.power));
            let (least, most) =
                self.used.map_or((least, most), |(a, b)| (a.min(least), b.max(most)));
            if fits(least, most) {
                self.used = Some((least, most));
                let last = self.first.saturating_add(LAST);
                if least < self.first || most > last {
                    self.move_to(least);
                }
                return;
            }
            self.widen(self.power + 1);
        }
    }

    /// Widens the bins to `2^power`.
    fn widen(&mut self, power: i32) {
        let Some((least, most)) = self.used else {
            self.power = power;
            return;
        };
        let by = power.saturating_sub(self.power).min(63);
        if by == 0 {
            return;
        }
        let first = least >> by;
        let mut counts = vec![0; BINS];
        for (at, count) in (self.first..).zip(&self.counts).filter(|(_, count)| **count > 0) {
            counts[index((at >> by) - first)] += count;
        }
        *self = Self { power, first, counts, used: Some((first, most >> by)) };
    }

    /// Moves the first bin; all bins in use have to stay in reach.
    fn move_to(&mut self, first: i64) {
        let mut counts = vec![0; BINS];
        for (at, count) in (self.first..).zip(&self.counts).filter(|(_, count)| **count > 0) {
            counts[index(at - first)] = *count;
        }
        (self.first, self.counts) = (first, counts);
    }

    /// Adds the counts of another.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if other.used.is_none() {
            return;
        }
        if self.used.is_none() {
            *self = other;
            return;
        }
        loop {
            let power = self.power.max(other.power);
            self.widen(power);
            other.widen(power);
            let (Some((a, b)), Some((c, d))) = (self.used, other.used) else { return };
            let (least, most) = (a.min(c), b.max(d));
            if fits(least, most) {
                self.used = Some((least, most));
                self.move_to(least);
                for (at, count) in
                    (other.first..).zip(&other.counts).filter(|(_, count)| **count > 0)
                {
                    self.counts[index(at - least)] += count;
                }
                return;
            }
            self.widen(power + 1);
        }
    }

    /// Merges into at most `bars` bins of equal width. Returns the power of two that edges are
    /// multiples of, the edges (one more than counts), and the counts. All are empty if nothing was
    /// counted.
    pub(crate) fn bars(&self, bars: usize) -> (i32, Vec<i128>, Vec<u64>) {
        let Some((least, most)) = self.used else { return (0, Vec::new(), Vec::new()) };
        let bars = i64::try_from(bars.clamp(1, BINS)).unwrap_or(1);
        let together = (most - least + 1 + bars - 1) / bars;
        // Edges are multiples of the width, unless that needs one bar more.
        let (start, end) = (least.div_euclid(together), most.div_euclid(together));
        let start = if end - start < bars { start * together } else { least };
        let count = index((most - start) / together) + 1;
        let mut counts = vec![0; count];
        for (at, count) in (self.first..).zip(&self.counts).filter(|(_, count)| **count > 0) {
            counts[index((at - start) / together)] += count;
        }
        let edges =
            (0..).take(count + 1).map(|at| i128::from(start) + at * i128::from(together)).collect();
        (self.power, edges, counts)
    }
}

fn fits(least: i64, most: i64) -> bool {
    most.checked_sub(least).is_some_and(|span| span <= LAST)
}

fn index(bins: i64) -> usize {
    usize::try_from(bins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of numbers that are the same in every run.
    fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed ^ (seed >> 29)
        })
    }

    fn counted<P: Place + PartialOrd>(blocks: &[&[P]]) -> Histogram {
        let mut histogram = Histogram::new();
        for block in blocks.iter().filter(|block| !block.is_empty()) {
            let low = block.iter().copied().fold(block[0], |a, b| if b < a { b } else { a });
            let high = block.iter().copied().fold(block[0], |a, b| if b > a { b } else { a });
            histogram.add(low, high, block.iter().copied());
        }
        histogram
    }

    /// Checks counts against a direct count, and that the bins are as narrow as possible.
    fn check<P: Place + PartialOrd + std::fmt::Debug>(values: &[P], value: impl Fn(P) -> f64) {
        let whole = counted(&[values]);
        for cut in [1, values.len() / 3, values.len() / 2, values.len() - 1] {
            let (a, b) = values.split_at(cut);
            let parts = counted(&[a, b]);
            let mut merged = counted(&[b]);
            merged.merge(counted(&[a]));
            for other in [parts, merged] {
                assert_eq!(other.bars(BINS), whole.bars(BINS), "the order makes no difference");
            }
        }
        for bars in [1, 2, 7, 16, BINS] {
            let (power, edges, counts) = whole.bars(bars);
            assert!(
                !counts.is_empty() && counts.len() <= bars && edges.len() == counts.len() + 1,
                "{}",
                counts.len()
            );
            assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
            assert!(counts[0] > 0 && counts[counts.len() - 1] > 0, "bars at the ends hold values");
            let width = 2.0_f64.powi(power);
            for (pair, count) in edges.windows(2).zip(counts) {
                let inside = |v: &&P| {
                    (pair[0] as f64) * width <= value(**v) && value(**v) < (pair[1] as f64) * width
                };
                assert_eq!(values.iter().filter(inside).count() as u64, count, "{pair:?} {power}");
            }
        }
    }

    #[test]
    fn integers_are_counted_where_they_are() {
        let of = |keep: u32| -> Vec<i64> {
            numbers(keep.into()).take(1000).map(|n| n.cast_signed() >> (64 - keep)).collect()
        };
        for keep in [1, 4, 8, 12, 20, 40, 50] {
            check(&of(keep), |v| v as f64);
        }
        check(&[0_i64, 0], |v| v as f64);
        check(&[-5_i64, 5, 5], |v| v as f64);
        check(&[2047_i64, 0, 2048], |v| v as f64);
    }

    #[test]
    fn the_ends_of_64_bits_are_counted() {
        let (power, edges, counts) = counted(&[&[i64::MIN, i64::MAX, 0, -1]]).bars(2);
        assert_eq!((power, counts), (53, vec![2, 2]));
        assert_eq!(edges, [-1024, 0, 1024]);
    }

    #[test]
    fn floats_are_counted_where_they_are() {
        let unit = || numbers(7).take(500).map(|n| (n >> 11) as f64 / 2.0_f64.powi(53));
        check(&unit().collect::<Vec<_>>(), |v| v);
        check(&unit().map(|x| (x - 0.5) * 1e-12).collect::<Vec<_>>(), |v| v);
        check(&unit().map(|x| 1e15 + x).collect::<Vec<_>>(), |v| v);
        check(&unit().map(|x| (x - 0.3).powi(9) * 1e250).collect::<Vec<_>>(), |v| v);
        check(&[1.0, 1.0 + f64::EPSILON], |v| v);
        check(&[0.0, -0.0], |v| v);
        check(&[-1.0, -0.0, 1.0, 3.5], |v| v);
    }

    #[test]
    fn the_least_and_greatest_floats_are_counted() {
        let values = [f64::MIN, -f64::MIN_POSITIVE, -5e-324, 0.0, 5e-324, f64::MAX];
        let (_, edges, counts) = counted(&[&values]).bars(2);
        assert_eq!(counts, [3, 3]);
        assert_eq!(edges[1], 0);
        let (_, _, counts) = counted(&[&[5e-324, 1e-310]]).bars(9);
        assert_eq!(counts, [2]);
    }
}
