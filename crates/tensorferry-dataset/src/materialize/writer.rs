//! Writing a dataset element by element, in constant memory.

use crate::error::{Error, Result};
use crate::materialize::directory::{Target, sync};
use crate::materialize::layout::{MANIFEST, Part, npy_dtype};
use crate::materialize::manifest::Manifest;
use crate::stage::Element;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tensorferry_core::{ByteOrder, DType, Tensor, TensorSpec, npy_header};
use tensorferry_io::gather::rows_out::packed;
use tensorferry_io::storage::io_error::io;
use tensorferry_io::write::writeback::Writeback;

/// Bytes of the write buffer of each file.
const BUFFER: usize = 256 << 10;

/// A dataset that is being written. Dropping it before [`Writer::finish`] leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Writer {
    target: Target,
    files: Vec<Component>,
    manifest: Manifest,
}

/// The files of a component.
#[derive(Debug)]
enum Component {
    /// Elements of one shape.
    Rows(Npy),
    /// Elements of several shapes: files of values, shapes, and the starts of both.
    Ragged(Box<[Npy; 3]>),
}

/// A `.npy` file that grows along its first dimension.
#[derive(Debug)]
struct Npy {
    path: PathBuf,
    file: BufWriter<Writeback<File>>,
    dtype: DType,
    /// The shape of a row.
    row: Vec<usize>,
    rows: u64,
}

impl Writer {
    /// Begins a dataset that will be at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, or if `path` exists and is neither a saved dataset nor
    /// an empty directory.
    pub(crate) fn new(path: &Path, components: Vec<TensorSpec>, structure: Value) -> Result<Self> {
        let target = Target::new(path)?;
        let files =
            components.iter().enumerate().map(|(at, spec)| Component::new(target.path(), at, spec));
        let files = files.collect::<Result<_>>()?;
        Ok(Self { target, files, manifest: Manifest { cardinality: 0, components, structure } })
    }

    /// Writes an element.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ElementMismatch`] if it does not match the components given to
    /// [`Writer::new`].
    pub(crate) fn push(&mut self, element: &Element) -> Result<()> {
        for ((value, spec), files) in
            element.iter().zip(&self.manifest.components).zip(&mut self.files)
        {
            let tensor = value.tensor()?;
            spec.check(tensor)?;
            files.push(tensor)?;
        }
        self.manifest.cardinality += 1;
        Ok(())
    }

    /// Writes elements of known shapes, stacked.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub(crate) fn push_stacked(&mut self, elements: &Element) -> Result<()> {
        let mut count = None;
        for ((value, spec), files) in
            elements.iter().zip(&self.manifest.components).zip(&mut self.files)
        {
            let tensor = value.tensor()?;
            TensorSpec::new(spec.dtype, spec.shape.batched(count)).check(tensor)?;
            count = tensor.shape().first().copied();
            let (Component::Rows(file), Some(rows)) = (files, count) else {
                return Err(Error::ElementMismatch {
                    what: "elements of several shapes cannot be stacked".into(),
                });
            };
            file.append(tensor, rows as u64)?;
        }
        self.manifest.cardinality += count.unwrap_or(0) as u64;
        Ok(())
    }

    /// Flushes all files to disk and renames the directory to its target.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn finish(self) -> Result<()> {
        let Self { target, files, manifest } = self;
        for file in files {
            file.finish()?;
        }
        let path = target.path().join(MANIFEST);
        let mut file = File::create_new(&path).map_err(io("create", &path))?;
        file.write_all(&manifest.to_json()).map_err(io("write", &path))?;
        file.sync_all().map_err(io("sync", &path))?;
        sync(target.path())?;
        Ok(target.place()?)
    }
}

impl Component {
    fn new(directory: &Path, at: usize, spec: &TensorSpec) -> Result<Self> {
        let npy =
            |part: Part, dtype, row: &[usize]| Npy::create(part.path(directory, at), dtype, row);
        if let Some(row) = spec.shape.as_fixed() {
            return Ok(Self::Rows(npy(Part::Values, npy_dtype(spec.dtype), &row)?));
        }
        let mut starts = npy(Part::Starts, DType::Int64, &[2])?;
        starts.append_numbers(&[0, 0])?;
        let (values, shapes) =
            (npy(Part::Values, npy_dtype(spec.dtype), &[])?, npy(Part::Shapes, DType::Int64, &[])?);
        Ok(Self::Ragged(Box::new([values, shapes, starts])))
    }

    fn push(&mut self, tensor: &Tensor) -> Result<()> {
        match self {
            Self::Rows(file) => file.append(tensor, 1),
            Self::Ragged(files) => {
                let [values, shapes, starts] = &mut **files;
                values.append(tensor, tensor.layout().len() as u64)?;
                let dims: Vec<u64> = tensor.shape().iter().map(|dim| *dim as u64).collect();
                shapes.append_numbers(&dims)?;
                starts.append_numbers(&[values.rows, shapes.rows])
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Rows(file) => file.finish(),
            Self::Ragged(files) => files.into_iter().try_for_each(Npy::finish),
        }
    }
}

impl Npy {
    fn create(path: PathBuf, dtype: DType, row: &[usize]) -> Result<Self> {
        let file = Writeback::new(File::create_new(&path).map_err(io("create", &path))?);
        let mut npy = Self {
            file: BufWriter::with_capacity(BUFFER, file),
            path,
            dtype,
            row: row.to_vec(),
            rows: 0,
        };
        npy.write(&npy.header()?)?;
        Ok(npy)
    }

    /// The header, of the same length for any number of rows: NumPy's headers have room to grow.
    fn header(&self) -> Result<Vec<u8>> {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let shape: Vec<usize> = std::iter::once(rows).chain(self.row.iter().copied()).collect();
        Ok(npy_header::write(self.dtype, ByteOrder::Native, &shape, false)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all(bytes).map_err(io("write", &self.path))?)
    }

    fn append(&mut self, tensor: &Tensor, rows: u64) -> Result<()> {
        let tensor = packed(tensor)?;
        self.write(tensor.as_view().as_bytes().unwrap_or_default())?; // a packed tensor has bytes
        self.rows += rows;
        Ok(())
    }

    fn append_numbers(&mut self, numbers: &[u64]) -> Result<()> {
        for number in numbers {
            self.write(&number.to_ne_bytes())?;
        }
        let width: usize = self.row.iter().product();
        self.rows += (numbers.len() / width) as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let header = self.header()?;
        self.file.seek(SeekFrom::Start(0)).map_err(io("write", &self.path))?;
        self.write(&header)?;
        self.file.flush().map_err(io("write", &self.path))?;
        Ok(self.file.get_ref().file().sync_all().map_err(io("sync", &self.path))?)
    }
}
