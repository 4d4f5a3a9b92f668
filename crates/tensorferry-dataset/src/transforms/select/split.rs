//! `split`: disjoint parts, the same in every epoch.

use crate::error::{Error, Result};
use crate::shuffle::prng::{Purpose, Random};
use crate::shuffle::shuffle::ShuffleOptions;
use crate::spec::Cardinality;
use crate::stage::Dataset;
use crate::transforms::select::select::no_random_access;

impl Dataset {
    /// Disjoint parts of these sizes, which add up to the number of elements. They are the same in
    /// every epoch and process. With a seed, elements are divided at random, by a permutation that
    /// takes constant memory; without one, the parts are contiguous.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let parts = Dataset::range(0, 10, 1, DType::Int64)?.split(&[8, 2], Some(7))?;
    /// assert_eq!(parts[1].cardinality(), Cardinality::Finite(2));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the dataset is not indexed or not finite, if its elements or their
    /// order depend on the epoch, or if the sizes do not add up.
    pub fn split(&self, sizes: &[u64], seed: Option<u64>) -> Result<Vec<Self>> {
        let wrong = |what: String| Err(Error::Argument { stage: "split", what });
        let n = match self.cardinality() {
            _ if !self.indexed => return Err(no_random_access("split")),
            Cardinality::Finite(n) => n,
            _ => {
                return wrong("the dataset is infinite. Split it before repeat.".into());
            }
        };
        if self.hints.depends_on_epoch {
            return wrong(
                "the elements or their order differ by epoch, so the parts would mix. Split before \
                 shuffle, random_crop and flip, or shuffle with reshuffle_each_iteration=False."
                    .into(),
            );
        }
        let total = sizes.iter().try_fold(0_u64, |total, size| total.checked_add(*size));
        if total != Some(n) {
            return wrong(format!("the sizes {sizes:?} do not add up to {n} elements."));
        }
        let whole = match seed {
            // Another key than that of `shuffle` with this seed.
            Some(seed) => self.shuffle(ShuffleOptions {
                reshuffle_each_iteration: false,
                ..ShuffleOptions::seeded(Random::new(Purpose::Split, seed, 0).at(0))
            })?,
            None => self.clone(),
        };
        let starts = sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end - size)
        });
        let part = |(start, size): (u64, &u64)| whole.skip(Some(start)).take(Some(*size));
        Ok(starts.zip(sizes).map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{assert_resumes, counting, first, range, values};

    #[test]
    fn parts_are_disjoint_cover_everything_and_stay_the_same() -> Result<()> {
        for n in [0_u64, 1, 10, 5000] {
            for seed in [None, Some(0), Some(7)] {
                let (a, b) = (n / 2, n / 5);
                let parts = range(n.cast_signed()).split(&[a, b, n - a - b], seed)?;
                let sizes: Vec<_> = parts.iter().filter_map(|p| p.cardinality().finite()).collect();
                assert_eq!(sizes, [a, b, n - a - b]);
                let mut all: Vec<i64> = parts.iter().flat_map(values).collect();
                assert_eq!(all.is_sorted(), n < 10 || seed.is_none());
                all.sort_unstable();
                assert_eq!(all, (0..n.cast_signed()).collect::<Vec<_>>());
                let later = parts[0].iter_with(Epoch(3), &Options::default());
                let later: Vec<i64> = later.map(|element| first(&element.unwrap())).collect();
                assert_eq!(later, values(&parts[0]));
            }
        }
        assert_resumes(&range(10).split(&[7, 3], Some(1))?[0]);
        Ok(())
    }

    /// These never change.
    #[test]
    fn parts_of_a_seed_are_pinned() -> Result<()> {
        let parts = range(10).split(&[6, 4], Some(7))?;
        assert_eq!([values(&parts[0]), values(&parts[1])].concat(), PINNED);
        Ok(())
    }

    const PINNED: [i64; 10] = [8, 3, 1, 2, 0, 9, 4, 6, 7, 5];

    #[test]
    fn what_would_leak_or_lose_elements_is_refused() -> Result<()> {
        let said = |dataset: Dataset, sizes: &[u64]| {
            dataset.split(sizes, Some(1)).unwrap_err().to_string()
        };
        let shuffled = range(10).shuffle(ShuffleOptions::seeded(1))?;
        assert!(said(shuffled, &[8, 2]).contains("Split before shuffle"));
        assert!(said(range(10), &[8, 3]).contains("[8, 3] do not add up to 10"));
        assert!(said(range(10), &[u64::MAX, 11]).contains("do not add up"));
        assert!(said(range(10).repeat(None), &[1]).contains("infinite"));
        assert!(said(counting(10), &[10]).contains("no random access"));
        Ok(())
    }
}
