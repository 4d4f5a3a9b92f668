//! TFRecord: a sequence of records, each with its length and checksums.
//!
//! A record is `length: u64, checksum of length: u32, bytes, checksum of bytes: u32`,
//! little-endian; the checksums are CRC-32C, *masked*
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>). The start of a record follows from
//! the lengths before it, so opening a file reads all lengths and keeps an index. Compressed files
//! are decompressed first.

pub(crate) mod asked;
pub(crate) mod compressed;
pub(crate) mod encode;
pub(crate) mod example;
pub(crate) mod index;
pub(crate) mod opening;
pub(crate) mod ragged;
pub(crate) mod records;
pub(crate) mod varying;
pub(crate) mod wire;

use crate::array::array::Array;
use crate::array::arrays::{Member, Notes};
use crate::array::ragged::RaggedArray;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::blocks;
use crate::format::by_name;
use crate::format::file_format::{
    Capabilities, Checked, FileFormat, Format, OpenRequest, Opened, Raw, no_names,
};
use crate::format::tfrecord::compressed::decompressed;
use crate::format::tfrecord::encode::Examples;
use crate::format::tfrecord::index::{BLOCK, FORMAT, Index, begins, frame, masked};
use crate::format::tfrecord::opening::RecordArrays;
use crate::gather::byte_order::little;
use crate::storage::io_error::io;
use crate::storage::read_at::ReadAt;
use crate::storage::section::{Section, read_error};
use crate::write::atomic::atomic_write;
use crate::write::destination::Destination;
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

/// The format; `bytes`: records are rows of bytes even if they look like Examples.
pub(crate) struct TfRecord {
    pub(crate) bytes: bool,
}

impl FileFormat for TfRecord {
    fn format(&self) -> Format {
        if self.bytes { Format::TfRecordBytes } else { Format::TfRecord }
    }

    fn name(&self) -> &'static str {
        if self.bytes { "tfrecord_bytes" } else { FORMAT }
    }

    fn extensions(&self) -> &'static [&'static str] {
        if self.bytes { &[] } else { &["tfrecord", "tfrecords"] }
    }

    fn begins(&self, start: &[u8]) -> bool {
        !self.bytes && (begins(start) || compressed::begins(start))
    }

    fn capabilities(&self) -> Capabilities {
        let examples = !self.bytes;
        Capabilities {
            one_array: true,
            arrays_by_name: examples,
            columns: examples,
            ..Capabilities::default()
        }
    }

    fn part_name(&self) -> &'static str {
        "record"
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened> {
        let OpenRequest { sources, mode, options } = *request;
        let (features, cancel) = (&options.features, &options.cancel);
        match opening::open(&decompressed(sources, cancel)?, self.bytes, features, mode, cancel)? {
            RecordArrays::Bytes(array) => Ok(Opened::Array(array)),
            RecordArrays::Examples { arrays, ragged, left_out } => {
                let boxed = |(name, array)| (name, Box::new(array) as Box<dyn Member>);
                let members = arrays.into_iter().map(boxed).collect();
                // Already chosen, because the features determine the dtype of byte strings.
                let notes = Notes { left_out, ..Notes::default() };
                Ok(match by_name::opened(request, members, notes, &[])? {
                    Opened::Arrays(arrays) => Opened::Arrays(arrays.with_ragged(ragged)),
                    opened @ Opened::Array(_) => opened,
                })
            }
        }
    }

    fn save_array(&self, to: &Destination<'_>, array: &Array) -> Result<()> {
        atomic_write(to, |file| {
            write(array, &mut |bytes| file.write_all(bytes).map_err(io("write", to.path)))
        })
    }

    fn save_arrays(
        &self,
        to: &Destination<'_>,
        arrays: &[(&str, &Array)],
        _compress: bool,
        _metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        if self.bytes {
            return Err(no_names(self.name()));
        }
        save_examples(to, arrays, &[])
    }

    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        _raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked> {
        let sources = decompressed(std::slice::from_ref(source), cancel)?;
        let parts = sources.iter().map(|source| verify(source, cancel)).sum::<Result<u64>>()?;
        Ok(Checked { parts, checksum: Some("CRC-32C"), trailing: 0 })
    }
}

/// Writes each row of the arrays as a `tf.train.Example`. Of the rows of different lengths, those
/// of uint8 are byte strings.
///
/// # Errors
/// [`Error::Io`]; [`Error::Argument`] if the numbers of rows differ; those of reading arrays.
pub(crate) fn save_examples(
    to: &Destination<'_>,
    arrays: &[(&str, &Array)],
    ragged: &[(&str, &RaggedArray)],
) -> Result<()> {
    let examples = Examples::new(arrays, ragged)?;
    atomic_write(to, |file| {
        examples.write(|bytes| file.write_all(bytes).map_err(io("write", to.path)))
    })
}

/// Reads every record and checks its checksums. Returns the number of records.
///
/// # Errors
/// As [`Index::build`]; [`Error::Checksum`] at the first record with a wrong checksum.
fn verify(source: &Arc<dyn ReadAt>, cancel: &CancelToken) -> Result<u64> {
    let records = Index::build(source, cancel)?;
    let mut stream = BufReader::with_capacity(BLOCK, Section::whole(source).cancelled_by(cancel));
    let mut block = vec![0; BLOCK];
    let mut exactly = |out: &mut [u8]| {
        stream.read_exact(out).map_err(|error| read_error(error, io("read", source.name())))
    };
    for record in 0..records.records() {
        let (offset, len) = records.record(record);
        let (mut left, mut crc) = (usize::try_from(len).unwrap_or(usize::MAX), 0);
        exactly(&mut [0; 12])?;
        while left > 0 {
            cancel.check()?;
            let part = &mut block[..left.min(BLOCK)];
            exactly(part)?;
            crc = crc32c::crc32c_append(crc, part);
            left -= part.len();
        }
        let mut tail = [0; 4];
        exactly(&mut tail)?;
        let (expected, actual) = (u32::from_le_bytes(tail), masked(crc));
        if expected != actual {
            return Err(
                Error::Checksum { format: FORMAT, offset, expected, actual }.in_file(source.name())
            );
        }
    }
    Ok(records.records())
}

/// Writes each row of an array as a record of its bytes, little-endian.
fn write(array: &Array, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if array.shape().is_empty() {
        return Err(Error::argument(
            "save",
            "an array without dimensions has no rows to make records of",
        ));
    }
    let mut out = Vec::new();
    array.each_chunk(|rows| {
        let len = rows.shape().first().copied().unwrap_or(0);
        let mut bytes = Vec::with_capacity(rows.layout().nbytes());
        blocks::of_view(&rows.as_view(), |block| {
            bytes.extend_from_slice(&little(rows.dtype(), block));
            Ok(())
        })?;
        out.clear();
        let row = bytes.len() / len.max(1);
        (0..len).for_each(|at| frame(&bytes[at * row..(at + 1) * row], &mut out));
        write(&out)
    })
}
