//! `.safetensors`: named arrays behind a JSON header, little-endian and packed in row-major order.

use crate::array::array::Array;
use crate::array::arrays::{Member, Notes, OpenMember};
use crate::array::shards;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::blocks;
use crate::format::by_name;
use crate::format::by_name::by_name;
use crate::format::file_format::{
    Capabilities, Checked, FileFormat, Format, HeaderAndArrays, OpenRequest, Opened, Raw,
};
use crate::format::tfrecord::index;
use crate::gather::byte_order::little;
use crate::storage::io_error::io;
use crate::storage::located::Located;
use crate::storage::read_at::ReadAt;
use crate::storage::section::read_all;
use crate::write::atomic::atomic_write;
use crate::write::destination::Destination;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{ALIGNMENT, ByteOrder, DType, Layout};

const FORMAT: &str = "safetensors";

/// Bytes before the header, which contain its length.
const PREFIX: u64 = 8;

/// Maximum length of a header: the limit of the format.
const MAX_HEADER: u64 = 100_000_000;

/// The byte order of the format.
const LITTLE: ByteOrder =
    if cfg!(target_endian = "little") { ByteOrder::Native } else { ByteOrder::Swapped };

/// The format.
pub(crate) struct SafeTensors;

impl FileFormat for SafeTensors {
    fn format(&self) -> Format {
        Format::SafeTensors
    }

    fn name(&self) -> &'static str {
        FORMAT
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn begins(&self, start: &[u8]) -> bool {
        // A header of less than 16 MiB. A TFRecord file may start with the same bytes, but then its
        // first checksum matches.
        matches!(start, [_, _, _, 0, 0, 0, 0, 0, b'{', ..]) && !index::begins(start)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            arrays_by_name: true,
            metadata: true,
            resumable: true,
            self_describing: true,
            ..Capabilities::default()
        }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened> {
        let (mut notes, mut contradicted) = (Notes::default(), BTreeSet::new());
        let members = by_name(request.sources, |source| {
            let contents = locate(source)?;
            for (key, value) in contents.metadata {
                if notes.metadata.get(&key).is_some_and(|other| *other != value) {
                    contradicted.insert(key);
                } else {
                    notes.metadata.insert(key, value);
                }
            }
            Ok(contents.arrays)
        })?;
        for key in contradicted {
            notes.metadata.remove(&key);
            let why = "the files contradict each other".into();
            notes.left_out.push((format!("__metadata__: {key}"), why));
        }
        let boxed = |(name, parts)| (name, Box::new(Parts(parts)) as Box<dyn Member>);
        let members = members.into_iter().map(boxed).collect();
        by_name::opened(request, members, notes, &request.options.features)
    }

    fn save_arrays(
        &self,
        to: &Destination<'_>,
        arrays: &[(&str, &Array)],
        _compress: bool,
        metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        let (header, order) = header(arrays, metadata)?;
        atomic_write(to, |file| {
            let mut out = |bytes: &[u8]| file.write_all(bytes).map_err(io("write", to.path));
            out(&header)?;
            order.into_iter().try_for_each(|at| write(arrays[at].1, &mut out))
        })
    }

    fn header_and_arrays<'a>(
        &self,
        arrays: &'a [(String, Array)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<HeaderAndArrays<'a>>> {
        let named: Vec<(&str, &Array)> =
            arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let (header, order) = header(&named, metadata)?;
        Ok(Some((header, order.into_iter().map(|at| &arrays[at].1).collect())))
    }

    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        _raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked> {
        let parts = locate(source)?.arrays.len() as u64;
        read_all(source, cancel)?;
        Ok(Checked { parts, ..Checked::default() })
    }
}

/// The location of an array, if tensors support its dtype.
type Place = Result<Located, Foreign>;

/// An array of a dtype that tensors do not support.
#[derive(Clone, Debug)]
struct Foreign {
    source: Arc<dyn ReadAt>,
    /// The dtype's name in the file.
    descr: String,
}

impl Foreign {
    fn error(&self) -> Error {
        Error::Core(CoreError::UnsupportedDType {
            place: "safetensors header",
            descr: self.descr.clone(),
        })
        .in_file(self.source.name())
    }
}

