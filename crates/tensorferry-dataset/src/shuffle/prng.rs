//! Pseudo-random numbers. The numbers that a seed gives are the same in every version.

use crate::checkpoint::change::Change;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// 2^64 divided by the golden ratio, made odd: multiples of it spread evenly (Knuth, TAOCP 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection of 64-bit numbers whose every output bit depends on every input bit (the finaliser
/// of SplitMix64, Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A seed for a stage to which the user gave none.
#[must_use]
fn draw_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's per-process random keys, drawn from the operating system; each
    // RandomState has keys of its own.
    RandomState::new().hash_one(0_u64)
}

/// The seed of a stage.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) value: u64,
    /// The draw, which all plans over the stage share; `None` if the user gave the seed.
    drawn: Option<Arc<Drawn>>,
}

/// A drawn seed, and the seed that later passes use instead.
#[derive(Debug)]
struct Drawn {
    /// The number of the draw in this process.
    number: u64,
    /// The seed of the next pass. Loading a checkpoint changes it.
    next: AtomicU64,
}

/// A weak reference to a draw.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    number: u64,
    drawn: Weak<Drawn>,
}

impl Draw {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.drawn.strong_count() > 0
    }
}

/// How many seeds were drawn in this process.
static DRAWS: AtomicU64 = AtomicU64::new(0);

impl Seed {
    /// The given seed, or a drawn one.
    pub(crate) fn new(given: Option<u64>) -> Self {
        if let Some(value) = given {
            return Self { value, drawn: None };
        }
        let (value, number) = (draw_seed(), DRAWS.fetch_add(1, Ordering::Relaxed));
        Self { value, drawn: Some(Arc::new(Drawn { number, next: AtomicU64::new(value) })) }
    }

    /// The seed itself, if it was drawn.
    pub(crate) fn drawn(&self) -> Option<&Self> {
        self.drawn.as_ref().map(|_| self)
    }

    /// The identity of a stage with this seed, which distinguishes draws.
    pub(crate) fn identity(&self) -> u64 {
        self.number().map_or(0, |number| number + 1)
    }

    /// The number of the draw; `None` for a given seed.
    pub(crate) fn number(&self) -> Option<u64> {
        self.drawn.as_ref().map(|drawn| drawn.number)
    }

    /// A weak reference to the draw, if the seed was drawn.
    pub(crate) fn draw(&self) -> Option<Draw> {
        self.drawn.as_ref().map(|drawn| Draw { number: drawn.number, drawn: Arc::downgrade(drawn) })
    }

    /// The number of the next draw.
    pub(crate) fn draws() -> u64 {
        DRAWS.load(Ordering::Relaxed)
    }

    /// The seed of the next pass over a plan with this stage.
    pub(crate) fn upcoming(&self) -> u64 {
        self.drawn.as_ref().map_or(self.value, |drawn| drawn.next.load(Ordering::Relaxed))
    }

    /// Replaces the seed for later passes over every plan with this stage, if it was drawn.
    pub(crate) fn adopt(&self, value: u64) {
        if let Some(drawn) = &self.drawn {
            drawn.next.store(value, Ordering::Relaxed);
        }
    }

    /// The same seed, or the one from `change` that replaces a drawn seed.
    pub(crate) fn rebuilt(&self, change: &mut Change) -> Self {
        let put_back = if self.drawn.is_some() { change.seeds.pop_front() } else { None };
        Self { value: put_back.unwrap_or(self.value), drawn: self.drawn.clone() }
    }

    /// The seed as an argument in a description: `seed=7`. `None` if it was drawn.
    pub(crate) fn describe(&self) -> Option<String> {
        self.drawn.is_none().then(|| format!("seed={}", self.value))
    }
}

/// A hash of bytes that is the same in every version and on every machine. Not for bytes that an
/// adversary chooses.
#[must_use]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = mix(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = hashed(state, u64::from_le_bytes(word));
    }
    state
}

/// The state of a hash after one more word: see [`hash`].
#[must_use]
pub(crate) fn hashed(state: u64, word: u64) -> u64 {
    mix(state ^ word).wrapping_add(GOLDEN)
}

/// What numbers are drawn for. Stages of different kinds with the same seed draw unrelated numbers.
/// The values affect what a seed gives: add new ones at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of a whole permutation.
    Permutation = 1,
    /// The slots of a shuffle's buffer.
    Buffer = 2,
    /// Which dataset is next.
    Sample = 3,
    /// The elements of `random`.
    Values = 4,
    /// Where `random_crop` cuts.
    Crop = 5,
    /// Which elements `flip` turns round.
    Flip = 6,
    /// The order of blocks, in a shuffle of blocks.
    Blocks = 7,
    /// The seeds of groups of blocks.
    Groups = 8,
    /// The order of a group's elements.
    Rows = 9,
    /// The seeds of a dataset that a function makes.
    Inner = 10,
    /// The order of the elements that `split` divides.
    Split = 11,
    /// Which elements `draw` draws.
    Draw = 12,
}

