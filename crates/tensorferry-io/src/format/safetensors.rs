//! `.safetensors`: named arrays behind a JSON header, little-endian and packed in row-major order.

use crate::array::array::Array;
use crate::array::arrays::Foreign;
use crate::error::{Error, Result};
use crate::format::blocks;
use crate::format::blocks::little;
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::sync::Arc;
use tensorferry_core::{ALIGNMENT, ByteOrder, DType, Layout};

const FORMAT: &str = "safetensors";

/// Bytes before the header: its length.
const PREFIX: u64 = 8;

/// The longest header that is read: the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// The byte order of the format.
const LITTLE: ByteOrder =
    if cfg!(target_endian = "little") { ByteOrder::Native } else { ByteOrder::Swapped };

type Place = std::result::Result<Located, Foreign>;

/// What a file holds.
pub(crate) struct Contents {
    /// The names and where their arrays lie, in the order in which they lie. Arrays of dtypes that
    /// tensors do not share are [`Foreign`].
    pub(crate) arrays: Vec<(String, Place)>,
    /// What the header says besides: `__metadata__`.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What a file holds, less the elements.
///
/// # Errors
/// [`Error::Malformed`]; [`Error::WrongLength`] if the arrays are not all there, or are not all
/// that is.
pub(crate) fn locate(file: &Arc<DataFile>) -> Result<Contents> {
    read(file).map_err(|error| error.in_file(file.path()))
}

fn malformed(offset: u64, what: impl Into<String>) -> Error {
    Error::Malformed { format: FORMAT, offset, what: what.into() }
}

fn read(file: &Arc<DataFile>) -> Result<Contents> {
    if file.len() == 0 {
        return Err(malformed(0, "the file is empty"));
    }
    let start = file.read_up_to(0, 8)?;
    let Ok(len) = <[u8; 8]>::try_from(start.as_slice()).map(u64::from_le_bytes) else {
        return Err(Error::WrongLength { format: FORMAT, expected: PREFIX, actual: file.len() });
    };
    if len > MAX_HEADER {
        return Err(malformed(
            0,
            format!("a header of {len} bytes; at most {MAX_HEADER} are read"),
        ));
    }
    let data = PREFIX + len;
    if data > file.len() {
        return Err(Error::WrongLength { format: FORMAT, expected: data, actual: file.len() });
    }
    let header = file.read_up_to(PREFIX, usize::try_from(len).unwrap_or(usize::MAX))?;
    let metadata = parse(&header)?;
    let expected = data.saturating_add(metadata.data_len() as u64);
    if expected != file.len() {
        return Err(Error::WrongLength { format: FORMAT, expected, actual: file.len() });
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
                    file: Arc::clone(file),
                    offset,
                    dtype: *dtype,
                    order,
                    layout,
                }
                .checked()?)
            }
            None => Err(Foreign {
                file: Arc::clone(file),
                place: "safetensors header",
                descr: info.dtype.to_string(),
            }),
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

/// The header's text, every offset in it compared with shape and dtype.
fn parse(header: &[u8]) -> Result<Metadata> {
    let text = std::str::from_utf8(header).map_err(|error| {
        malformed(PREFIX + error.valid_up_to() as u64, "the header is not UTF-8")
    })?;
    if !text.starts_with('{') {
        return Err(malformed(PREFIX, "no .safetensors file: its header is no JSON object"));
    }
    serde_json::from_str(text).map_err(|error| {
        // A header is one line, and its columns are bytes; errors of meaning have no place.
        let column = if error.line() == 1 { error.column().saturating_sub(1) } else { 0 };
        malformed(PREFIX + column as u64, format!("the header is not valid: {error}"))
    })
}

/// The dtypes that both have, as each calls them.
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

/// The start of a file of these arrays, and the order in which they are to follow it.
///
/// # Errors
/// [`Error::UnsupportedDType`] for complex128; [`Error::Argument`] for a name that is not an
/// array's.
pub(crate) fn header(
    arrays: &[(&str, &Array)],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut order = (0..arrays.len()).collect::<Vec<_>>();
    let mut dtypes = Vec::with_capacity(arrays.len());
    for (name, array) in arrays {
        if *name == "__metadata__" {
            return Err(Error::Argument {
                stage: "save",
                what: "a .safetensors file keeps the name \"__metadata__\" for itself".into(),
            });
        }
        let Some((theirs, _)) = DTYPES.iter().find(|(_, ours)| *ours == array.dtype()) else {
            let descr = format!("{} (.safetensors files have no such dtype)", array.dtype());
            return Err(Error::UnsupportedDType { place: "safetensors header", descr });
        };
        dtypes.push(*theirs);
    }
    // As the reference implementation: the largest alignment first, so that all arrays are aligned
    // for their dtype.
    order.sort_by(|&a, &b| dtypes[b].cmp(&dtypes[a]).then(arrays[a].0.cmp(arrays[b].0)));
    let (mut start, mut infos) = (0_usize, Vec::with_capacity(arrays.len()));
    for &at in &order {
        let (name, array) = arrays[at];
        let end = start
            .checked_add(array.nbytes())
            .ok_or_else(|| Error::SizeOverflow { shape: array.shape().into(), itemsize: 1 })?;
        let info = TensorInfo {
            dtype: dtypes[at],
            shape: array.shape().to_vec(),
            data_offsets: (start, end),
        };
        infos.push((name.to_owned(), info));
        start = end;
    }
    let wrong = |error: String| Error::Argument { stage: "save", what: error };
    let infos_are_none = infos.is_empty();
    let arrays = Metadata::new(None, infos).map_err(|error| wrong(error.to_string()))?;
    let mut text = serde_json::to_vec(&arrays).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_empty() {
        // In the order of the keys: the same metadata make the same file.
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
    // The first array starts at a multiple of 64 bytes, as frameworks want it. Spaces are what a
    // header may end with.
    let padded = (text.len() + 8).next_multiple_of(ALIGNMENT) - 8;
    text.resize(padded, b' ');
    let mut header = (padded as u64).to_le_bytes().to_vec();
    header.extend(text);
    Ok((header, order))
}

/// Writes the elements of an array.
pub(crate) fn write(array: &Array, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    blocks::of_array(array, |bytes| write(&little(array.dtype(), bytes)))
}
