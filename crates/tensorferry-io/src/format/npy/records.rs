//! Structured `.npy` files: arrays of records, whose fields are arrays by name.
//!
//! A memory-mapped field is a strided view of the records. Otherwise whole records are read, once
//! for all fields of a batch.

use crate::array::array::Array;
use crate::array::arrays::{Member, Notes, OpenMember};
use crate::array::in_memory::InMemory;
use crate::array::record_rows::{ColumnPlace, RecordPart, RecordRows};
use crate::array::shards::mismatch;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::format::by_name;
use crate::format::file_format::{OpenRequest, Opened};
use crate::format::npy::header::read_any_header;
use crate::memory::pool;
use crate::storage::io_error::io;
use crate::storage::located::not_mappable;
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use crate::storage::section::Section;
use std::path::PathBuf;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::npy_header::{AnyHeader, Field, RecordHeader};
use tensorferry_core::{Buffer, ByteOrder, DType, Index, Layout, Shape, Tensor, TensorSpec};

/// A file of records.
#[derive(Debug)]
pub(super) struct RecordFile {
    source: Arc<dyn ReadAt>,
    header: RecordHeader,
}

/// A field of a dtype that tensors have.
#[derive(Clone, Copy)]
struct Column<'a> {
    field: &'a Field,
    dtype: DType,
    order: ByteOrder,
}

/// Whether the files hold records.
///
/// # Errors
/// [`Error::Argument`] if only some do; errors of a header.
pub(super) fn are_records(sources: &[Arc<dyn ReadAt>]) -> Result<bool> {
    let Some(first) = sources.first() else { return Ok(false) };
    let Some(file) = located(first)? else { return Ok(false) };
    for other in &sources[1..] {
        if located(other)?.is_none() {
            let what = format!(
                "{} has fields, and {} has none: the files of one array need one dtype. Open them \
                one by one.",
                file.source.name().display(),
                other.name().display()
            );
            return Err(Error::argument("open", what));
        }
    }
    Ok(true)
}

/// The records of a file. `None` if the array is not structured.
///
/// # Errors
/// Errors of the header; [`CoreError::WrongLength`] if the file is shorter than its records.
pub(super) fn located(source: &Arc<dyn ReadAt>) -> Result<Option<RecordFile>> {
    let header = read_any_header(&mut Section::whole(source), io("read", source.name()))
        .map_err(|error| error.in_file(source.name()))?;
    let AnyHeader::Records(header) = header else { return Ok(None) };
    let file = RecordFile { source: Arc::clone(source), header };
    let (expected, actual) = (file.end(), source.len());
    if expected > actual {
        let error = CoreError::WrongLength { format: "npy", expected, actual };
        return Err(Error::Core(error).in_file(source.name()));
    }
    Ok(Some(file))
}

impl RecordFile {
    fn offset(&self) -> u64 {
        self.header.data_offset as u64
    }

    fn end(&self) -> u64 {
        self.offset().saturating_add(self.header.layout.nbytes() as u64)
    }

    /// Bytes after the records.
    pub(super) fn trailing(&self) -> u64 {
        self.source.len().saturating_sub(self.end())
    }

    fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        self.header.record.fields.iter().filter_map(|field| {
            let (dtype, order) = field.content.as_ref().ok().copied()?;
            Some(Column { field, dtype, order })
        })
    }

    /// The shape of the array of a field.
    fn shape(&self, column: Column<'_>) -> Vec<usize> {
        [self.header.layout.shape(), column.field.shape.as_slice()].concat()
    }

    /// The field as a view of the mapped records, `buffer` from `offset`.
    fn tensor(&self, column: Column<'_>, buffer: &Buffer, offset: usize) -> Result<Tensor> {
        let inner = column.field.strides.iter().map(|stride| stride.cast_signed());
        let strides: Vec<isize> =
            self.header.layout.strides().iter().copied().chain(inner).collect();
        let (shape, Column { field, dtype, order }) = (self.shape(column), column);
        let layout = Layout::strided(&shape, &strides, dtype.size())?;
        // The offset of an array without elements may lie beyond its bytes.
        let offset = if layout.is_empty() { 0 } else { offset + field.offset };
        let tensor = Tensor::new(dtype, order, layout, buffer.clone(), offset)?;
        Ok(if shape.is_empty() { tensor.index(&[Index::NewAxis])? } else { tensor })
    }

    /// The mapped records, and their offset in the mapping.
    fn map(&self) -> Result<(Buffer, usize)> {
        let len = self.header.layout.nbytes();
        if len == 0 {
            return Ok((pool::take(0)?.freeze(), 0));
        }
        let source = self.source.as_mmap().ok_or_else(|| not_mappable(self.source.name()))?;
        source.mmap(self.offset(), len)
    }

    /// The records, read into memory.
    fn load(&self) -> Result<(Buffer, usize)> {
        let mut bytes = pool::take(self.header.layout.nbytes())?;
        self.source.read_exact_at(self.offset(), bytes.as_mut_slice(), &CancelToken::default())?;
        Ok((bytes.freeze(), 0))
    }

    /// The records as rows to read.
    ///
    /// # Errors
    /// [`Error::Argument`] if the records are in column-major order.
    fn part(&self) -> Result<RecordPart> {
        let layout = &self.header.layout;
        if !layout.is_c_contiguous() {
            let what = "records in column-major order are only read memory-mapped";
            return Err(Error::argument("open", what)
                .with_hint(Hint::Map)
                .in_file(self.source.name()));
        }
        let rows = layout.shape().first().copied().unwrap_or(1);
        let within = layout.strides().get(1..).unwrap_or_default();
        let row = layout.shape().iter().skip(1).product::<usize>() * self.header.record.size;
        let place = |Column { field, order, .. }: Column<'_>| {
            let inner = field.strides.iter().map(|stride| stride.cast_signed());
            let strides = within.iter().copied().chain(inner).collect();
            // The offset of a field without elements may lie beyond the records.
            let offset = if field.shape.contains(&0) { 0 } else { field.offset };
            ColumnPlace { offset, order, strides }
        };
        let columns = self.columns().map(place).collect();
        let source = Arc::clone(&self.source);
        Ok(RecordPart { source, offset: self.offset(), rows, row, columns })
    }
}

