//! Rows of a feature whose length differs between records.
//!
//! # Rationale
//! Values are parsed from their records whenever they are read, as those of other features are:
//! nothing is stored twice. Only the lengths are kept. To know them, opening reads all records
//! once, and checks their checksums and the feature.
//!
//! # Limitations
//! To read a part of a row, its whole record is parsed.

use crate::array::array::Array;
use crate::array::ragged::RaggedArray;
use crate::array::row_source::{RowRun, RowSource};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::tfrecord::example::in_record;
use crate::format::tfrecord::records::Records;
use crate::format::tfrecord::varying::{Varying, find};
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::RowsOut;
use crate::memory::room::Room;
use crate::storage::mode::Mode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{Tensor, TensorSpec};

/// Records to count at once.
const COUNTED: u64 = 4096;

/// The values of all rows.
#[derive(Debug)]
struct Values {
    records: Arc<Records>,
    feature: Varying,
    item: [TensorSpec; 1],
    /// Start of each record's row, and the end of the last.
    splits: Tensor,
}

/// A part of a record's row, and the slot of its first item.
struct Part {
    start: usize,
    len: usize,
    slot: usize,
}

impl Values {
    fn splits(&self) -> &[i64] {
        self.splits.view::<i64>().ok().and_then(|splits| splits.as_slice()).unwrap_or_default()
    }

    /// The record of a value, and the value's number in its row.
    fn find(&self, index: u64) -> Result<(usize, usize)> {
        let splits = self.splits();
        let signed = i64::try_from(index).unwrap_or(i64::MAX);
        // The last row that starts here; those before it are empty.
        let record = splits.partition_point(|start| *start <= signed).saturating_sub(1);
        match splits.get(record..).unwrap_or_default() {
            [start, _, ..] => Ok((record, usize::try_from(signed - start).unwrap_or(usize::MAX))),
            _ => Err(no_row(index, self.rows()).into()),
        }
    }

    /// The parts of rows in these runs, and requests for their records.
    fn parts(&self, runs: &[RowRun]) -> Result<(Vec<RowRequest>, Vec<Part>)> {
        let (mut requests, mut parts) = (Vec::new(), Vec::new());
        requests.make_room(runs.len())?;
        parts.make_room(runs.len())?;
        for run in runs {
            let mut done = 0;
            while done < run.len {
                let (record, start) = self.find(run.index.saturating_add(done as u64))?;
                let end = self.splits()[record + 1] - self.splits()[record];
                let left = usize::try_from(end).unwrap_or(usize::MAX) - start;
                let len = left.min(run.len - done);
                requests.push(RowRequest { index: record as u64, slot: parts.len() });
                parts.push(Part { start, len, slot: run.slot + done });
                done += len;
            }
        }
        Ok((requests, parts))
    }
}

impl RowSource for Values {
    fn columns(&self) -> &[TensorSpec] {
        &self.item
    }

    fn rows(&self) -> u64 {
        self.splits().last().map_or(0, |end| end.unsigned_abs())
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(out) = out.first_mut() else { return Ok(()) };
        requests.sort_unstable_by_key(|request| request.slot);
        let mut runs: Vec<RowRun> = Vec::new();
        for request in requests.iter() {
            match runs.last_mut() {
                Some(run)
                    if run.index + run.len as u64 == request.index
                        && run.slot + run.len == request.slot =>
                {
                    run.len += 1;
                }
                _ => runs.push(RowRun { index: request.index, slot: request.slot, len: 1 }),
            }
        }
        self.read_runs(0, &runs, out.reborrow(), cancel)
    }

    fn read_runs(
        &self,
        _column: usize,
        runs: &[RowRun],
        out: RowsOut<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let (requests, parts) = self.parts(runs)?;
        self.records.each(&requests, cancel, |asked, record| {
            let Part { start, len, slot } = parts[asked.slot];
            let out = &mut out.bytes[slot * out.row..(slot + len) * out.row];
            self.feature
                .read(record, start..start + len, out)
                .map_err(|wrong| in_record(wrong, asked.record, asked.start))
        })
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        self.records.place(self.find(row).ok()?.0 as u64)
    }
}

/// The rows of each of these features. Reads all records.
///
/// # Errors
/// Errors of reading; the first record that lacks a feature without a default, or holds other
/// values, by file and number; [`CoreError::SizeOverflow`]; [`Error::Interrupted`].
pub(super) fn measured(
    records: &Arc<Records>,
    features: Vec<Varying>,
    mode: Mode,
    paths: &Arc<[PathBuf]>,
    cancel: &CancelToken,
) -> Result<Vec<(String, RaggedArray)>> {
    let splits = splits(records, &features, cancel)?;
    let rows = |(feature, splits): (Varying, Vec<i64>)| {
        let (name, len) = (feature.array.clone(), splits.len());
        let splits = Tensor::from_vec(splits, &[len])?;
        let item = [feature.item.clone()];
        let records = Arc::clone(records);
        let source = Arc::new(Values { records, feature, item, splits: splits.clone() });
        let values = Array::new(source, 0, false, mode, Arc::clone(paths))?;
        Ok((name, RaggedArray::new(values, splits)))
    };
    features.into_iter().zip(splits).map(rows).collect()
}

