//! Encodes `tf.train.Example`s, one per row of named arrays.

use crate::array::array::Array;
use crate::array::cast::uncounted;
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
}

struct Column<'a> {
    name: &'a str,
    array: &'a Array,
    list: List,
}

impl<'a> Examples<'a> {
    /// # Errors
    /// [`Error::Argument`] if the numbers of rows differ, or an array has no dimension;
    /// [`tensorferry_core::Error::UnsupportedDType`] for float64, which Examples would round, and
    /// for complex numbers.
    pub(crate) fn new(arrays: &[(&'a str, &'a Array)]) -> Result<Self> {
        let wrong = |what: String| Error::argument("save", what);
        let mut columns = Vec::with_capacity(arrays.len());
        for &(name, array) in arrays {
            if name.is_empty() {
                return Err(wrong("a feature of a tf.train.Example needs a name".into()));
            }
            if array.shape().is_empty() {
                return Err(wrong(format!(
                    "{name:?} has no dimension, and so no rows to make records of"
                )));
            }
            columns.push(Column { name, array, list: list(array)? });
        }
        let Some(rows) = columns.first().map(|column| column.array.len()) else {
            return Err(wrong("records without features: no arrays were given".into()));
        };
        if let Some(other) = columns.iter().find(|column| column.array.len() != rows) {
            let (a, b) = (columns[0].name, other.name);
            return Err(wrong(format!(
                "{a:?} has {rows} rows, {b:?} has {}: a record is a row of each",
                other.array.len()
            )));
        }
        columns.sort_by_key(|column| column.name);
        Ok(Self { columns, rows })
    }

    /// Writes all records.
    pub(crate) fn write(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let row: usize = self.columns.iter().map(|column| column.nbytes() / self.rows.max(1)).sum();
        let together = self.columns.iter().map(|column| column.array.chunk()).min().unwrap_or(0);
        let step = (together / row.max(1)).max(1);
        let (mut record, mut out, shapes) = (Vec::new(), Vec::new(), self.shapes());
        for start in (0..self.rows).step_by(step) {
            let len = step.min(self.rows - start);
            let read = |column: &Column<'_>| column.values(start, len);
            let parts = self.columns.iter().map(read).collect::<Result<Vec<Tensor>>>()?;
            out.clear();
            for at in 0..len {
                record.clear();
                self.example(&parts, at, len, &mut record);
                record.extend_from_slice(&shapes);
                frame(&record, &mut out);
            }
            write(&out)?;
        }
        Ok(())
    }

    /// The extra field of a record with the shapes of multi-dimensional features.
    fn shapes(&self) -> Vec<u8> {
        let mut shapes = Vec::new();
        for column in &self.columns {
            let row = column.array.shape().get(1..).unwrap_or_default();
            if row.len() < 2 {
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
    fn example(&self, parts: &[Tensor], at: usize, len: usize, out: &mut Vec<u8>) {
        reserve(out, 1, |out| {
            for (column, part) in self.columns.iter().zip(parts) {
                let view = part.as_view();
                let bytes = view.as_bytes().unwrap_or_default();
                let size = bytes.len() / len;
                let row = &bytes[at * size..(at + 1) * size];
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

impl Column<'_> {
    /// Number of bytes of all rows in the dtype of their list.
    fn nbytes(&self) -> usize {
        (self.array.nbytes() / self.array.dtype().size()).saturating_mul(self.list.dtype().size())
    }

    /// Rows, converted to the dtype of their list.
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
