//! `Parts`: rows in several consecutive parts.

use crate::array::row_source::RowRun;
use crate::gather::request::{RowRequest, no_row};
use crate::memory::room::{Room, list_of};
use std::ops::Range;
use tensorferry_core::{Error, Result};

/// The ranges of rows of the parts.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// End of each part's rows.
    ends: Vec<u64>,
}

/// Consecutive rows of one part, and their consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) part: usize,
    /// Index of the first row in the part.
    pub(crate) row: u64,
    pub(crate) slot: usize,
    pub(crate) len: usize,
}

impl Parts {
    /// Parts with these numbers of rows.
    ///
    /// # Errors
    /// [`Error::SizeOverflow`] if the number of rows overflows.
    pub(crate) fn new(rows: impl IntoIterator<Item = u64>) -> Result<Self> {
        let mut end = 0_u64;
        let mut ends = Vec::new();
        for rows in rows {
            end = end.checked_add(rows).filter(|end| isize::try_from(*end).is_ok()).ok_or_else(
                || Error::SizeOverflow { shape: [usize::MAX].as_slice().into(), itemsize: 0 },
            )?;
            ends.push(end);
        }
        Ok(Self { ends })
    }

    /// Number of rows of all parts.
    pub(crate) fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The part of a row, and the row's number in it.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub(crate) fn find(&self, row: u64) -> Result<(usize, u64)> {
        let part = self.ends.partition_point(|end| *end <= row);
        if part == self.ends.len() {
            return Err(no_row(row, self.rows()));
        }
        Ok((part, row - self.first(part)))
    }

    /// Index of the first row of a part.
    fn first(&self, part: usize) -> u64 {
        if part == 0 { 0 } else { self.ends[part - 1] }
    }

    /// Those of these rows that are in a part, relative to it.
    pub(crate) fn within(&self, part: usize, rows: &Range<u64>) -> Range<u64> {
        let (first, end) = (self.first(part), self.ends[part]);
        let relative = |row: u64| row.clamp(first, end) - first;
        relative(rows.start)..relative(rows.end)
    }

    /// Where these rows begin and end: parts, and rows in them. `None` if there are none.
    pub(crate) fn ends(&self, rows: &Range<u64>) -> Option<((usize, u64), (usize, u64))> {
        let end = rows.end.min(self.rows());
        let last = end.checked_sub(1).filter(|last| *last >= rows.start)?;
        let (part, row) = self.find(last).ok()?;
        Some((self.find(rows.start).ok()?, (part, row + 1)))
    }

    /// Calls `read` with each part and the requests for its rows. Makes their indices relative to
    /// the part.
    ///
    /// # Errors
    /// As [`Parts::find`]; those of `read`.
    pub(crate) fn each_part<E: From<Error>>(
        &self,
        requests: &mut [RowRequest],
        mut read: impl FnMut(usize, &mut [RowRequest]) -> Result<(), E>,
    ) -> Result<(), E> {
        requests.sort_unstable_by_key(|request| request.index);
        let mut rest = requests;
        while let Some(first) = rest.first() {
            let (part, row) = self.find(first.index)?;
            let before = first.index - row;
            let end = self.ends[part];
            let (here, later) =
                rest.split_at_mut(rest.partition_point(|request| request.index < end));
            here.iter_mut().for_each(|request| request.index -= before);
            read(part, here)?;
            rest = later;
        }
        Ok(())
    }

    /// The requests as runs, sorted by slot.
    ///
    /// # Errors
    /// As [`Parts::find`].
    pub(crate) fn runs(&self, requests: &mut [RowRequest]) -> Result<Vec<Run>> {
        requests.sort_unstable_by_key(|request| request.slot);
        let mut runs: Vec<Run> = Vec::new();
        let mut end = None; // the row that would extend the last run
        for request in requests.iter() {
            if let Some(last) = runs.last_mut()
                && end == Some(request.index)
                && last.slot.checked_add(last.len) == Some(request.slot)
                && request.index < self.ends[last.part]
            {
                last.len += 1;
            } else {
                let (part, row) = self.find(request.index)?;
                runs.make_room(1)?;
                runs.push(Run { part, row, slot: request.slot, len: 1 });
            }
            end = request.index.checked_add(1);
        }
        Ok(runs)
    }
}

impl Parts {
    /// The runs, divided at the ends of parts.
    ///
    /// # Errors
    /// As [`Parts::find`].
    pub(crate) fn cut(&self, runs: &[RowRun]) -> Result<Vec<Run>> {
        let mut all = list_of(runs.len())?;
        for run in runs {
            let mut done = 0;
            while done < run.len {
                let index = run.index.saturating_add(done as u64);
                let (part, row) = self.find(index)?;
                let len = usize::try_from(self.ends[part] - index)
                    .unwrap_or(usize::MAX)
                    .min(run.len - done);
                all.push(Run { part, row, slot: run.slot + done, len });
                done += len;
            }
        }
        Ok(all)
    }
}

