//! [`RowSplits`]: where each row of a [`Ragged`](crate::Ragged) lies in its values.

use crate::error::{Error, Result};
use tensorferry_core::{Casting, DType, Error as CoreError, Tensor};
use tensorferry_io::convert::convert;
use tensorferry_io::memory::room::Room;

/// The start and the length of each row.
#[derive(Clone, Debug)]
pub(crate) enum RowSplits {
    /// Row `i` is `splits[i]..splits[i + 1]`.
    Splits(Numbers),
    /// Row `i` is `starts[i]..starts[i] + lengths[i]`.
    Placed { starts: Numbers, lengths: Numbers },
}

/// Whole numbers in one dimension, contiguous and in native byte order.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    Int32(Tensor),
    Int64(Tensor),
}

/// Borrowed [`Numbers`].
#[derive(Clone, Copy)]
pub(crate) enum Slice<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
}

const STAGE: &str = "from_ragged";

fn wrong(what: String) -> Error {
    Error::Argument { stage: STAGE, what }
}

impl Numbers {
    /// The numbers of a tensor, which is shared if it holds int32 or int64.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are not whole numbers in one dimension.
    pub(crate) fn new(tensor: &Tensor, (stage, name): (&'static str, &str)) -> Result<Self> {
        let wrong = |what| Error::Argument { stage, what };
        if tensor.shape().len() != 1 {
            let shape = tensor.shape();
            return Err(wrong(format!(
                "{name} has to be in one dimension, not of shape {shape:?}"
            )));
        }
        if !tensor.dtype().is_integer() {
            let dtype = tensor.dtype();
            return Err(wrong(format!("{name} has to be whole numbers, not {dtype}")));
        }
        let shared = match tensor.dtype() {
            DType::Int32 => tensor.view::<i32>().is_ok_and(|view| view.as_slice().is_some()),
            DType::Int64 => tensor.view::<i64>().is_ok_and(|view| view.as_slice().is_some()),
            _ => false,
        };
        if shared {
            return Ok(Self::of(tensor.clone()));
        }
        let dtype = if tensor.dtype() == DType::Int32 { DType::Int32 } else { DType::Int64 };
        Ok(Self::of(convert(&tensor.as_view(), dtype, Casting::Checked)?))
    }

    fn of(tensor: Tensor) -> Self {
        if tensor.dtype() == DType::Int32 { Self::Int32(tensor) } else { Self::Int64(tensor) }
    }

    pub(crate) fn slice(&self) -> Result<Slice<'_>> {
        // The constructor has checked both.
        let unusable = || CoreError::NotViewable { why: "they are not contiguous" };
        Ok(match self {
            Self::Int32(tensor) => {
                Slice::Int32(tensor.view::<i32>()?.as_slice().ok_or_else(unusable)?)
            }
            Self::Int64(tensor) => {
                Slice::Int64(tensor.view::<i64>()?.as_slice().ok_or_else(unusable)?)
            }
        })
    }

    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Self::Int32(tensor) | Self::Int64(tensor) => tensor,
        }
    }

    fn len(&self) -> usize {
        self.tensor().layout().len()
    }
}

impl Slice<'_> {
    #[inline]
    pub(crate) fn get(self, at: usize) -> Option<i64> {
        match self {
            Self::Int32(numbers) => numbers.get(at).map(|number| i64::from(*number)),
            Self::Int64(numbers) => numbers.get(at).copied(),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Int32(numbers) => numbers.len(),
            Self::Int64(numbers) => numbers.len(),
        }
    }
}

impl RowSplits {
    /// Splits of `count` values. The first has to be 0 and the last `count`, unless `is_part`.
    pub(crate) fn from_splits(splits: &Tensor, count: usize, is_part: bool) -> Result<Self> {
        let numbers = Numbers::new(splits, (STAGE, "row_splits"))?;
        let all = numbers.slice()?;
        let (Some(first), Some(last)) = (all.get(0), all.get(all.len().wrapping_sub(1))) else {
            return Err(wrong("row_splits is empty; n rows have n + 1 splits, from 0 on".into()));
        };
        if let Some(at) = falls(all) {
            let what = format!(
                "row_splits falls from {} to {} at {at}; it has to rise from 0 to the number of \
                values",
                all.get(at - 1).unwrap_or(0),
                all.get(at).unwrap_or(0)
            );
            return Err(wrong(what));
        }
        let inside = first >= 0 && last.unsigned_abs() <= count as u64;
        if !inside || (!is_part && (first, last.unsigned_abs()) != (0, count as u64)) {
            let what = format!(
                "row_splits runs from {first} to {last}, but there are {count} values: it has to \
                run from 0 to {count}. Slice the values, or add the missing splits."
            );
            return Err(wrong(what));
        }
        Ok(Self::Splits(numbers))
    }

