//! Arrays in another dtype, converted on reading.

use crate::array::array::Array;
use crate::array::row_source::{RowRun, RowSource};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::gather::request::RowRequest;
use crate::gather::request::run;
use crate::gather::rows_out::RowsOut;
use crate::memory::pool;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::TensorSpec;
use tensorferry_core::convert_into;
use tensorferry_core::{ByteOrder, Casting, DType, Index, Tensor, View, ViewMut};

/// Bytes of rows to read before converting them: few enough to stay in a cache.
const BLOCK: usize = 1 << 20;

/// The rows of another array in another dtype.
#[derive(Debug)]
struct Cast {
    from: Array,
    spec: [TensorSpec; 1],
    casting: Casting,
}

impl Array {
    /// The same array in another dtype. Reads nothing: elements are converted when they are read.
    ///
    /// ```
    /// use tensorferry_core::{Casting, DType, Tensor};
    /// use tensorferry_io::{Mode, open, save, save_npy};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let [wide, narrow] = ["wide.npy", "narrow.npy"].map(|name| directory.path().join(name));
    /// save_npy(&wide, &Tensor::from_vec(vec![3_i64, 300], &[2])?.as_view())?;
    /// let labels = open(&wide)?.array()?;
    /// save(&narrow, &labels.cast(DType::UInt16, Casting::Checked)?, None)?;
    /// assert_eq!(open(&narrow)?.array()?.nbytes(), 4);
    ///
    /// let error = save(&narrow, &labels.cast(DType::UInt8, Casting::Checked)?, None).unwrap_err();
    /// let expected = "wide.npy: int64 -> uint8: not all values fit (first: [1] = 300";
    /// assert!(error.to_string().contains(expected));
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`tensorferry_core::Error::CastNotDefined`]. Reading a value that does not fit gives
    /// [`tensorferry_core::Error::ValuesDoNotFit`], with the index in the whole array. It has no
    /// count, because only some values are checked (see [`Array::check_values`]). It is wrapped in
    /// [`Error::InFile`] and, for one of several files, in [`Error::AtRow`].
    pub fn cast(&self, dtype: DType, casting: Casting) -> Result<Self> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        if !casting.is_defined(self.dtype(), dtype) {
            return Err(Error::Core(CoreError::CastNotDefined {
                from: self.dtype(),
                to: dtype,
                casting,
            }));
        }
        let (source, column) = self.source();
        let spec = [TensorSpec::new(dtype, source.columns()[column].shape.clone())];
        let cast = self.over(Arc::new(Cast { from: self.clone(), spec, casting }))?;
        Ok(cast.converted_from(self, casting))
    }
}

/// Removes the count from a misfit that was found in only some rows.
pub(crate) fn uncounted(mut error: CoreError) -> Error {
    if let CoreError::ValuesDoNotFit(misfits) = &mut error {
        (misfits.count, misfits.total) = (0, 0);
    }
    error.into()
}

impl Cast {
    /// Converts rows that are consecutive in the source and in `out`.
    fn convert(&self, rows: &View<'_>, first: u64, out: &mut [u8]) -> Result<()> {
        let mut out = ViewMut::from_bytes(self.spec[0].dtype, out, rows.layout().shape())?;
        convert_into(rows, &mut out, self.casting)
            .map_err(|error| self.from.misfit_in(first, uncounted(error)))
    }

    /// Zero-copy rows starting at `start`, in any byte order and with any strides.
    fn lying(&self, start: u64, len: usize) -> Option<Tensor> {
        let (source, column) = self.from.source();
        if let Some(shared) = source.share(column, start, len) {
            return Some(shared);
        }
        source
            .tensor(column)?
            .index(&[Index::Slice { start: usize::try_from(start).ok()?, step: 1, len }])
            .ok()
    }
}

