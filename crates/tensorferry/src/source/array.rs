//! [`Array`]: an array that is opened, not loaded.

use super::in_memory::InMemory;
use super::{Mode, Request, RowSource, Rows};
use crate::dataset::{Shape, Source, Stop, TensorSpec, filled};
use crate::{DType, Dims, Error, Index, Layout, Result, Tensor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many rows are asked of a source at a time.
const REQUESTS: usize = 64 << 10;
/// Bytes of rows that are read at a time.
const CHUNK: usize = 4 << 20;

/// An array in files (or in memory): its shape and dtype are known, its elements are read when they are asked for.
///
/// Cloning shares what is open.
///
/// ```
/// use tensorferry::{Mode, Tensor, open, save_npy};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?.as_view())?;
///
/// let squares = open(&[&path], None, Mode::Read)?.array()?;
/// assert_eq!(squares.shape(), [4]);
/// assert_eq!(squares.slice(1, 2)?.view::<i64>()?.as_slice(), Some(&[1, 4][..]));
/// assert_eq!(squares.rows(&[3, 0])?.view::<i64>()?.as_slice(), Some(&[9, 0][..]));
/// # Ok::<(), tensorferry::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Array {
    source: Arc<dyn RowSource>,
    /// Which of the source's columns it is.
    column: usize,
    dtype: DType,
    shape: Dims,
    mode: Mode,
    paths: Arc<[PathBuf]>,
    stop: Stop,
}

impl Array {
    /// A column of a source; of a `scalar`, the source's only row.
    ///
    /// # Errors
    /// [`Error::SizeOverflow`] if the bytes of all rows do not fit in an `isize`.
    pub(crate) fn new(source: Arc<dyn RowSource>, column: usize, scalar: bool, mode: Mode, paths: Arc<[PathBuf]>) -> Result<Self> {
        let spec = &source.columns()[column];
        let rows = usize::try_from(source.rows()).unwrap_or(usize::MAX);
        let first = if scalar { None } else { Some(rows) };
        let shape: Dims = first.into_iter().chain(spec.shape.as_fixed().unwrap_or_default()).collect();
        let dtype = Layout::contiguous(&shape, spec.dtype.size()).map(|_| spec.dtype)?;
        Ok(Self { source, column, dtype, shape, mode, paths, stop: Stop::default() })
    }

    /// The same array, whose reading another thread can stop: it then fails with [`Error::Stopped`].
    #[must_use]
    pub fn stopped_by(&self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self.clone() }
    }

    /// The dtype. What is read is in this machine's byte order, whatever the files' is.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of rows: the length of the first dimension; 1 of an array without dimensions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all elements.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// How it is read: [`Mode::Map`] if it lies in memory.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The files, in the order of their rows.
    #[must_use]
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// The whole array where it lies in memory: nothing is read or copied. In another byte order than this machine's if the file is.
    ///
    /// # Errors
    /// [`Error::NotShareable`] if it does not lie in memory, or in more than one piece.
    pub fn tensor(&self) -> Result<Tensor> {
        let Some(tensor) = self.source.tensor(self.column) else {
            return Err(Error::NotShareable {
                why: match self.mode {
                    Mode::Map => "the array is made of several files. Take a slice, or copy it into memory with read().",
                    _ => "the array is not mapped. Open it with mode=\"map\", take a slice, or copy it into memory with read().",
                },
            });
        };
        if self.shape.is_empty() { tensor.index(&[Index::At(0)]) } else { Ok(tensor.clone()) }
    }

    /// The whole array in memory: shared where it lies there, else read.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn read(&self) -> Result<Tensor> {
        let rows = self.slice(0, self.len())?;
        if self.shape.is_empty() { rows.index(&[Index::At(0)]) } else { Ok(rows) }
    }

    /// Rows `start..start + len`, stacked: shared where they lie in memory, else read. (An array without dimensions has one row.)
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`]; [`Error::Allocation`]; in [`Mode::Read`] and [`Mode::Direct`] what reading fails with: [`Error::Io`],
    /// [`Error::ShortRead`] if a file was truncated since it was opened, [`Error::FileChanged`] if it was written to.
    pub fn slice(&self, start: usize, len: usize) -> Result<Tensor> {
        if start.checked_add(len).is_none_or(|end| end > self.len()) {
            let last = start.saturating_add(len.saturating_sub(1));
            let index = isize::try_from(last).unwrap_or(isize::MAX);
            return Err(Error::IndexOutOfRange { index, axis: 0, len: self.len() });
        }
        if let Some(shared) = self.source.share(self.column, start as u64, len) {
            return Ok(shared);
        }
        let (shape, row) = self.stacked(len);
        filled(self.dtype, &shape, |bytes| {
            // Part by part: the list of requests stays short, however many rows there are.
            for first in (0..len).step_by(REQUESTS) {
                let rows = REQUESTS.min(len - first);
                let mut requests: Vec<Request> =
                    (0..rows).map(|slot| Request { index: (start + first + slot) as u64, slot }).collect();
                let bytes = &mut bytes[first * row..(first + rows) * row];
                self.source.read_rows(&[self.column], &mut requests, &mut [Rows { bytes, row }], &self.stop)?;
            }
            Ok(())
        })
    }

    /// The rows of these numbers, stacked.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn rows(&self, indices: &[usize]) -> Result<Tensor> {
        let (shape, row) = self.stacked(indices.len());
        let mut requests: Vec<Request> =
            indices.iter().enumerate().map(|(slot, index)| Request { index: *index as u64, slot }).collect();
        filled(self.dtype, &shape, |bytes| {
            self.source.read_rows(&[self.column], &mut requests, &mut [Rows { bytes, row }], &self.stop)
        })
    }

    /// All rows in order, as many at a time as fit in 4 MiB, at least one.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Tensor>> + '_ {
        let row = self.nbytes().checked_div(self.len()).unwrap_or(0);
        let step = CHUNK.checked_div(row).unwrap_or(usize::MAX).max(1);
        (0..self.len()).step_by(step).map(move |start| {
            self.stop.check()?;
            self.slice(start, step.min(self.len() - start))
        })
    }

    /// The shape of so many rows, and the bytes of one.
    fn stacked(&self, len: usize) -> (Vec<usize>, usize) {
        let row = self.shape.get(1..).unwrap_or_default();
        let shape = std::iter::once(len).chain(row.iter().copied()).collect();
        (shape, row.iter().product::<usize>() * self.dtype.size())
    }

    /// What the rows are read from, and which of its columns.
    pub(crate) fn source(&self) -> (&Arc<dyn RowSource>, usize) {
        (&self.source, self.column)
    }
}

impl TryFrom<Tensor> for Array {
    type Error = Error;

    /// An array that lies in memory.
    ///
    /// # Errors
    /// None that a tensor can cause.
    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::try_from(Source::from(tensor))
    }
}

impl TryFrom<Source> for Array {
    type Error = Error;

    /// An array that lies in memory, and that somebody may write: then its rows are copied when they are asked for.
    ///
    /// # Errors
    /// None that a source can cause.
    fn try_from(source: Source) -> Result<Self> {
        let scalar = source.tensor.shape().is_empty();
        let tensor = if scalar { source.tensor.index(&[Index::NewAxis])? } else { source.tensor };
        let spec = TensorSpec::new(tensor.dtype(), Shape::fixed(tensor.shape().get(1..).unwrap_or_default()));
        let rows = InMemory::new(spec, vec![Source { tensor, frozen: source.frozen }])?;
        Self::new(Arc::new(rows), 0, scalar, Mode::Map, Arc::default())
    }
}
