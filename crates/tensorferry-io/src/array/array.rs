//! [`Array`]: an array that is opened without being loaded.

use crate::array::in_memory::InMemory;
use crate::array::progress::Progress;
use crate::array::row_source::{RowSource, Stored};
use crate::array::tensor_rows::Source;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::RowsOut;
use crate::gather::rows_out::{filled, normalise_bools};
use crate::storage::mode::Mode;
use crate::storage::url::is_remote;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tensorferry_core::Error as CoreError;
use tensorferry_core::{Casting, DType, Dims, Index, Layout, Tensor};
use tensorferry_core::{Shape, TensorSpec};

/// Maximum number of rows per request to a source.
const REQUESTS: usize = 64 << 10;
/// Default number of bytes of rows to read at once.
const CHUNK: usize = 4 << 20;

/// An array in files or in memory. Its shape and dtype are known; its elements are read on request.
///
/// Clones share the open files.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Mode, open, save_npy};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?.as_view())?;
///
/// let squares = open(&path)?.array()?;
/// assert_eq!(squares.shape(), [4]);
/// assert_eq!(squares.slice(1, 2)?.view::<i64>()?.as_slice(), Some(&[1, 4][..]));
/// assert_eq!(squares.rows(&[3, 0])?.view::<i64>()?.as_slice(), Some(&[9, 0][..]));
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Array {
    source: Arc<dyn RowSource>,
    /// Index of the source's column.
    column: usize,
    dtype: DType,
    shape: Dims,
    mode: Mode,
    paths: Arc<[PathBuf]>,
    chunk: usize,
    cancel: CancelToken,
    progress: Progress,
    /// The array that this one is converted from on reading, and how.
    converted: Option<(Arc<Self>, Casting)>,
}

impl Array {
    /// A column of a source; a `scalar` is the only row of its source.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::SizeOverflow`] if the bytes of all rows do not fit in an `isize`.
    pub(crate) fn new(
        source: Arc<dyn RowSource>,
        column: usize,
        scalar: bool,
        mode: Mode,
        paths: Arc<[PathBuf]>,
    ) -> Result<Self> {
        let spec = &source.columns()[column];
        let rows = usize::try_from(source.rows()).unwrap_or(usize::MAX);
        let first = if scalar { None } else { Some(rows) };
        let shape: Dims =
            first.into_iter().chain(spec.shape.as_fixed().unwrap_or_default()).collect();
        let dtype = Layout::contiguous(&shape, spec.dtype.size()).map(|_| spec.dtype)?;
        let (cancel, progress) = (CancelToken::default(), Progress::default());
        Ok(Self {
            source,
            column,
            dtype,
            shape,
            mode,
            paths,
            chunk: CHUNK,
            cancel,
            progress,
            converted: None,
        })
    }

    /// An array over another source of the same files, read with the same settings.
    pub(crate) fn over(&self, source: Arc<dyn RowSource>) -> Result<Self> {
        let made = Self::new(source, 0, self.shape.is_empty(), self.mode, Arc::clone(&self.paths))?;
        Ok(made.read_as(self))
    }

    /// The same array, marked as converted from another on reading.
    pub(crate) fn converted_from(self, from: &Self, casting: Casting) -> Self {
        Self { converted: Some((Arc::new(from.clone()), casting)), ..self }
    }

    /// The array that this one is converted from on reading, and how.
    pub(crate) fn converted(&self) -> Option<(&Self, Casting)> {
        self.converted.as_ref().map(|(from, casting)| (&**from, *casting))
    }

    /// The same array, with the chunk size, cancellation and progress of another.
    pub(crate) fn read_as(&self, other: &Self) -> Self {
        Self {
            chunk: other.chunk,
            cancel: other.cancel.clone(),
            progress: other.progress.clone(),
            ..self.clone()
        }
    }

    /// The same array. Its reads fail with [`Error::Interrupted`] once `cancel` is cancelled.
    #[must_use]
    pub fn cancelled_by(&self, cancel: &CancelToken) -> Self {
        Self { cancel: cancel.clone(), ..self.clone() }
    }

    /// The same array, whose reads add to `progress`.
    #[must_use]
    pub fn counted_by(&self, progress: &Progress) -> Self {
        Self { progress: progress.clone(), ..self.clone() }
    }

    /// The same array. [`Array::chunks`] and [`crate::format::save`] read it in chunks of this many
    /// bytes (at least one row), and use about four times as much memory. The default is 4 MiB.
    #[must_use]
    pub fn in_chunks_of(&self, bytes: usize) -> Self {
        Self { chunk: bytes, ..self.clone() }
    }

