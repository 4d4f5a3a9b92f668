//! Rows of a deflated archive member, inflated on request.
//!
//! # Rationale
//! A deflated stream can only be read from its start. So its blocks are inflated in order, and the
//! last few are kept. Threads that read the rows of adjacent batches find them there, in any order.
//!
//! # Limitations
//! Rows further back restart the stream. The checksum is compared when the last row is read.

use crate::array::row_source::RowSource;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::format::npz::member::{RowStream, ZipMember};
use crate::gather::byte_order::swap;
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::RowsOut;
use crate::memory::pool;
use crate::memory::pool::PoolBuffer;
use crate::sync::fork_safe::ForkSafe;
use std::collections::VecDeque;
use std::path::Path;
use tensorferry_core::ByteOrder;
use tensorferry_core::npy_header::Header;
use tensorferry_core::{Shape, TensorSpec};

/// Bytes to inflate at once, or one row.
const BLOCK: usize = 512 << 10;
/// Number of blocks to keep.
const KEPT: usize = 8;

#[derive(Debug)]
pub(crate) struct Inflating {
    member: ZipMember,
    header: Header,
    spec: [TensorSpec; 1],
    rows: u64,
    /// Bytes per row, and rows per block.
    row: usize,
    block: usize,
    state: ForkSafe<State>,
}

#[derive(Default)]
struct State {
    stream: Option<RowStream>,
    /// Index of the next block of the stream.
    next: u64,
    kept: VecDeque<(u64, PoolBuffer)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Inflating {
    /// The rows of a member, if it is deflated and its rows are contiguous.
    ///
    /// # Errors
    /// Errors of its header.
    pub(crate) fn new(member: &ZipMember) -> Result<Option<Self>> {
        if !member.is_deflated() {
            return Ok(None);
        }
        let (header, _) = member.rows()?;
        let Some((&rows, dims)) =
            header.layout.shape().split_first().filter(|_| header.layout.is_c_contiguous())
        else {
            return Ok(None);
        };
        let row = dims.iter().product::<usize>() * header.dtype.size();
        let spec = [TensorSpec::new(header.dtype, Shape::fixed(dims))];
        let (rows, block) = (rows as u64, BLOCK.checked_div(row).unwrap_or(1).max(1));
        let state = ForkSafe::default();
        Ok(Some(Self { member: member.clone(), header, spec, rows, row, block, state }))
    }

    fn fill(
        &self,
        requests: &[RowRequest],
        out: &mut RowsOut<'_>,
        state: &mut State,
        cancel: &CancelToken,
    ) -> Result<()> {
        for request in requests {
            cancel.check()?;
            if request.index >= self.rows {
                return Err(no_row(request.index, self.rows).into());
            }
            let at = request.index / self.block as u64;
            let start = usize::try_from(request.index % self.block as u64).unwrap_or(0) * self.row;
            let bytes = self.block(at, state)?;
            out.slot(request.slot).copy_from_slice(&bytes[start..start + self.row]);
        }
        Ok(())
    }

    /// The bytes of a block.
    fn block<'a>(&self, at: u64, state: &'a mut State) -> Result<&'a [u8]> {
        let blocks = self.rows.div_ceil(self.block as u64);
        let place = loop {
            if let Some(place) = state.kept.iter().position(|(kept, _)| *kept == at) {
                break place;
            }
            let (mut stream, next) = match state.stream.take() {
                Some(stream) if state.next <= at => (stream, state.next),
                _ => (self.member.rows()?.1, 0),
            };
            let rows = (self.rows - next * self.block as u64).min(self.block as u64);
            let mut bytes = pool::take(usize::try_from(rows).unwrap_or(usize::MAX) * self.row)?;
            stream.fill(bytes.as_mut_slice())?;
            if self.header.order == ByteOrder::Swapped {
                swap(self.header.dtype, bytes.as_mut_slice());
            }
            state.next = next + 1;
            if state.next == blocks {
                stream.finish()?
            } else {
                state.stream = Some(stream)
            }
            if state.kept.len() == KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back((next, bytes));
        };
        Ok(state.kept.get_mut(place).map(|(_, bytes)| &*bytes.as_mut_slice()).unwrap_or_default())
    }
}