/// The arrays with one name, one per file.
#[derive(Debug)]
struct Parts(Vec<Place>);

impl Member for Parts {
    fn unsupported(&self) -> Result<Option<Error>> {
        Ok(self.0.iter().find_map(|part| part.as_ref().err()).map(Foreign::error))
    }

    fn each_part(&self, check: &mut dyn FnMut(DType, &[usize]) -> Result<()>) -> Result<()> {
        self.0.iter().try_for_each(|part| match part {
            Ok(located) => check(located.dtype, located.layout.shape()),
            Err(foreign) => Err(foreign.error()),
        })
    }

    fn open(&self, how: &OpenMember) -> Result<Array> {
        let parts = self.0.iter().map(|part| part.clone().map_err(|foreign| foreign.error()));
        shards::array(parts.collect::<Result<_>>()?, how.mode)
    }

    fn verify(&self) -> Result<()> {
        Ok(()) // there are no checksums
    }
}

/// The contents of a file.
struct Contents {
    /// Names and locations of the arrays, in file order.
    arrays: Vec<(String, Place)>,
    /// The header's metadata: `__metadata__`.
    metadata: BTreeMap<String, String>,
}

/// Reads the header of a file.
///
/// # Errors
/// [`tensorferry_core::Error::Malformed`]; [`tensorferry_core::Error::WrongLength`] if the file
/// does not end with the last array.
fn locate(file: &Arc<dyn ReadAt>) -> Result<Contents> {
    read(file).map_err(|error| error.in_file(file.name()))
}

fn malformed(offset: u64, what: impl Into<String>) -> Error {
    Error::Core(CoreError::Malformed { format: FORMAT, offset, what: what.into() })
}

fn read(file: &Arc<dyn ReadAt>) -> Result<Contents> {
    if file.len() == 0 {
        return Err(malformed(0, "the file is empty"));
    }
    let start = file.read_up_to(0, 8)?;
    let Ok(len) = <[u8; 8]>::try_from(start.as_slice()).map(u64::from_le_bytes) else {
        return Err(Error::Core(CoreError::WrongLength {
            format: FORMAT,
            expected: PREFIX,
            actual: file.len(),
        }));
    };
    if len > MAX_HEADER {
        return Err(malformed(
            0,
            format!("a header of {len} bytes; at most {MAX_HEADER} are read"),
        ));
    }
    let data = PREFIX + len;
    if data > file.len() {
        return Err(Error::Core(CoreError::WrongLength {
            format: FORMAT,
            expected: data,
            actual: file.len(),
        }));
    }
    let header = file.read_up_to(PREFIX, usize::try_from(len).unwrap_or(usize::MAX))?;
    let metadata = parse(&header)?;
    let expected = data.saturating_add(metadata.data_len() as u64);
    if expected != file.len() {
        return Err(Error::Core(CoreError::WrongLength {
            format: FORMAT,
            expected,
            actual: file.len(),
        }));
    }
    let mut arrays = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let offset = data + info.data_offsets.0 as u64;
        let place = match DTYPES.iter().find(|(theirs, _)| *theirs == info.dtype) {
            Some((_, dtype)) => {
                let layout = Layout::contiguous(&info.shape, dtype.size())?;
                let order = if dtype.size() == 1 { ByteOrder::Native } else { LITTLE };
                Ok(Located {
                    format: FORMAT,
                    source: Arc::clone(file),
                    offset,
                    dtype: *dtype,
                    order,
                    layout,
                }
                .checked()?)
            }
            None => Err(Foreign { source: Arc::clone(file), descr: info.dtype.to_string() }),
        };
        arrays.push((name, place));
    }
    let metadata = metadata
        .metadata()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok(Contents { arrays, metadata })
}

