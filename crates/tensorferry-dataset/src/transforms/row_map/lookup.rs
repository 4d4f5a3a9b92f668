//! `lookup`: replaces indices by rows of a table.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::shuffle::prng::mix;
use crate::stage::Dataset;
use crate::transforms::row_map::positions::{for_each, for_each_part};
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, select};
use crate::transforms::row_map::stage::row_mapped;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorferry_core::convert::rows::take;
use tensorferry_core::{DType, Dims, Shape, Tensor, TensorSpec};
use tensorferry_io::array::array::Array;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, normalise_bools, packed};

struct Lookup {
    table: Table,
    /// 0 until computed. Not a `OnceLock`: after a fork, the child could wait for a thread that
    /// does not exist there.
    hash: AtomicU64,
    which: Option<Vec<bool>>,
    from: Vec<Option<DType>>,
}

/// Where the rows are stored.
#[derive(Clone)]
enum Table {
    /// A packed tensor with at least one dimension.
    Memory(Tensor),
    /// An array in files. Each gather reads the rows that it needs.
    Opened(Array),
}

/// Tables in files of up to this many bytes are read once and kept in memory.
const HELD: usize = 64 << 20;
/// Bytes to hash at each end of a larger table.
const ENDS: usize = 1 << 20;

impl Table {
    fn dtype(&self) -> DType {
        match self {
            Self::Memory(table) => table.dtype(),
            Self::Opened(table) => table.dtype(),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Memory(table) => table.shape(),
            Self::Opened(table) => table.shape(),
        }
    }

    /// A hash that identifies the table in a plan's description.
    fn hash(&self) -> u64 {
        match self {
            Self::Memory(table) => hash(table.as_view().as_bytes().unwrap_or_default()),
            Self::Opened(table) => {
                let (rows, row) = (table.len(), table.nbytes() / table.len().max(1));
                let few = (ENDS / row.max(1)).clamp(1, rows.max(1)).min(rows);
                let end = |start| {
                    table
                        .slice(start, few)
                        .ok()
                        .and_then(|rows| Some(hash(rows.as_view().as_bytes()?)))
                };
                mix(end(0).unwrap_or(0) ^ mix(end(rows - few).unwrap_or(0)))
            }
        }
    }
}

impl Dataset {
    /// Replaces each integer by the row of `table` at that index. Integers of shape `[a, b]` and a
    /// table of shape `[n, c]` give elements of shape `[a, b, c]`, of the table's dtype.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let codes = Tensor::from_vec(vec![2_u8, 0, 1, 1], &[2, 2])?;
    /// let table = Tensor::from_vec(vec![10_i64, 20, 30], &[3])?;
    /// let dataset = Dataset::from_tensor_slices([codes])?.lookup(table, None)?;
    /// assert_eq!(dataset.get(0)?[0].tensor()?.view::<i64>()?.as_slice(), Some(&[30, 10][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// Without `which`, all components change. An index out of bounds, including any negative one,
    /// is an error when its element is computed.
    ///
    /// # Errors
    /// [`Error::Argument`] if the table is a scalar, if a component to change does not hold
    /// integers, or if the length of `which` differs from the number of components.
    pub fn lookup(&self, table: Tensor, which: Option<&[bool]>) -> Result<Self> {
        self.lookup_in(Table::Memory(packed(&table)?), which)
    }

    /// As [`Dataset::lookup`], with an opened array. A table of up to 64 MiB is read once. Rows of
    /// a larger one are read when they are needed.
    ///
    /// # Errors
    /// As [`Dataset::lookup`]; errors of reading.
    pub fn lookup_rows(&self, table: &Array, which: Option<&[bool]>) -> Result<Self> {
        if table.nbytes() <= HELD || table.tensor().is_ok() {
            return self.lookup(table.read()?, which);
        }
        self.lookup_in(Table::Opened(table.clone()), which)
    }

    fn lookup_in(&self, table: Table, which: Option<&[bool]>) -> Result<Self> {
        let Some((_, row)) = table.shape().split_first() else {
            return Err(Error::Argument {
                stage: "lookup",
                what: "the table is a scalar, which has no rows".into(),
            });
        };
        let changes = select(
            self,
            "lookup",
            which,
            |_| Ok(true),
            |spec| {
                if !spec.dtype.is_integer() {
                    return Err(Obstacle::optional(
                        "row numbers have to be integers. Cast it first.",
                    ));
                }
                let dims = spec.shape.dims().map(|dims| {
                    Shape::new(dims.iter().copied().chain(row.iter().copied().map(Some)))
                });
                Ok(TensorSpec::new(table.dtype(), dims.unwrap_or_else(Shape::unknown)))
            },
        )?;
        let from = self.spec().iter().map(|part| part.tensor().map(|spec| spec.dtype)).collect();
        let map =
            Lookup { table, hash: AtomicU64::new(0), which: which.map(<[bool]>::to_vec), from };
        Ok(row_mapped(self, map, changes))
    }
}

/// A hash for plan descriptions, equal in every version.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = mix(bytes.len() as u64 ^ 0x7461_626c_6521);
    words.iter().chain([&last]).fold(start, |hash, word| mix(hash ^ u64::from_le_bytes(*word)))
}

/// Copies rows of a size known at compile time.
fn copy_rows<const N: usize>(from: DType, rows: &[u8], table: &[u8], out: &mut [u8]) -> Result<()> {
    for_each_part(from, rows, table.len() / N, |first, positions| {
        // The positions are in the table, and `out` has a row for each.
        let taken = take::<N>(table, positions, &mut out[first * N..]);
        debug_assert!(taken);
        Ok(())
    })
}