    /// Rows of these lengths, one after the other, that make up `count` values.
    pub(crate) fn from_lengths(lengths: &Tensor, count: usize) -> Result<Self> {
        let numbers = Numbers::new(lengths, (STAGE, "row_lengths"))?;
        let all = numbers.slice()?;
        let mut splits = Vec::new();
        splits.make_room(all.len() + 1)?;
        let mut end = 0_i64;
        splits.push(end);
        for at in 0..all.len() {
            let len = non_negative(all, at, "row_lengths")?;
            end = end.saturating_add(len.cast_signed());
            splits.push(end);
        }
        if end.unsigned_abs() != count as u64 {
            let what = format!("row_lengths sums to {end}, but there are {count} values");
            return Err(wrong(what));
        }
        let len = splits.len();
        Ok(Self::Splits(Numbers::Int64(Tensor::from_vec(splits, &[len])?)))
    }

    /// Rows anywhere in `count` values, which may overlap.
    pub(crate) fn placed(starts: &Tensor, lengths: &Tensor, count: usize) -> Result<Self> {
        let (starts, lengths) = (
            Numbers::new(starts, (STAGE, "row_starts"))?,
            Numbers::new(lengths, (STAGE, "row_lengths"))?,
        );
        let (all, lens) = (starts.slice()?, lengths.slice()?);
        if all.len() != lens.len() {
            let what = format!("{} row_starts and {} row_lengths", all.len(), lens.len());
            return Err(wrong(what));
        }
        for at in 0..all.len() {
            let start = non_negative(all, at, "row_starts")?;
            let end = start.saturating_add(non_negative(lens, at, "row_lengths")?);
            if end > count as u64 {
                let what = format!("row {at} is {start}..{end}, but there are {count} values");
                return Err(wrong(what));
            }
        }
        Ok(Self::Placed { starts, lengths })
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Splits(splits) => splits.len().saturating_sub(1),
            Self::Placed { starts, .. } => starts.len(),
        }
    }

    /// Calls `each` with the start and the length of each of these rows, in the order of `rows`.
    ///
    /// # Errors
    /// Those of `each`; [`CoreError::IndexOutOfRange`] for a row that does not exist. Splits in a
    /// file may have changed since they were checked.
    pub(crate) fn each(
        &self,
        rows: impl Iterator<Item = u64>,
        mut each: impl FnMut(u64, usize) -> Result<()>,
    ) -> Result<()> {
        let (starts, lengths) = match self {
            Self::Splits(splits) => (splits.slice()?, None),
            Self::Placed { starts, lengths } => (starts.slice()?, Some(lengths.slice()?)),
        };
        for row in rows {
            let at = usize::try_from(row).unwrap_or(usize::MAX);
            let place = starts.get(at).and_then(|start| {
                let len = match lengths {
                    None => starts.get(at.wrapping_add(1))?.checked_sub(start)?,
                    Some(lengths) => lengths.get(at)?,
                };
                Some((u64::try_from(start).ok()?, usize::try_from(len).ok()?))
            });
            let Some((start, len)) = place else {
                return Err(CoreError::IndexOutOfRange {
                    index: isize::try_from(row).unwrap_or(isize::MAX),
                    axis: 0,
                    len: self.len(),
                }
                .into());
            };
            each(start, len)?;
        }
        Ok(())
    }

    /// The tensors that hold the numbers.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Self::Splits(splits) => vec![splits.tensor().clone()],
            Self::Placed { starts, lengths } => {
                vec![starts.tensor().clone(), lengths.tensor().clone()]
            }
        }
    }
}