/// The bytes of each run's slots. Runs must be sorted by slot and not overlap.
///
/// # Errors
/// [`Error::OutOfBounds`] for slots that do not exist, or are requested twice.
pub(crate) fn slots<'a>(
    mut out: &'a mut [u8],
    row: usize,
    runs: &[Run],
) -> Result<Vec<&'a mut [u8]>> {
    let (len, mut done) = (out.len(), 0_usize);
    let mut all = list_of(runs.len())?;
    for run in runs {
        let start = run.slot.checked_mul(row).and_then(|start| start.checked_sub(done));
        let cut =
            start.and_then(|start| Some((start, start.checked_add(run.len.checked_mul(row)?)?)));
        let Some((start, end)) = cut.filter(|(_, end)| *end <= out.len()) else {
            let start = run.slot as i128 * row as i128;
            return Err(Error::OutOfBounds {
                start,
                end: start + run.len as i128 * row as i128,
                len,
            });
        };
        let (taken, rest) = out.split_at_mut(end);
        all.push(&mut taken[start..]);
        (out, done) = (rest, done + end);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(pairs: &[(u64, usize)]) -> Vec<RowRequest> {
        pairs.iter().map(|&(index, slot)| RowRequest { index, slot }).collect()
    }

    #[test]
    fn requests_become_runs_that_end_with_their_part() {
        let parts = Parts::new([3, 0, 4]).unwrap();
        assert_eq!(parts.rows(), 7);
        let run = |part, row, slot, len| Run { part, row, slot, len };
        let mut asked = requests(&[(1, 0), (2, 1), (3, 2), (4, 3), (6, 9), (0, 8)]);
        let runs = parts.runs(&mut asked).unwrap();
        assert_eq!(runs, [run(0, 1, 0, 2), run(2, 0, 2, 2), run(0, 0, 8, 1), run(2, 3, 9, 1)]);
        let mut bytes: Vec<u8> = (0..20).collect();
        let slots = slots(&mut bytes, 2, &runs).unwrap();
        assert_eq!(slots, [&[0, 1, 2, 3][..], &[4, 5, 6, 7], &[16, 17], &[18, 19]]);
        assert!(parts.runs(&mut requests(&[(7, 0)])).is_err());
        assert!(parts.runs(&mut requests(&[(u64::MAX, 0), (0, 1)])).is_err());
        assert!(Parts::new([]).unwrap().runs(&mut requests(&[(0, 0)])).is_err());
        assert!(Parts::new([u64::MAX, 1]).is_err());
    }

    #[test]
    fn rows_of_all_parts_are_found_in_each() {
        let parts = Parts::new([3, 0, 4]).unwrap();
        assert_eq!((parts.within(0, &(1..5)), parts.within(2, &(1..5))), (1..3, 0..2));
        assert_eq!((parts.within(1, &(1..5)), parts.within(2, &(0..3))), (0..0, 0..0));
        assert_eq!(parts.ends(&(1..5)), Some(((0, 1), (2, 2))));
        assert_eq!(parts.ends(&(1..3)), Some(((0, 1), (0, 3))));
        assert_eq!(parts.ends(&(0..u64::MAX)), Some(((0, 0), (2, 4))));
        assert_eq!((parts.ends(&(3..3)), parts.ends(&(8..9))), (None, None));
    }

    #[test]
    fn runs_are_cut_where_parts_end() {
        let parts = Parts::new([3, 0, 4]).unwrap();
        let run = |part, row, slot, len| Run { part, row, slot, len };
        let runs = [
            RowRun { index: 1, slot: 0, len: 4 },
            RowRun { index: 0, slot: 4, len: 0 },
            RowRun { index: 6, slot: 4, len: 1 },
        ];
        assert_eq!(parts.cut(&runs).unwrap(), [run(0, 1, 0, 2), run(2, 0, 2, 2), run(2, 3, 4, 1)]);
        assert!(parts.cut(&[RowRun { index: 5, slot: 0, len: 3 }]).is_err());
    }

    #[test]
    fn slots_that_are_not_there_or_asked_for_twice_are_errors() {
        let run = |slot, len| Run { part: 0, row: 0, slot, len };
        let mut bytes = [0; 8];
        assert!(slots(&mut bytes, 2, &[run(3, 2)]).is_err());
        assert!(slots(&mut bytes, 2, &[run(1, 2), run(2, 1)]).is_err());
        assert!(slots(&mut bytes, 2, &[run(usize::MAX, 1)]).is_err());
        assert!(slots(&mut bytes, 2, &[run(0, usize::MAX)]).is_err());
        assert_eq!(slots(&mut bytes, 0, &[run(7, 9)]).unwrap().len(), 1);
    }
}
