//! `stride`: elements at equal distances, forwards or backwards.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::stage::{Dataset, Elements, Locate, Stage};
use crate::transforms::select::select::no_random_access;

struct Stride {
    input: Dataset,
    start: u64,
    step: i64,
    len: u64,
}

impl Dataset {
    /// `len` elements, starting at `start` and `step` apart, as a slice with a step selects them. A
    /// negative step goes backwards.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let numbers = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let batch = numbers.stride(9, -4, 3)?.batch(3)?.get(0)?;
    /// assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[9, 5, 1][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the dataset is not indexed; [`Error::NoElement`] if the first or the
    /// last of the elements does not exist.
    pub fn stride(&self, start: u64, step: i64, len: u64) -> Result<Self> {
        if !self.indexed {
            return Err(no_random_access("stride"));
        }
        let n = self.cardinality().finite();
        let last = i128::from(start) + i128::from(step) * i128::from(len.saturating_sub(1));
        for (position, index) in [(0, i128::from(start)), (len.saturating_sub(1), last)] {
            let exists = u64::try_from(index).is_ok_and(|index| n.is_none_or(|n| index < n));
            if len > 0 && !exists {
                return Err(Error::NoElement { stage: "stride", position, index, len: n });
            }
        }
        Ok(Self::of(Stride { input: self.clone(), start, step, len }))
    }
}

impl Locate for Stride {
    fn locate(&self, index: u64) -> u64 {
        let distance = index.wrapping_mul(self.step.cast_unsigned());
        self.start.wrapping_add(distance)
    }
}

impl Stage for Stride {
    fn elements(&self) -> Elements<'_> {
        Elements::Moved(&self.input, self)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        format!("stride({}, {}, {})", self.start, self.step, self.len)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].stride(self.start, self.step, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rebuilds, assert_resumes, counting, range, rows, values};

    #[test]
    fn elements_are_those_of_a_slice_with_a_step() -> Result<()> {
        let all: Vec<i64> = (0..23).collect();
        for (start, step, len) in [(0, 1, 23), (3, 5, 4), (22, -1, 23), (20, -7, 3), (9, -1, 1)] {
            let picked = range(23).stride(start, step, len)?;
            let at = |i: u64| usize::try_from(start.cast_signed() + i.cast_signed() * step);
            let expected: Vec<i64> = (0..len).map(|i| all[at(i).unwrap()]).collect();
            assert_eq!(values(&picked), expected);
            assert_eq!(rows(&picked.batch(2)?).concat(), expected);
            assert_resumes(&picked);
            assert_rebuilds(&picked);
        }
        assert_eq!(values(&range(3).stride(7, 2, 0)?), [0; 0]);
        assert_eq!(values(&range(3).repeat(None).stride(2, 2, 3)?), [2, 1, 0]);
        Ok(())
    }

    #[test]
    fn elements_that_do_not_exist_are_refused() {
        let said = |start, step, len| range(10).stride(start, step, len).unwrap_err().to_string();
        assert!(said(10, 1, 1).contains("index 10 at position 0 is out of range"));
        assert!(said(3, -2, 3).contains("index -1 at position 2"));
        assert!(said(3, i64::MAX, u64::MAX).contains("out of range"));
        assert!(counting(3).stride(0, 1, 1).unwrap_err().to_string().contains("random access"));
    }
}