/// A sequence of random numbers, each accessible by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Random {
    offset: u64,
    key: u64,
}

impl Random {
    /// The sequence for a seed and an epoch. The pair passes through a bijection of 128 bits (a
    /// Feistel network of four rounds), so distinct pairs have distinct keys, and each input bit
    /// affects all output bits.
    #[must_use]
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64) -> Self {
        let (mut left, mut right) = (seed, epoch);
        for round in 0..2 {
            let constant = (4 * purpose as u64 + 2 * round).wrapping_mul(GOLDEN);
            left ^= mix(right.wrapping_add(constant));
            right ^= mix(left.wrapping_add(constant).wrapping_add(GOLDEN));
        }
        Self { offset: left, key: right }
    }

    /// The number at `position`, uniform over all 2^64 values.
    #[must_use]
    pub(crate) fn at(self, position: u64) -> u64 {
        mix(mix(self.offset.wrapping_add(position.wrapping_mul(GOLDEN))) ^ self.key)
    }

    /// The number at `position`, uniform below `bound`, which is not 0. Draws again where the
    /// result would be biased (Lemire, "Fast random integer generation in an interval", ACM TOMACS
    /// 2019).
    #[must_use]
    pub(crate) fn below(self, position: u64, bound: u64) -> u64 {
        let mut value = self.at(position);
        loop {
            let (low, high) = product(value, bound);
            if low >= bound || low >= bound.wrapping_neg() % bound.max(1) {
                return high;
            }
            value = mix(value.wrapping_add(GOLDEN));
        }
    }

    /// The number at `position` in `[0, 1)`, a multiple of 2^-53.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(crate) fn unit(self, position: u64) -> f64 {
        const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.at(position) >> 11) as f64 * SCALE
    }
}

/// The low and the high half of a product.
#[allow(clippy::cast_possible_truncation, reason = "halves")]
fn product(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    (product as u64, (product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_seed_are_pinned() {
        let random = Random::new(Purpose::Permutation, 7, 0);
        let drawn: Vec<u64> = (0..4).map(|at| random.at(at)).collect();
        assert_eq!(drawn, PINNED);
    }

    const PINNED: [u64; 4] = [
        2_493_767_469_893_877_825,
        12_983_515_475_102_271_010,
        7_629_586_341_540_222_482,
        17_582_405_456_836_405_125,
    ];

    #[test]
    fn bounded_numbers_are_uniform() {
        // Chi-square of 999 degrees of freedom: mean 999, standard deviation 44.7.
        let random = Random::new(Purpose::Buffer, 1, 2);
        let mut counts = [0_u32; 1000];
        for at in 0..1_000_000 {
            counts[usize::try_from(random.below(at, 1000)).unwrap()] += 1;
        }
        let chi: f64 =
            counts.iter().map(|&count| (f64::from(count) - 1000.0).powi(2) / 1000.0).sum();
        assert!((chi - 999.0).abs() < 4.0 * 44.7, "{chi}");
    }

    #[test]
    fn a_bound_that_needs_rejection_is_uniform() {
        // Three quarters of 2^64: without rejection the numbers divisible by 3 would be twice as
        // likely as others.
        let random = Random::new(Purpose::Buffer, 1, 2);
        let bound = 3_u64 << 62;
        let mut counts = [0_u32; 3];
        for at in 0..30_000 {
            let value = random.below(at, bound);
            assert!(value < bound);
            counts[usize::try_from(value % 3).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&count| (9_600..10_400).contains(&count)), "{counts:?}");
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        let random = Random::new(Purpose::Sample, 1, 2);
        let mean = (0..10_000)
            .map(|at| random.unit(at))
            .inspect(|value| assert!((0.0..1.0).contains(value)))
            .sum::<f64>()
            / 1e4;
        assert!((mean - 0.5).abs() < 0.0116, "{mean}");
    }

    #[test]
    fn every_bit_of_seed_and_epoch_changes_half_of_what_is_drawn() {
        let base = Random::new(Purpose::Permutation, 7, 8);
        for bit in 0..64 {
            for other in [
                Random::new(Purpose::Permutation, 7 ^ (1 << bit), 8),
                Random::new(Purpose::Permutation, 7, 8 ^ (1 << bit)),
            ] {
                let changed: u32 =
                    (0..64).map(|at| (base.at(at) ^ other.at(at)).count_ones()).sum();
                // 4,096 bits: mean 2,048, standard deviation 32.
                assert!((2048 - 160..=2048 + 160).contains(&changed), "{bit}: {changed}");
            }
        }
    }
}
