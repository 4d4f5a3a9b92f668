//! Encodes `tf.train.Example`s, one per row of named arrays.

use crate::array::array::Array;
use crate::array::cast::uncounted;
use crate::array::ragged::RaggedArray;
use crate::convert::convert;
use crate::error::{Error, Result};
use crate::format::tfrecord::index::frame;
use crate::format::tfrecord::wire::{List, SHAPES, reserve, varint};
use tensorferry_core::Error as CoreError;
use tensorferry_core::{Casting, DType, Kind, Tensor};

/// Rows to encode as Examples.
pub(crate) struct Examples<'a> {
    /// Sorted by name.
    columns: Vec<Column<'a>>,
    rows: usize,
    /// Bytes to encode at once.
    together: usize,
}

struct Column<'a> {
    name: &'a str,
    /// The rows, or the values of all rows.
    array: &'a Array,
    /// Where the values of each row begin, if rows differ in length, and the end of the last.
    splits: Option<&'a [i64]>,
    list: List,
}

/// The rows of a column that are encoded at once.
struct Part<'a> {
    values: Tensor,
    /// Values of a row.
    row: usize,
    /// Where the values of each row begin and the last ends, from `start` on.
    splits: Option<&'a [i64]>,
    start: usize,
}

impl<'a> Examples<'a> {
    /// Columns of equal rows, and of rows of different lengths: those of uint8 are byte strings.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers of rows differ, or an array has no dimension;
    /// [`tensorferry_core::Error::UnsupportedDType`] for float64, which Examples would round, and
    /// for complex numbers.
    pub(crate) fn new(
        arrays: &[(&'a str, &'a Array)],
        ragged: &'a [(&'a str, &'a RaggedArray)],
    ) -> Result<Self> {
        let wrong = |what: String| Error::argument("save", what);
        let mut columns = Vec::with_capacity(arrays.len() + ragged.len());
        for &(name, array) in arrays {
            if array.shape().is_empty() {
                return Err(wrong(format!(
                    "{name:?} has no dimension, and so no rows to make records of"
                )));
            }
            columns.push(Column { name, array, splits: None, list: list(array)? });
        }
        for (name, rows) in ragged {
            let array = rows.values();
            let strings = array.dtype() == DType::UInt8;
            let list = if strings { List::Bytes } else { list(array)? };
            columns.push(Column { name, array, splits: Some(rows.splits()?), list });
        }
        if columns.iter().any(|column| column.name.is_empty()) {
            return Err(wrong("a feature of a tf.train.Example needs a name".into()));
        }
        let Some(rows) = columns.first().map(Column::rows) else {
            return Err(wrong("records without features: no arrays were given".into()));
        };
        if let Some(other) = columns.iter().find(|column| column.rows() != rows) {
            let (a, b) = (columns[0].name, other.name);
            return Err(wrong(format!(
                "{a:?} has {rows} rows, {b:?} has {}: a record is a row of each",
                other.rows()
            )));
        }
        columns.sort_by_key(|column| column.name);
        let together = columns.iter().map(|column| column.array.chunk()).min().unwrap_or(0);
        Ok(Self { columns, rows, together })
    }

    /// Writes all records.
    pub(crate) fn write(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut record, mut out, shapes) = (Vec::new(), Vec::new(), self.shapes());
        let mut start = 0;
        while start < self.rows {
            let len = self.fitting(start);
            let read = |column: &Column<'a>| column.part(start, len);
            let parts = self.columns.iter().map(read).collect::<Result<Vec<Part<'_>>>>()?;
            out.clear();
            for at in 0..len {
                record.clear();
                self.example(&parts, at, &mut record);
                record.extend_from_slice(&shapes);
                frame(&record, &mut out);
            }
            write(&out)?;
            start += len;
        }
        Ok(())
    }

    /// Number of rows from `start` on to encode at once; at least 1.
    fn fitting(&self, start: usize) -> usize {
        let mut left = self.together;
        for at in start..self.rows {
            let row = self.columns.iter().map(|column| column.bytes_of(at)).sum();
            match left.checked_sub(row) {
                Some(rest) => left = rest,
                None => return (at - start).max(1),
            }
        }
        self.rows - start
    }

    /// The extra field of a record with the shapes of multi-dimensional features.
    fn shapes(&self) -> Vec<u8> {
        let mut shapes = Vec::new();
        for column in &self.columns {
            let row = column.array.shape().get(1..).unwrap_or_default();
            if row.len() < 2 || column.splits.is_some() {
                continue;
            }
            reserve(&mut shapes, 1, |out| {
                reserve(out, 1, |out| out.extend_from_slice(column.name.as_bytes()));
                reserve(out, 2, |out| row.iter().for_each(|dim| varint(*dim as u64, out)));
            });
        }
        if shapes.is_empty() {
            return shapes;
        }
        let mut field = Vec::with_capacity(shapes.len() + 8);
        varint(SHAPES << 3 | 2, &mut field);
        varint(shapes.len() as u64, &mut field);
        field.extend(shapes);
        field
    }

    /// Encodes a row as an Example.
    fn example(&self, parts: &[Part<'_>], at: usize, out: &mut Vec<u8>) {
        reserve(out, 1, |out| {
            for (column, part) in self.columns.iter().zip(parts) {
                let view = part.values.as_view();
                let (start, end) = part.ends(at);
                let size = part.values.dtype().size();
                let bytes = view.as_bytes().unwrap_or_default();
                let row = &bytes[start * size..end * size];
                reserve(out, 1, |out| {
                    reserve(out, 1, |out| out.extend_from_slice(column.name.as_bytes()));
                    reserve(out, 2, |out| {
                        reserve(out, column.list as u8, |out| values(column.list, row, out))
                    });
                });
            }
        });
    }
}