/// Parses a header and checks every offset against shape and dtype.
fn parse(header: &[u8]) -> Result<Metadata> {
    let text = std::str::from_utf8(header).map_err(|error| {
        malformed(PREFIX + error.valid_up_to() as u64, "the header is not UTF-8")
    })?;
    if !text.starts_with('{') {
        return Err(malformed(PREFIX, "not a .safetensors file: its header is not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| {
        // A header is one line, so columns are bytes. Semantic errors have no position.
        let column = if error.line() == 1 { error.column().saturating_sub(1) } else { 0 };
        malformed(PREFIX + column as u64, format!("the header is not valid: {error}"))
    })
}

/// The dtypes that the format and tensors both support.
const DTYPES: [(Dtype, DType); 14] = [
    (Dtype::BOOL, DType::Bool),
    (Dtype::I8, DType::Int8),
    (Dtype::I16, DType::Int16),
    (Dtype::I32, DType::Int32),
    (Dtype::I64, DType::Int64),
    (Dtype::U8, DType::UInt8),
    (Dtype::U16, DType::UInt16),
    (Dtype::U32, DType::UInt32),
    (Dtype::U64, DType::UInt64),
    (Dtype::F16, DType::Float16),
    (Dtype::BF16, DType::BFloat16),
    (Dtype::F32, DType::Float32),
    (Dtype::F64, DType::Float64),
    (Dtype::C64, DType::Complex64),
];

/// The header of a file of these arrays, and the order of their elements after it.
///
/// # Errors
/// [`tensorferry_core::Error::UnsupportedDType`] for complex128; [`Error::Argument`] for a reserved
/// name.
fn header(
    arrays: &[(&str, &Array)],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut order = (0..arrays.len()).collect::<Vec<_>>();
    let mut dtypes = Vec::with_capacity(arrays.len());
    for (name, array) in arrays {
        if *name == "__metadata__" {
            return Err(Error::argument(
                "save",
                "a .safetensors file keeps the name \"__metadata__\" for itself",
            ));
        }
        let Some((theirs, _)) = DTYPES.iter().find(|(_, ours)| *ours == array.dtype()) else {
            let descr = format!("{} (.safetensors files have no such dtype)", array.dtype());
            return Err(Error::Core(CoreError::UnsupportedDType {
                place: "safetensors header",
                descr,
            }));
        };
        dtypes.push(*theirs);
    }
    // The order of the reference implementation: the largest alignment first, so that all arrays
    // are aligned for their dtype.
    order.sort_by(|&a, &b| dtypes[b].cmp(&dtypes[a]).then(arrays[a].0.cmp(arrays[b].0)));
    let (mut start, mut infos) = (0_usize, Vec::with_capacity(arrays.len()));
    for &at in &order {
        let (name, array) = arrays[at];
        let end = start.checked_add(array.nbytes()).ok_or_else(|| {
            Error::Core(CoreError::SizeOverflow { shape: array.shape().into(), itemsize: 1 })
        })?;
        let info = TensorInfo {
            dtype: dtypes[at],
            shape: array.shape().to_vec(),
            data_offsets: (start, end),
        };
        infos.push((name.to_owned(), info));
        start = end;
    }
    let wrong = |error: String| Error::argument("save", error);
    let infos_are_none = infos.is_empty();
    let arrays = Metadata::new(None, infos).map_err(|error| wrong(error.to_string()))?;
    let mut text = serde_json::to_vec(&arrays).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_empty() {
        // Sorted by key, so that equal metadata make equal files.
        let kept = serde_json::to_string(metadata).map_err(|error| wrong(error.to_string()))?;
        let comma = if infos_are_none { "" } else { "," };
        text.splice(1..1, format!("\"__metadata__\":{kept}{comma}").into_bytes());
        if text.len() as u64 > MAX_HEADER {
            return Err(wrong(format!(
                "the metadata are {} bytes; a .safetensors header has at most {MAX_HEADER}",
                kept.len()
            )));
        }
    }
    // Pad with spaces, which the format allows, to align the first array to 64 bytes.
    let padded = (text.len() + 8).next_multiple_of(ALIGNMENT) - 8;
    text.resize(padded, b' ');
    let mut header = (padded as u64).to_le_bytes().to_vec();
    header.extend(text);
    Ok((header, order))
}

/// Writes the elements of an array.
fn write(array: &Array, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    blocks::of_array(array, |bytes| write(&little(array.dtype(), bytes)))
}