impl RowSource for Inflating {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(out) = out.first_mut().filter(|_| self.row > 0) else { return Ok(()) };
        requests.sort_unstable_by_key(|request| request.index);
        self.fill(requests, out, &mut self.state.lock(), cancel)
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        (row < self.rows).then(|| (self.member.file(), row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::array::Array;
    use crate::format::file_format::{OpenOptions, Opened};
    use crate::open::open_with;
    use std::io::Write;
    use std::path::PathBuf;
    use tensorferry_core::{DType, Tensor, npy_header};
    use zip::CompressionMethod::{Deflated, Stored};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// The numbers from `start` on as `rows` rows of five, in an archive.
    fn archive(
        path: &Path,
        start: i64,
        rows: usize,
        order: ByteOrder,
        method: zip::CompressionMethod,
    ) {
        let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
        zip.start_file("x.npy", SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(&npy_header::write(DType::Int64, order, &[rows, 5], false).unwrap()).unwrap();
        for value in start..start + i64::try_from(rows * 5).unwrap() {
            let native = if order == ByteOrder::Native { value } else { value.swap_bytes() };
            zip.write_all(&native.to_ne_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn opened(paths: &[PathBuf], memory_limit: usize) -> crate::error::Result<Array> {
        match open_with(
            paths,
            &OpenOptions { memory_limit: Some(memory_limit), ..OpenOptions::default() },
        )? {
            Opened::Arrays(arrays) => arrays.get("x"),
            Opened::Array(array) => Ok(array),
        }
    }

    fn numbers(tensor: &Tensor) -> Vec<i64> {
        tensor.view::<i64>().unwrap().iter().collect()
    }

    #[test]
    fn rows_in_any_order_and_by_many_threads_are_those_of_the_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let rows = 20 * BLOCK / 40 + 7; // more than are kept
        for order in [ByteOrder::Native, ByteOrder::Swapped] {
            archive(&path, 0, rows, order, Deflated);
            let (array, whole) = (
                opened(std::slice::from_ref(&path), 1).unwrap(),
                opened(std::slice::from_ref(&path), usize::MAX).unwrap(),
            );
            assert!(array.tensor().is_err() && whole.tensor().is_ok());
            assert_eq!((array.shape(), array.dtype()), (&[rows, 5][..], DType::Int64));
            let all: Vec<i64> = (0..i64::try_from(rows * 5).unwrap()).collect();
            assert!(numbers(&array.read().unwrap()) == all);
            let mixed: Vec<usize> = (0..50).map(|at| at * 7919 % rows).collect();
            assert_eq!(
                numbers(&array.rows(&mixed).unwrap()),
                numbers(&whole.rows(&mixed).unwrap())
            );
            assert!(array.rows(&[rows]).is_err());
            std::thread::scope(|scope| {
                for thread in 0..3 {
                    let (array, all) = (&array, &all);
                    scope.spawn(move || {
                        for start in (thread * 1000..rows - 1000).step_by(3000) {
                            assert_eq!(
                                numbers(&array.slice(start, 1000).unwrap()),
                                all[start * 5..][..5000]
                            );
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn shards_some_of_which_are_stored_are_one_array() {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..3).map(|at| directory.path().join(format!("{at}.npz"))).collect();
        for (path, (start, rows, method)) in
            paths.iter().zip([(0, 4, Deflated), (20, 3, Stored), (35, 5, Deflated)])
        {
            archive(path, start, rows, ByteOrder::Native, method);
        }
        let array = opened(&paths, 1).unwrap();
        assert_eq!(numbers(&array.read().unwrap()), (0..60).collect::<Vec<i64>>());
        assert_eq!(numbers(&array.rows(&[11, 4, 0, 6]).unwrap())[..6], [55, 56, 57, 58, 59, 20]);
        assert_eq!(array.file_of(8), Some((paths[2].as_path(), 1)));
        let other = directory.path().join("other.npz");
        let narrow = Array::try_from(Tensor::from_vec(vec![0_i32; 10], &[2, 5]).unwrap()).unwrap();
        crate::format::save::save_arrays(&other, &[("x", narrow)], None, true).unwrap();
        let said = opened(&[paths[0].clone(), other], 1).unwrap_err().to_string();
        assert!(
            said.contains("0.npz holds int64[4, 5], ")
                && said.contains("other.npz holds int32[2, 5]"),
            "{said}"
        );
    }

    #[test]
    fn columns_that_do_not_fit_in_the_limit_when_decompressed_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
        zip.start_file("x.npy", SimpleFileOptions::default().compression_method(Deflated)).unwrap();
        zip.write_all(
            &npy_header::write(DType::Int64, ByteOrder::Native, &[100, 5], true).unwrap(),
        )
        .unwrap();
        zip.write_all(&[0; 4000]).unwrap();
        zip.finish().unwrap();
        assert_eq!(opened(std::slice::from_ref(&path), 5000).unwrap().shape(), [100, 5]);
        let said = opened(&[path], 4000).unwrap_err().to_string();
        assert!(
            said.contains("a.npz")
                && said.contains("4000 of memory may be taken")
                && said.contains("row-major"),
            "{said}"
        );
    }

    #[test]
    fn a_damaged_member_is_an_error_by_its_last_row() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        archive(&path, 0, 3000, ByteOrder::Native, Deflated);
        let good = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for at in (0..good.len()).step_by(7) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            let read = |limit| {
                opened(std::slice::from_ref(&path), limit)
                    .and_then(|array| array.read())
                    .map(|tensor| numbers(&tensor))
            };
            let (in_order, whole) = (read(1), read(usize::MAX));
            assert_eq!(in_order.is_ok(), whole.is_ok(), "byte {at}: {in_order:?}, {whole:?}");
            if let (Ok(in_order), Ok(whole)) = (&in_order, &whole) {
                assert_eq!(in_order, whole);
            }
            refused += u32::from(in_order.is_err());
        }
        assert!(refused > 100, "{refused} of {}", good.len() / 7);
    }
}