/// Opens files of records as arrays by the names of the fields.
///
/// # Errors
/// [`Error::Argument`] for files whose fields differ.
pub(super) fn open(request: &OpenRequest<'_>) -> Result<Opened> {
    let files: Vec<RecordFile> =
        request.sources.iter().map(located).filter_map(Result::transpose).collect::<Result<_>>()?;
    let Some(first) = files.first() else {
        return Err(Error::argument("open", "no files were given"));
    };
    files[1..].iter().try_for_each(|other| same_fields(first, other))?;
    for file in files.iter().filter(|file| file.trailing() > 0) {
        let (name, bytes) = (file.source.name().display(), file.trailing());
        log::warn!("{name}: left out: {bytes} bytes after the array");
    }
    let mut arrays = arrays(&files, request.mode)?.into_iter();
    let path = first.source.name();
    let member = |field: &Field| {
        let member: Box<dyn Member> = match &field.content {
            Ok(_) => Box::new(arrays.next()?),
            Err(code) => Box::new(NoNumbers { code: code.clone(), path: path.to_owned() }),
        };
        Some((field.name.clone(), member))
    };
    let members = first.header.record.fields.iter().filter_map(member).collect();
    by_name::opened(request, members, Notes::default(), &request.options.features)
}

/// A field of a dtype that tensors do not have.
#[derive(Debug)]
struct NoNumbers {
    code: String,
    path: PathBuf,
}

impl NoNumbers {
    fn error(&self) -> Error {
        let descr = format!("'{}'", self.code);
        Error::Core(CoreError::UnsupportedDType { place: "npy header", descr }).in_file(&self.path)
    }
}

impl Member for NoNumbers {
    fn unsupported(&self) -> Result<Option<Error>> {
        Ok(Some(self.error()))
    }

    fn each_part(&self, _check: &mut dyn FnMut(DType, &[usize]) -> Result<()>) -> Result<()> {
        Err(self.error())
    }

    fn open(&self, _how: &OpenMember) -> Result<Array> {
        Err(self.error())
    }

    fn verify(&self) -> Result<()> {
        Ok(())
    }
}

/// The arrays of the fields that hold numbers.
fn arrays(files: &[RecordFile], mode: Mode) -> Result<Vec<Array>> {
    let paths: Arc<[PathBuf]> = files.iter().map(|file| file.source.name().to_owned()).collect();
    let first = &files[0];
    let spec = |column: Column<'_>| {
        let shape = first.shape(column);
        TensorSpec::new(column.dtype, Shape::fixed(shape.get(1..).unwrap_or_default()))
    };
    let specs: Vec<TensorSpec> = first.columns().map(spec).collect();
    // The rows of a single record's subarrays are not records: it is read as a whole.
    let single = first.header.layout.ndim() == 0;
    if mode == Mode::Map || single {
        let load = if mode == Mode::Map { RecordFile::map } else { RecordFile::load };
        let maps = files.iter().map(load).collect::<Result<Vec<_>>>()?;
        let array = |(at, (spec, column)): (usize, (&TensorSpec, Column<'_>))| {
            let scalar = first.shape(column).is_empty();
            let tensors = files.iter().zip(&maps).filter_map(|(file, (buffer, offset))| {
                Some(file.tensor(file.columns().nth(at)?, buffer, *offset).map(Into::into))
            });
            let tensors = tensors.collect::<Result<_>>()?;
            let rows = InMemory::new(spec.clone(), tensors, Arc::clone(&paths))?;
            Array::new(Arc::new(rows), 0, scalar, Mode::Map, Arc::clone(&paths))
        };
        return specs.iter().zip(first.columns()).enumerate().map(array).collect();
    }
    let parts = files.iter().map(RecordFile::part).collect::<Result<_>>()?;
    let columns = specs.len();
    let rows = Arc::new(RecordRows::new(specs, parts, mode)?);
    let array = |at| {
        let rows = Arc::clone(&rows);
        let mode = rows.mode();
        Array::new(rows, at, false, mode, Arc::clone(&paths))
    };
    (0..columns).map(array).collect()
}

/// # Errors
/// [`Error::Argument`], naming both files, if their fields differ in name, dtype or shape.
fn same_fields(first: &RecordFile, other: &RecordFile) -> Result<()> {
    let names = |file: &RecordFile| -> Vec<String> {
        file.columns().map(|column| column.field.name.clone()).collect()
    };
    let path = |file: &RecordFile| file.source.name().display().to_string();
    let (ours, theirs) = (names(first), names(other));
    if ours != theirs {
        let what = format!(
            "{} has the fields {ours:?}, and {} has {theirs:?}: the files of one array need the \
            same fields in one order. Open them one by one.",
            path(first),
            path(other)
        );
        return Err(Error::argument("open", what));
    }
    for (ours, theirs) in first.columns().zip(other.columns()) {
        let (mine, other_shape) = (first.shape(ours), other.shape(theirs));
        let scalar = first.header.layout.ndim() == 0 || other.header.layout.ndim() == 0;
        if scalar || ours.dtype != theirs.dtype || mine[1..] != other_shape[1..] {
            return Err(mismatch(
                (path(first), ours.dtype, &mine),
                (path(other), theirs.dtype, &other_shape),
            ));
        }
    }
    Ok(())
}