impl RowMap for Lookup {
    fn stage(&self) -> &'static str {
        "lookup"
    }

    fn describe(&self) -> String {
        let mut hash = self.hash.load(Ordering::Relaxed);
        if hash == 0 {
            hash = self.table.hash();
            self.hash.store(hash, Ordering::Relaxed);
        }
        format!(
            "lookup({}{:?}, hash={hash:016x}{})",
            self.table.dtype(),
            self.table.shape(),
            chosen(self.which.as_deref())
        )
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        input.lookup_in(self.table.clone(), self.which.as_deref())
    }

    fn keeps_length(&self, _at: usize, _ndim: usize) -> bool {
        true
    }

    fn shape(&self, _at: usize, row: &[usize]) -> Result<Dims> {
        Ok(row.iter().chain(&self.table.shape()[1..]).copied().collect())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let Some(from) = self.from[at] else { return Ok(()) };
        let Block { rows, out, cancel, .. } = block;
        let len = self.table.shape()[0];
        let view = match &self.table {
            Table::Memory(table) => table.as_view(),
            Table::Opened(array) => {
                let mut requests = Vec::new();
                for_each(from, rows, len, |slot, row| {
                    requests.push(RowRequest { index: row as u64, slot })
                })?;
                let ((source, column), row) = (array.source(), array.nbytes() / len.max(1));
                source.read_rows(
                    &[column],
                    &mut requests,
                    &mut [RowsOut { bytes: &mut *out, row }],
                    cancel,
                )?;
                if array.dtype() == DType::Bool {
                    normalise_bools(out);
                }
                return Ok(());
            }
        };
        let table = view.as_bytes().unwrap_or_default();
        match table.len().checked_div(len).unwrap_or(0) {
            1 => copy_rows::<1>(from, rows, table, out),
            2 => copy_rows::<2>(from, rows, table, out),
            4 => copy_rows::<4>(from, rows, table, out),
            8 => copy_rows::<8>(from, rows, table, out),
            16 => copy_rows::<16>(from, rows, table, out),
            row => for_each(from, rows, len, |place, at| {
                out[place * row..(place + 1) * row]
                    .copy_from_slice(&table[at * row..(at + 1) * row]);
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers};
    use tensorferry_core::{Casting, Index};

    #[test]
    fn every_integer_dtype_finds_rows_of_every_size() {
        let numbers =
            Dataset::from_tensor_slices([small_numbers(DType::UInt8, &[5, 2, 3], 3)]).unwrap();
        for from in DType::ALL.into_iter().filter(|dtype| dtype.is_integer()) {
            let input = numbers.cast(&[Some(from)], Casting::Checked).unwrap();
            for shape in [&[100][..], &[100, 2], &[100, 3, 2], &[100, 0]] {
                for dtype in
                    [DType::UInt8, DType::Float16, DType::Float32, DType::Int64, DType::Complex128]
                {
                    let table = small_numbers(dtype, shape, 9);
                    let row = table.layout().nbytes() / 100;
                    let bytes = table.as_view().as_bytes().unwrap().to_vec();
                    let found = input.lookup(table, None).unwrap();
                    for (got, was) in elements(&found).iter().zip(elements(&numbers)) {
                        let expected: Vec<u8> = was[0]
                            .2
                            .iter()
                            .flat_map(|&at| bytes[usize::from(at) * row..][..row].to_vec())
                            .collect();
                        assert_eq!(got[0], (dtype, [&[2, 3][..], &shape[1..]].concat(), expected));
                    }
                }
            }
        }
    }

    #[test]
    fn a_number_of_no_row_is_an_error_at_its_element() {
        let input =
            Dataset::from_tensor_slices([Tensor::from_vec(vec![0_i8, 1, -1, 2], &[4]).unwrap()])
                .unwrap();
        let results = all_ways(
            &input.lookup(Tensor::from_vec(vec![5_i32, 6], &[2]).unwrap(), None).unwrap(),
            0,
        );
        assert_eq!(results[2], Err("lookup: element 2: -1 is not in 0..2".into()));
        assert_eq!(results[3], Err("lookup: element 3: 2 is not in 0..2".into()));
        let empty =
            input.lookup(Tensor::from_vec(Vec::<i32>::new(), &[0, 4]).unwrap(), None).unwrap();
        assert!(all_ways(&empty, 0).iter().all(|result| result.is_err()));
    }

    #[test]
    fn the_description_tells_tables_apart_and_not_how_they_lie_in_memory() {
        let input =
            Dataset::from_tensor_slices([Tensor::from_vec(vec![0_u8], &[1]).unwrap()]).unwrap();
        let described = |table: Tensor| input.lookup(table, None).unwrap().to_string();
        let table = Tensor::from_vec(vec![1_i32, 2, 3, 4], &[4]).unwrap();
        let backwards = Tensor::from_vec(vec![4_i32, 3, 2, 1], &[4]).unwrap();
        let turned = backwards.index(&[Index::Slice { start: 3, step: -1, len: 4 }]).unwrap();
        assert_eq!(described(table.clone()), described(turned));
        assert_ne!(described(table.clone()), described(backwards));
        assert!(described(table).ends_with(" | lookup(int32[4], hash=5097881da138a681)"));
    }

    #[test]
    fn refused_when_it_is_built() {
        let input = Dataset::from_tensor_slices([small_numbers(DType::Float32, &[2], 1)]).unwrap();
        let scalar = input.lookup(Tensor::from_vec(vec![1_u8], &[]).unwrap(), None).err().unwrap();
        assert_eq!(scalar.to_string(), "lookup: the table is a scalar, which has no rows");
        assert!(input.lookup(Tensor::from_vec(vec![1_u8], &[1]).unwrap(), None).is_err());
    }
}