/// For each feature, the start of each record's row, and the end of the last.
fn splits(records: &Records, asked: &[Varying], cancel: &CancelToken) -> Result<Vec<Vec<i64>>> {
    let count = usize::try_from(records.rows()).unwrap_or(usize::MAX);
    let mut all = Vec::with_capacity(asked.len());
    for _ in asked {
        let mut splits = Vec::new();
        splits.make_room(count.saturating_add(1))?;
        splits.push(0_i64);
        all.push(splits);
    }
    let mut requests = Vec::new();
    for first in (0..records.rows()).step_by(usize::try_from(COUNTED).unwrap_or(1)) {
        let last = records.rows().min(first + COUNTED);
        requests.clear();
        requests.extend((first..last).map(|index| RowRequest { index, slot: 0 }));
        records.each(&requests, cancel, |at, record| {
            let wrong = |wrong| in_record(wrong, at.record, at.start);
            let found = find(record, asked).map_err(wrong)?;
            for ((feature, splits), found) in asked.iter().zip(&mut all).zip(found) {
                let len = feature.len(found).map_err(wrong)?;
                splits.push(next(splits, len)?);
            }
            Ok(())
        })?;
    }
    Ok(all)
}

/// The end of a row of `len` items after the others.
fn next(splits: &[i64], len: usize) -> Result<i64> {
    let end = splits.last().copied().unwrap_or(0);
    let too_large = || {
        Error::Core(CoreError::SizeOverflow { shape: [usize::MAX].as_slice().into(), itemsize: 0 })
    };
    i64::try_from(len).ok().and_then(|len| end.checked_add(len)).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::file_format::{FeatureSpec, OpenOptions};
    use crate::format::tfrecord::index::frame;
    use crate::format::tfrecord::wire::{reserve, varint};
    use crate::open::open_with;
    use tensorferry_core::{DType, Shape};

    /// An Example with a list of numbers and a byte string. `None` leaves the numbers out.
    fn example(numbers: Option<&[i64]>, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        reserve(&mut out, 1, |all| {
            if let Some(numbers) = numbers {
                reserve(all, 1, |entry| {
                    reserve(entry, 1, |name| name.extend_from_slice(b"x"));
                    reserve(entry, 2, |feature| {
                        reserve(feature, 3, |list| {
                            reserve(list, 1, |packed| {
                                numbers
                                    .iter()
                                    .for_each(|number| varint(number.cast_unsigned(), packed));
                            });
                        });
                    });
                });
            }
            reserve(all, 1, |entry| {
                reserve(entry, 1, |name| name.extend_from_slice(b"s"));
                reserve(entry, 2, |feature| {
                    reserve(feature, 1, |list| {
                        reserve(list, 1, |string| string.extend_from_slice(bytes));
                    });
                });
            });
        });
        out
    }

    fn spec(dtype: DType, default: Option<Tensor>) -> Option<FeatureSpec> {
        let spec = TensorSpec::new(dtype, Shape::new([None]));
        Some(FeatureSpec { default, ..FeatureSpec::from(spec) })
    }

    fn numbers(tensor: &Tensor) -> Vec<i64> {
        tensor.view::<i64>().unwrap().iter().collect()
    }

    #[test]
    fn values_in_any_order_are_those_of_the_rows() {
        let directory = tempfile::tempdir().unwrap();
        let mut expected: Vec<Vec<i64>> = Vec::new();
        for part in 0..2_i64 {
            let mut file = Vec::new();
            for at in part * 40..part * 40 + 40 {
                let row: Vec<i64> = (0..at % 6).map(|value| at * 1_000_003 - value * at).collect();
                let record = example((at % 7 > 0).then_some(&row), &vec![7; row.len()]);
                frame(&record, &mut file);
                expected.push(if at % 7 > 0 { row } else { vec![-1, -2] });
            }
            std::fs::write(directory.path().join(format!("{part}.tfrecord")), file).unwrap();
        }
        let flat = expected.concat();
        let default = Tensor::from_vec(vec![-1_i64, -2], &[2]).unwrap();
        for mode in [Mode::Map, Mode::Read, Mode::Direct] {
            let features = vec![
                ("x".to_owned(), spec(DType::Int64, Some(default.clone()))),
                ("s".to_owned(), spec(DType::UInt8, None)),
            ];
            let options = OpenOptions { mode, features, ..OpenOptions::default() };
            let arrays = open_with(&[directory.path().join("*.tfrecord")], &options).unwrap();
            let arrays = arrays.arrays().unwrap();
            let [(_, rows), (_, strings)] = arrays.ragged() else { panic!("two features") };
            assert_eq!(rows.len(), expected.len());
            assert_eq!(strings.values().read().unwrap().as_view().as_bytes().unwrap()[0], 7);
            let splits = numbers(rows.row_splits());
            for (row, ends) in expected.iter().zip(splits.windows(2)) {
                let (start, len) = (usize::try_from(ends[0]).unwrap(), ends[1] - ends[0]);
                let read = rows.values().slice(start, usize::try_from(len).unwrap()).unwrap();
                assert_eq!(numbers(&read), *row);
            }
            let mixed: Vec<usize> = (0..300).map(|at| at * 7919 % flat.len()).collect();
            let read = numbers(&rows.values().rows(&mixed).unwrap());
            assert_eq!(read, mixed.iter().map(|at| flat[*at]).collect::<Vec<_>>());
            assert!(rows.values().rows(&[flat.len()]).is_err());
            let (path, record) = rows.values().file_of(flat.len() - 1).unwrap();
            assert!(path.ends_with("1.tfrecord") && record == 39);
        }
    }

    #[test]
    fn a_cancelled_count_is_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tfrecord");
        let mut file = Vec::new();
        frame(&example(Some(&[1]), b"a"), &mut file);
        std::fs::write(&path, file).unwrap();
        let cancel = CancelToken::default();
        cancel.cancel();
        let features = vec![("x".to_owned(), spec(DType::Int64, None))];
        let options = OpenOptions { features, cancel, ..OpenOptions::default() };
        assert_eq!(open_with(&[path], &options).unwrap_err().code(), "interrupted");
    }
}