fn list(array: &Array) -> Result<List> {
    let dtype = array.dtype();
    match dtype.kind() {
        // Images and other bytes.
        Kind::Unsigned if dtype == DType::UInt8 && array.shape().len() > 1 => Ok(List::Bytes),
        Kind::Bool | Kind::Signed | Kind::Unsigned => Ok(List::Ints),
        Kind::Float if dtype != DType::Float64 => Ok(List::Floats),
        _ => {
            let descr = format!(
                "{dtype} (tf.train.Example holds float32, int64 and bytes; convert to float32 \
                first)"
            );
            Err(Error::Core(CoreError::UnsupportedDType { place: "tf.train.Example", descr }))
        }
    }
}

impl Part<'_> {
    /// The first value of a row, and the end of the last.
    fn ends(&self, at: usize) -> (usize, usize) {
        match self.splits {
            None => (at * self.row, (at + 1) * self.row),
            Some(splits) => {
                let end = |at: usize| usize::try_from(splits[at]).unwrap_or(0) - self.start;
                (end(at), end(at + 1))
            }
        }
    }
}

impl<'a> Column<'a> {
    fn rows(&self) -> usize {
        self.splits.map_or_else(|| self.array.len(), |splits| splits.len().saturating_sub(1))
    }

    /// Values of a row of the array.
    fn row(&self) -> usize {
        self.array.shape().iter().skip(1).product()
    }

    /// Values of the rows before this one.
    fn before(&self, row: usize) -> usize {
        match self.splits {
            None => row,
            Some(splits) => usize::try_from(splits[row]).unwrap_or(0),
        }
    }

    /// Number of bytes of a row in the dtype of its list.
    fn bytes_of(&self, row: usize) -> usize {
        let values = (self.before(row + 1) - self.before(row)).saturating_mul(self.row());
        values.saturating_mul(self.list.dtype().size())
    }

    /// Rows, converted to the dtype of their list.
    fn part(&self, start: usize, len: usize) -> Result<Part<'a>> {
        let (first, last) = (self.before(start), self.before(start + len));
        let (row, splits) = (self.row(), self.splits.map(|splits| &splits[start..=start + len]));
        Ok(Part { values: self.values(first, last - first)?, row, splits, start: first })
    }

    fn values(&self, start: usize, len: usize) -> Result<Tensor> {
        let rows = self.array.slice(start, len)?;
        let dtype = self.list.dtype();
        if rows.dtype() == dtype && rows.layout().is_c_contiguous() {
            return Ok(rows);
        }
        convert(&rows.as_view(), dtype, Casting::Checked)
            .map_err(|error| self.array.misfit_in(start as u64, uncounted(error)))
    }
}

/// Writes the field `value` of a list.
fn values(list: List, row: &[u8], out: &mut Vec<u8>) {
    reserve(out, 1, |out| match list {
        List::Bytes => out.extend_from_slice(row),
        List::Floats => row
            .as_chunks()
            .0
            .iter()
            .for_each(|value| out.extend(f32::from_ne_bytes(*value).to_le_bytes())),
        List::Ints => {
            row.as_chunks().0.iter().for_each(|value| varint(u64::from_ne_bytes(*value), out))
        }
    });
}