impl RowSource for Cast {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.from.source().0.rows()
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(RowsOut { bytes, row: out_row }) = out.first_mut() else { return Ok(()) };
        let (source, column) = self.from.source();
        let (dtype, dims) = (self.from.dtype(), self.spec[0].shape.as_fixed().unwrap_or_default());
        let row = dims.iter().product::<usize>() * dtype.size();
        if row == 0 {
            return Ok(());
        }
        requests.sort_unstable_by_key(|request| request.slot);
        let most = (BLOCK / row).max(1);
        let mut block = None;
        let mut rest = &*requests;
        while let Some(first) = rest.first() {
            cancel.check()?;
            let len = run(rest);
            if let Some(rows) = self.lying(first.index, len) {
                self.convert(
                    &rows.as_view(),
                    first.index,
                    &mut bytes[first.slot * *out_row..(first.slot + len) * *out_row],
                )?;
                rest = &rest[len..];
                continue;
            }
            let (now, later) = rest.split_at(most.min(rest.len()));
            let block = match &mut block {
                Some(block) => block,
                none => none.insert(pool::take(now.len() * row)?),
            };
            let read = &mut block.as_mut_slice()[..now.len() * row];
            let mut asked: Vec<RowRequest> = now
                .iter()
                .enumerate()
                .map(|(slot, request)| RowRequest { index: request.index, slot })
                .collect();
            source.read_rows(&[column], &mut asked, &mut [RowsOut { bytes: read, row }], cancel)?;
            let (mut left, mut read) = (now, &*read);
            while let Some(first) = left.first() {
                let len = run(left);
                let (rows, others) = read.split_at(len * row);
                let shape: Vec<usize> = std::iter::once(len).chain(dims.iter().copied()).collect();
                let rows = View::from_bytes(dtype, ByteOrder::Native, rows, &shape)?;
                self.convert(
                    &rows,
                    first.index,
                    &mut bytes[first.slot * *out_row..(first.slot + len) * *out_row],
                )?;
                (left, read) = (&left[len..], others);
            }
            rest = later;
        }
        Ok(())
    }

    fn read_runs(
        &self,
        _column: usize,
        runs: &[RowRun],
        out: RowsOut<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let (source, column) = self.from.source();
        let (dtype, dims) = (self.from.dtype(), self.spec[0].shape.as_fixed().unwrap_or_default());
        let row = dims.iter().product::<usize>() * dtype.size();
        if row == 0 {
            return Ok(());
        }
        let most = (BLOCK / row).max(1);
        // The runs, divided into pieces that fit in a block.
        let cut = runs.iter().flat_map(|run| {
            (0..run.len)
                .step_by(most)
                .map(|done| (run.index + done as u64, run.slot + done, most.min(run.len - done)))
        });
        let mut cut = cut.peekable();
        while cut.peek().is_some() {
            cancel.check()?;
            let (mut asked, mut places, mut total) = (Vec::new(), Vec::new(), 0);
            while let Some((index, slot, len)) =
                cut.next_if(|(_, _, len)| total == 0 || total + len <= most)
            {
                asked.push(RowRun { index, slot: total, len });
                places.push(slot);
                total += len;
            }
            let mut block = pool::take(total * row)?;
            source.read_runs(
                column,
                &asked,
                RowsOut { bytes: block.as_mut_slice(), row },
                cancel,
            )?;
            for (run, slot) in asked.iter().zip(places) {
                let shape: Vec<usize> =
                    std::iter::once(run.len).chain(dims.iter().copied()).collect();
                let read = &block.as_mut_slice()[run.slot * row..(run.slot + run.len) * row];
                let rows = View::from_bytes(dtype, ByteOrder::Native, read, &shape)?;
                self.convert(
                    &rows,
                    run.index,
                    &mut out.bytes[slot * out.row..(slot + run.len) * out.row],
                )?;
            }
        }
        Ok(())
    }

    fn is_sequential(&self) -> bool {
        self.from.source().0.is_sequential()
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        self.from.source().0.place(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::convert;
    use crate::format::npy::save_npy;
    use crate::open::open_raw;
    use crate::open::open_with;
    use crate::storage::mode::Mode;
    use tensorferry_core::Layout;

    fn bytes(tensor: &Tensor) -> Vec<u8> {
        convert(&tensor.as_view(), tensor.dtype(), Casting::Checked)
            .unwrap()
            .as_view()
            .as_bytes()
            .unwrap()
            .to_vec()
    }

    /// The numbers 0..n * 3 as `n` rows in three files, the middle one column-major.
    fn files(directory: &tempfile::TempDir, n: i32) -> std::path::PathBuf {
        let mut start = 0;
        for (name, rows) in [("0.npy", n / 4), ("1.npy", n / 2), ("2.npy", n - n / 4 - n / 2)] {
            let count = usize::try_from(rows).unwrap();
            let values: Vec<i32> = (start..start + rows * 3).collect();
            let tensor = Tensor::from_vec(values.clone(), &[count, 3]).unwrap();
            let turned: Vec<i32> = (0..3)
                .flat_map(|column| (0..count).map(move |row| row * 3 + column))
                .map(|at| values[at])
                .collect();
            let turned = Tensor::from_vec(turned, &[count * 3]).unwrap();
            let layout = Layout::fortran(&[count, 3], 4).unwrap();
            let turned =
                Tensor::new(DType::Int32, ByteOrder::Native, layout, turned.buffer().clone(), 0)
                    .unwrap();
            save_npy(
                directory.path().join(name),
                &if name == "1.npy" { turned.as_view() } else { tensor.as_view() },
            )
            .unwrap();
            start += rows * 3;
        }
        directory.path().join("*.npy")
    }

    #[test]
    fn rows_in_any_order_are_those_of_the_whole_converted_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let n = 4 * BLOCK / 12 / 3; // several blocks
        let pattern = files(&directory, i32::try_from(n).unwrap());
        for mode in [Mode::Map, Mode::Read] {
            let whole = open_with(&[&pattern], &mode.into()).unwrap().array().unwrap();
            let cast = whole.cast(DType::Float64, Casting::Checked).unwrap();
            let expected =
                convert(&whole.read().unwrap().as_view(), DType::Float64, Casting::Checked)
                    .unwrap();
            assert_eq!((cast.dtype(), cast.shape()), (DType::Float64, &[n, 3][..]));
            assert_eq!(bytes(&cast.read().unwrap()), bytes(&expected));
            let indices: Vec<usize> =
                (0..n).map(|i| if i % 100 < 50 { i } else { i * 7919 % n }).collect();
            let rows = bytes(&cast.rows(&indices).unwrap());
            let all = bytes(&expected);
            assert!(
                indices.iter().zip(rows.chunks(24)).all(|(&at, row)| row == &all[at * 24..][..24]),
                "{mode}"
            );
            let chunked = cast
                .in_chunks_of(1000)
                .chunks()
                .flat_map(|rows| bytes(&rows.unwrap()))
                .collect::<Vec<u8>>();
            assert!(chunked == all);
        }
    }

    #[test]
    fn a_misfit_is_named_with_its_index_its_file_and_its_row_there() {
        let directory = tempfile::tempdir().unwrap();
        let pattern = files(&directory, 2000);
        for mode in [Mode::Map, Mode::Read] {
            let whole = open_with(&[&pattern], &mode.into()).unwrap().array().unwrap();
            let cast = whole.cast(DType::Int8, Casting::Checked).unwrap();
            let said = cast.slice(0, 2000).unwrap_err().to_string();
            let first = "0.npy: row 42: int32 -> int8: not all values fit ";
            assert!(said.contains(first) && said.contains("(first: [42, 2] = 128;"), "{said}");
            let said = cast.rows(&[3, 1600, 1]).unwrap_err().to_string();
            assert!(
                said.contains("2.npy: row 100: ") && said.contains("(first: [1600, 0] = 4800;"),
                "{said}"
            );
            let said = cast.part(1500, 10).unwrap().slice(2, 1).unwrap_err().to_string();
            assert!(
                said.contains("2.npy: row 2: ") && said.contains("(first: [1502, 0] = 4506;"),
                "{said}"
            );
            let said = whole.convert(DType::Int8, Casting::Checked).unwrap_err().to_string();
            assert!(
                said.contains(
                    "0.npy: row 42: int32 -> int8: 5872 of 6000 values do not fit \
                (first: [42, 2] = 128;"
                ),
                "{said}"
            );
            assert_eq!(
                cast.check_values().unwrap_err().to_string(),
                said,
                "as converting all of it says"
            );
            assert_eq!(cast.in_chunks_of(1000).check_values().unwrap_err().to_string(), said);
            let twice = whole
                .cast(DType::Float32, Casting::Checked)
                .unwrap()
                .cast(DType::Int8, Casting::Checked)
                .unwrap();
            let said = twice.check_values().unwrap_err().to_string();
            assert!(
                said.contains("0.npy: row 42: float32 -> int8: 5872 of 6000 values do not fit "),
                "{said}"
            );
            let saturated = whole.cast(DType::Int8, Casting::Saturate).unwrap();
            assert!(whole.check_values().is_ok() && saturated.check_values().is_ok());
            let cancel = CancelToken::default();
            cancel.cancel();
            assert!(matches!(cast.cancelled_by(&cancel).check_values(), Err(Error::Interrupted)));
            assert_eq!(bytes(&cast.rows(&[1, 0]).unwrap()), [3, 4, 5, 0, 1, 2]);
            assert_eq!(
                bytes(&whole.cast(DType::Int8, Casting::Saturate).unwrap().slice(999, 1).unwrap()),
                [127; 3]
            );
        }
    }

    #[test]
    fn scalars_empty_rows_and_the_other_byte_order_are_cast() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        std::fs::write(&path, 300_u16.to_be_bytes()).unwrap();
        for mode in [Mode::Map, Mode::Read] {
            for (shape, index) in
                [(vec![], "[]"), (vec![Some(1)], "[0]"), (vec![Some(1), Some(1)], "[0, 0]")]
            {
                let order = if cfg!(target_endian = "little") {
                    ByteOrder::Swapped
                } else {
                    ByteOrder::Native
                };
                let raw = crate::format::file_format::Raw {
                    order,
                    shape: tensorferry_core::Shape::new(shape),
                    ..crate::format::file_format::Raw::new(DType::UInt16)
                };
                let array = open_raw(&[&path], &raw, mode).unwrap();
                assert_eq!(
                    bytes(&array.cast(DType::Int32, Casting::Checked).unwrap().read().unwrap()),
                    300_i32.to_ne_bytes()
                );
                for (error, count) in [
                    (
                        array.cast(DType::Int8, Casting::Checked).unwrap().read().unwrap_err(),
                        "not all values fit",
                    ),
                    (
                        array.convert(DType::Int8, Casting::Checked).unwrap_err(),
                        "1 of 1 value does not fit",
                    ),
                ] {
                    let said = error.to_string();
                    assert!(
                        said.contains(&format!(
                            "a.bin: uint16 -> int8: {count} (first: {index} = 300"
                        )),
                        "{said}"
                    );
                }
            }
        }
        let empty = Array::try_from(Tensor::from_vec(Vec::<i64>::new(), &[4, 0]).unwrap()).unwrap();
        assert_eq!(
            empty.cast(DType::Int8, Casting::Checked).unwrap().read().unwrap().shape(),
            [4, 0]
        );
        assert!(
            empty.cast(DType::Int64, Casting::Checked).unwrap().tensor().is_ok(),
            "the same dtype is the same array"
        );
        let complex = empty.cast(DType::Complex64, Casting::Checked).unwrap();
        assert_eq!(
            complex.cast(DType::Int8, Casting::Wrap).unwrap_err().code(),
            "cast_not_defined"
        );
    }
}
