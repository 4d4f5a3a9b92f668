//! The summary of integers.

use super::histogram::Histogram;

/// An integer dtype's elements as keys, `i64`s in the same order: a `u64` less `2^63`.
pub(super) trait Integer: Copy + Ord {
    /// The value less its key.
    const OFFSET: i128;
    /// The value less [`Integer::OFFSET`].
    fn key(self) -> i64;
}

macro_rules! integers {
    ($($int:ty),*) => {$(impl Integer for $int {
        const OFFSET: i128 = 0;
        #[inline(always)]
        fn key(self) -> i64 {
            self.into()
        }
    })*};
}
integers!(i8, i16, i32, i64, u8, u16, u32);

impl Integer for u64 {
    const OFFSET: i128 = 1 << 63;
    #[inline(always)]
    fn key(self) -> i64 {
        (self ^ (1 << 63)).cast_signed()
    }
}

/// The summary of the integers seen so far.
#[derive(Clone, Debug)]
pub(super) struct Integers {
    pub(super) offset: i128,
    /// The least and greatest key.
    range: Option<(i64, i64)>,
    /// The sum of the keys.
    sum: i128,
    pub(super) count: u64,
    pub(super) histogram: Histogram,
}

/// Elements of a block, which fits in the L1 cache.
const BLOCK: usize = 4096;

impl Integers {
    pub(super) fn new() -> Self {
        Self { offset: 0, range: None, sum: 0, count: 0, histogram: Histogram::new() }
    }

    pub(super) fn add<I: Integer>(&mut self, values: &[I]) {
        self.offset = I::OFFSET;
        self.count += values.len() as u64;
        for block in values.chunks(BLOCK) {
            let Some(first) = block.first() else { continue };
            let (low, high) = block
                .iter()
                .fold((*first, *first), |(low, high), value| (low.min(*value), high.max(*value)));
            let (low, high) = (low.key(), high.key());
            self.range = Some(self.range.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
            // Sums of halves do not overflow.
            let halves = |(above, below), value: &I| {
                (above + (value.key() >> 32), below + (value.key() & 0xffff_ffff))
            };
            let (above, below) = block.iter().fold((0, 0), halves);
            self.sum += (i128::from(above) << 32) + i128::from(below);
            self.histogram.add(low, high, block.iter().map(|value| value.key()));
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        if let Some((low, high)) = other.range {
            self.offset = other.offset;
            self.range = Some(self.range.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        }
        self.sum += other.sum;
        self.count += other.count;
        self.histogram.merge(other.histogram);
    }

    /// The least and greatest value.
    pub(super) fn range(&self) -> Option<(i128, i128)> {
        self.range
            .map(|(low, high)| (i128::from(low) + self.offset, i128::from(high) + self.offset))
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let count = i128::from(self.count);
        // The integer part is exact: a large mean is rounded once.
        let (whole, rest) =
            (self.sum.checked_div_euclid(count)?, self.sum.checked_rem_euclid(count)?);
        Some((whole + self.offset) as f64 + rest as f64 / count as f64)
    }
}
