//! Writing a dataset element by element, in constant memory.

use crate::error::{Error, Result};
use crate::materialize::layout::{Part, npy_dtype};
use crate::materialize::manifest::Manifest;
use crate::materialize::target::{Output, Target};
use crate::stage::Element;
use serde_json::Value;
use std::path::Path;
use tensorferry_core::{ByteOrder, DType, Tensor, TensorSpec, npy_header};
use tensorferry_io::WriteOptions;
use tensorferry_io::gather::rows_out::packed;

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
    file: Output,
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
    /// an empty directory, or is not to be replaced.
    pub(crate) fn new(
        path: &Path,
        components: Vec<TensorSpec>,
        structure: Value,
        options: &WriteOptions,
    ) -> Result<Self> {
        let mut target = Target::new(path, options)?;
        let files =
            components.iter().map(|spec| if spec.shape.as_fixed().is_some() { 1 } else { 3 });
        let together = files.sum();
        let files = components.iter().enumerate();
        let files = files.map(|(at, spec)| Component::new(&mut target, at, spec, together));
        let files = files.collect::<Result<_>>()?;
        let manifest =
            Manifest { cardinality: 0, components, structure, folder: None, parts: None };
        Ok(Self { target, files, manifest })
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

    /// Completes all files and makes the dataset appear.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn finish(self) -> Result<()> {
        let Self { target, files, manifest } = self;
        for file in files {
            file.finish()?;
        }
        target.finish(manifest)
    }
}

impl Component {
    fn new(target: &mut Target, at: usize, spec: &TensorSpec, together: usize) -> Result<Self> {
        let mut npy = |part: Part, dtype, row: &[usize]| {
            Npy::new(target.create(&part.name(at), together)?, dtype, row)
        };
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
    fn new(file: Output, dtype: DType, row: &[usize]) -> Result<Self> {
        let mut npy = Self { file, dtype, row: row.to_vec(), rows: 0 };
        let header = npy.header()?;
        npy.file.write(&header)?;
        Ok(npy)
    }

    /// The header, of the same length for any number of rows: NumPy's headers have room to grow.
    fn header(&self) -> Result<Vec<u8>> {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let shape: Vec<usize> = std::iter::once(rows).chain(self.row.iter().copied()).collect();
        Ok(npy_header::write(self.dtype, ByteOrder::Native, &shape, false)?)
    }

    fn append(&mut self, tensor: &Tensor, rows: u64) -> Result<()> {
        let tensor = packed(tensor)?;
        // A packed tensor has bytes.
        self.file.write(tensor.as_view().as_bytes().unwrap_or_default())?;
        self.rows += rows;
        Ok(())
    }

    fn append_numbers(&mut self, numbers: &[u64]) -> Result<()> {
        for number in numbers {
            self.file.write(&number.to_ne_bytes())?;
        }
        let width: usize = self.row.iter().product();
        self.rows += (numbers.len() / width) as u64;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let header = self.header()?;
        self.file.finish(&header)
    }
}