/// The first place at which the numbers fall.
fn falls(all: Slice<'_>) -> Option<usize> {
    fn first<T: PartialOrd>(numbers: &[T]) -> Option<usize> {
        // Chunks without an exit inside are vectorised.
        let block = 1024;
        (0..numbers.len()).step_by(block).find_map(|start| {
            let part = &numbers[start..numbers.len().min(start + block + 1)];
            let rises = part.iter().zip(&part[1..]).fold(true, |all, (a, b)| all & (a <= b));
            if rises { None } else { part.windows(2).position(|two| two[0] > two[1]) }
                .map(|at| start + at + 1)
        })
    }
    match all {
        Slice::Int32(numbers) => first(numbers),
        Slice::Int64(numbers) => first(numbers),
    }
}

fn non_negative(all: Slice<'_>, at: usize, name: &str) -> Result<u64> {
    let number = all.get(at).unwrap_or(0);
    u64::try_from(number)
        .map_err(|_| wrong(format!("{name}[{at}] is {number}; it has to be at least 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(numbers: &[i64]) -> Tensor {
        Tensor::from_vec(numbers.to_vec(), &[numbers.len()]).unwrap()
    }

    fn places(splits: &RowSplits) -> Vec<(u64, usize)> {
        let mut all = Vec::new();
        let rows = 0..splits.len() as u64;
        splits
            .each(rows, |start, len| {
                all.push((start, len));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn splits_lengths_and_places_name_the_same_rows() {
        let expected = [(0, 2), (2, 0), (2, 3)];
        let splits = RowSplits::from_splits(&tensor(&[0, 2, 2, 5]), 5, false).unwrap();
        assert_eq!(places(&splits), expected);
        let lengths = RowSplits::from_lengths(&tensor(&[2, 0, 3]), 5).unwrap();
        assert_eq!(places(&lengths), expected);
        let placed = RowSplits::placed(&tensor(&[0, 2, 2]), &tensor(&[2, 0, 3]), 5).unwrap();
        assert_eq!(places(&placed), expected);
        let narrow = Tensor::from_vec(vec![0_u16, 2, 2, 5], &[4]).unwrap();
        assert_eq!(places(&RowSplits::from_splits(&narrow, 5, false).unwrap()), expected);
    }

    #[test]
    fn numbers_that_are_no_rows_are_refused() {
        let splits = |numbers: &[i64], part| {
            RowSplits::from_splits(&tensor(numbers), 5, part).unwrap_err().to_string()
        };
        assert!(splits(&[], false).contains("empty"));
        assert!(splits(&[0, 3, 2, 5], false).contains("falls from 3 to 2 at 2"));
        assert!(splits(&[0, 3], false).contains("runs from 0 to 3, but there are 5 values"));
        assert!(splits(&[1, 5], false).contains("runs from 1 to 5"));
        assert!(splits(&[-1, 5], true).contains("runs from -1"));
        assert!(splits(&[0, 6], true).contains("to 6"));
        assert!(RowSplits::from_splits(&tensor(&[1, 3]), 5, true).is_ok());
        let lengths =
            |numbers: &[i64]| RowSplits::from_lengths(&tensor(numbers), 5).unwrap_err().to_string();
        assert!(lengths(&[2, -1, 4]).contains("row_lengths[1] is -1"));
        assert!(lengths(&[2, 2]).contains("sums to 4, but there are 5 values"));
        assert!(lengths(&[i64::MAX, i64::MAX]).contains("sums to"));
        let floats = Tensor::from_vec(vec![0.0_f32, 5.0], &[2]).unwrap();
        assert!(
            RowSplits::from_splits(&floats, 5, false).unwrap_err().to_string().contains("whole")
        );
        let placed = RowSplits::placed(&tensor(&[4]), &tensor(&[2]), 5).unwrap_err().to_string();
        assert!(placed.contains("row 0 is 4..6"), "{placed}");
    }

    #[test]
    fn a_fall_is_found_wherever_it_stands() {
        for len in [2, 1023, 1024, 1025, 1026, 3000] {
            for at in [1, len / 2, len - 1].into_iter().filter(|at| *at > 0) {
                let mut numbers: Vec<i64> = (0..).take(len).collect();
                assert_eq!(falls(Slice::Int64(&numbers)), None);
                numbers[at] = numbers[at - 1] - 1;
                assert_eq!(falls(Slice::Int64(&numbers)), Some(at), "{len}");
            }
        }
        assert_eq!(falls(Slice::Int32(&[])), None);
    }
}