    /// Number of bytes to read at once.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// Dtype of the array. Rows are read in native byte order.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of rows: the length of the first dimension, or 1 for an array without dimensions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes of all elements.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// How it is read. An array in memory has [`Mode::Map`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Paths of the files, in row order.
    #[must_use]
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Whether its rows are objects of a store, read over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.paths.first().is_some_and(|path| is_remote(path))
    }

    /// The file of a row, and the row's number in it. `None` if the row does not exist, or is not
    /// in a file.
    #[must_use]
    pub fn file_of(&self, row: usize) -> Option<(&Path, usize)> {
        let (path, row) = self.source.place(row as u64)?;
        Some((path, usize::try_from(row).ok()?))
    }

    /// How the elements are stored. `None` if files differ, if elements are in records, or if they
    /// are converted on reading.
    ///
    /// ```
    /// use tensorferry_core::{ByteOrder, Tensor};
    /// use tensorferry_io::Array;
    ///
    /// let stored = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[2, 2])?)?.stored();
    /// let stored = stored.unwrap();
    /// assert!(stored.order == ByteOrder::Native && !stored.column_major);
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        self.source.stored(self.column)
    }

    /// The whole array without a copy, in the byte order of the file.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::NotShareable`] if it is not in memory, or in more than one piece.
    pub fn tensor(&self) -> Result<Tensor> {
        let Some(tensor) = self.source.tensor(self.column) else {
            if self.mode == Mode::Map {
                let why = "the array is made of several files, or converted as it is read. Take a \
                    slice, or copy it into memory with read().";
                return Err(Error::Core(CoreError::NotShareable { why }));
            }
            let why = "the array is not memory-mapped. Take a slice, or copy it into memory with \
                read().";
            return Err(Error::Core(CoreError::NotShareable { why }).with_hint(Hint::Map));
        };
        Ok(if self.shape.is_empty() { tensor.index(&[Index::At(0)])? } else { tensor.clone() })
    }

    /// The whole array as a tensor: shared if it is already in memory, otherwise read.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn read(&self) -> Result<Tensor> {
        let rows = self.slice(0, self.len())?;
        Ok(if self.shape.is_empty() { rows.index(&[Index::At(0)])? } else { rows })
    }

    /// Rows `start..start + len`, stacked: shared if they are in memory, otherwise read. (An array
    /// without dimensions has one row.)
    ///
    /// # Errors
    /// [`tensorferry_core::Error::IndexOutOfRange`]; [`tensorferry_core::Error::Allocation`]; in
    /// [`Mode::Read`] and [`Mode::Direct`] errors of reading: [`Error::Io`], [`Error::ShortRead`]
    /// if a file was truncated since it was opened, [`Error::FileChanged`] if it was written to.
    pub fn slice(&self, start: usize, len: usize) -> Result<Tensor> {
        self.check_rows(start, len)?;
        let (shape, row) = self.stacked(len);
        if let Some(shared) = self.source.share(self.column, start as u64, len) {
            self.progress.add(len * row, Duration::ZERO);
            let normal = shared.as_view().has_normal_bools();
            return if normal {
                Ok(shared)
            } else {
                Ok(crate::convert::convert(&shared.as_view(), self.dtype, Casting::Checked)?)
            };
        }
        self.counting(len * row, || {
            filled(self.dtype, &shape, |bytes| self.fill(start, len, bytes, &self.cancel))
        })
    }

    /// Writes rows `start..start + len`, which must exist, to `bytes`.
    pub fn fill(
        &self,
        start: usize,
        len: usize,
        bytes: &mut [u8],
        cancel: &CancelToken,
    ) -> Result<()> {
        let (_, row) = self.stacked(len);
        if row == 0 {
            return Ok(()); // a header may claim any number of rows without elements
        }
        // In parts, to keep the list of requests short.
        for first in (0..len).step_by(REQUESTS) {
            let rows = REQUESTS.min(len - first);
            let mut requests: Vec<RowRequest> = (0..rows)
                .map(|slot| RowRequest { index: (start + first + slot) as u64, slot })
                .collect();
            let bytes = &mut bytes[first * row..(first + rows) * row];
            self.source.read_rows(
                &[self.column],
                &mut requests,
                &mut [RowsOut { bytes, row }],
                cancel,
            )?;
        }
        self.normalise(bytes);
        Ok(())
    }

    fn normalise(&self, bytes: &mut [u8]) {
        if self.dtype == DType::Bool {
            normalise_bools(bytes);
        }
    }

    /// Runs `read`, and adds `bytes` and the elapsed time to the progress.
    pub fn counting<T>(&self, bytes: usize, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let read = read()?;
        self.progress.add(bytes, began.elapsed());
        Ok(read)
    }

    /// # Errors
    /// [`tensorferry_core::Error::IndexOutOfRange`] if rows `start..start + len` do not exist.
    pub(crate) fn check_rows(&self, start: usize, len: usize) -> Result<()> {
        if start.checked_add(len).is_some_and(|end| end <= self.len()) {
            return Ok(());
        }
        let last = start.saturating_add(len.saturating_sub(1));
        Err(no_row(last as u64, self.len() as u64).into())
    }

    /// The rows of these indices, stacked.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn rows(&self, indices: &[usize]) -> Result<Tensor> {
        let (shape, row) = self.stacked(indices.len());
        let mut requests: Vec<RowRequest> = indices
            .iter()
            .enumerate()
            .map(|(slot, index)| RowRequest { index: *index as u64, slot })
            .collect();
        self.counting(indices.len() * row, || {
            filled(self.dtype, &shape, |bytes| {
                self.source.read_rows(
                    &[self.column],
                    &mut requests,
                    &mut [RowsOut { bytes, row }],
                    &self.cancel,
                )?;
                self.normalise(bytes);
                Ok(())
            })
        })
    }

    /// All rows in order, in tensors of as many rows as fit in 4 MiB (see [`Array::in_chunks_of`]),
    /// at least one.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Tensor>> + '_ {
        let step = self.rows_at_a_time();
        (0..self.len()).step_by(step).map(move |start| {
            self.cancel.check()?;
            self.slice(start, step.min(self.len() - start))
        })
    }

    /// Calls `work` with each of [`Array::chunks`], while another thread reads the next.
    ///
    /// # Errors
    /// The first error of reading or `work`.
    pub(crate) fn each_chunk(&self, mut work: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
        let alone =
            self.len() <= self.rows_at_a_time() || self.source.share(self.column, 0, 1).is_some();
        thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(1);
            let read = move || {
                for rows in self.chunks() {
                    let failed = rows.is_err();
                    // The receiver is gone if `work` failed.
                    if send.send(rows).is_err() || failed {
                        return;
                    }
                }
            };
            if alone
                || thread::Builder::new()
                    .name("tensorferry-read".into())
                    .spawn_scoped(scope, read)
                    .is_err()
            {
                return self.chunks().try_for_each(|rows| work(rows?));
            }
            receive.into_iter().try_for_each(|rows| {
                self.cancel.check()?;
                work(rows?)
            })
        })
    }

    /// Counts bytes that were read otherwise.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if reading is cancelled.
    pub(crate) fn count(&self, bytes: usize) -> Result<()> {
        self.progress.add(bytes, Duration::ZERO);
        self.cancel.check()
    }

    fn rows_at_a_time(&self) -> usize {
        let row = self.nbytes().checked_div(self.len()).unwrap_or(0);
        self.chunk.checked_div(row).unwrap_or(usize::MAX).max(1)
    }

    /// Converts an error of rows starting at `first` into one of the whole array that names the
    /// file.
    pub(crate) fn misfit_in(&self, first: u64, error: Error) -> Error {
        let Error::Core(CoreError::ValuesDoNotFit(mut misfits)) = error else { return error };
        let mut row = first;
        match misfits.index.first_mut() {
            // A scalar is read as a single row.
            _ if self.shape.is_empty() => misfits.index.clear(),
            Some(index) => {
                *index += usize::try_from(first).unwrap_or(usize::MAX);
                row = *index as u64;
            }
            None => {}
        }
        let error = Error::Core(CoreError::ValuesDoNotFit(misfits));
        match self.source.place(row) {
            Some((path, row)) if self.paths.len() > 1 => {
                Error::AtRow { row, source: Box::new(error) }.in_file(path)
            }
            Some((path, _)) => error.in_file(path),
            None => error,
        }
    }

    /// The shape of `len` stacked rows, and the number of bytes per row.
    fn stacked(&self, len: usize) -> (Vec<usize>, usize) {
        let row = self.shape.get(1..).unwrap_or_default();
        let shape = std::iter::once(len).chain(row.iter().copied()).collect();
        (shape, row.iter().product::<usize>() * self.dtype.size())
    }

    /// The source of the rows, and the index of the column.
    pub fn source(&self) -> (&Arc<dyn RowSource>, usize) {
        (&self.source, self.column)
    }
}

impl TryFrom<Tensor> for Array {
    type Error = Error;

    /// An array in memory.
    ///
    /// # Errors
    /// Never fails for a tensor.
    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::try_from(Source::from(tensor))
    }
}

impl TryFrom<Source> for Array {
    type Error = Error;

    /// An array in memory. If the source is not frozen, rows are copied on reading.
    ///
    /// # Errors
    /// Never fails for a source.
    fn try_from(source: Source) -> Result<Self> {
        let scalar = source.tensor.shape().is_empty();
        let tensor = if scalar { source.tensor.index(&[Index::NewAxis])? } else { source.tensor };
        let spec = TensorSpec::new(
            tensor.dtype(),
            Shape::fixed(tensor.shape().get(1..).unwrap_or_default()),
        );
        let rows =
            InMemory::new(spec, vec![Source { tensor, frozen: source.frozen }], Arc::default())?;
        Self::new(Arc::new(rows), 0, scalar, Mode::Map, Arc::default())
    }
}
