//! Rows of TFRecord files: the bytes of records, or the features of Examples.

use crate::array::array::Array;
use crate::array::parts::Parts;
use crate::array::row_source::RowSource;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::format::tfrecord::example;
use crate::format::tfrecord::example::{Feature, First};
use crate::format::tfrecord::index::{FORMAT, Index, TAIL, masked_crc};
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use crate::memory::pool;
use crate::storage::engine::engine;
use crate::storage::located::Located;
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use crate::storage::read_at::{Extent, Piece, ReadEngine};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::{ByteOrder, DType, Layout, Tensor};
use tensorferry_core::{Shape, TensorSpec};

/// Bytes of records to read at once.
const TOGETHER: u64 = 4 << 20;

/// The records of several files, concatenated.
#[derive(Debug)]
struct Records {
    files: Vec<RecordFile>,
    parts: Parts,
    engine: Arc<dyn ReadEngine>,
}

#[derive(Debug)]
struct RecordFile {
    file: Arc<dyn ReadAt>,
    index: Index,
    /// The whole file, if it is memory-mapped.
    mmap: Option<Tensor>,
}

/// Location and slot of a requested record.
struct Asked {
    part: usize,
    /// Index of the record in its file.
    record: u64,
    start: u64,
    len: u64,
    slot: usize,
}

impl Records {
    fn open(files: &[Arc<dyn ReadAt>], mode: Mode, cancel: &CancelToken) -> Result<Self> {
        let open = |file: &Arc<dyn ReadAt>| {
            let index = Index::build(file, cancel)?;
            let mmap = if mode == Mode::Map { Some(whole(file)?) } else { None };
            Ok(RecordFile { file: Arc::clone(file), index, mmap })
        };
        let files = files.iter().map(open).collect::<Result<Vec<_>>>()?;
        let parts = Parts::new(files.iter().map(|file| file.index.records()))?;
        let extent = |file: &RecordFile| Extent {
            source: Arc::clone(&file.file),
            bytes: 0..file.file.len(),
        };
        let engine = engine(mode, files.iter().map(extent).collect());
        Ok(Self { files, parts, engine })
    }

    fn find(&self, request: &RowRequest) -> Result<Asked> {
        let (part, record) = self.parts.find(request.index)?;
        let (start, len) = self.files[part].index.record(record);
        Ok(Asked { part, record, start, len, slot: request.slot })
    }

    /// Calls `each` with every requested record, after comparing its checksum.
    fn each(
        &self,
        requests: &[RowRequest],
        cancel: &CancelToken,
        mut each: impl FnMut(&Asked, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut asked =
            requests.iter().map(|request| self.find(request)).collect::<Result<Vec<_>>>()?;
        let mut verified = |asked: &Asked, bytes: &[u8]| {
            let (record, sum) = bytes.split_at(bytes.len().saturating_sub(4));
            let (expected, actual) =
                (u32::from_le_bytes(sum.try_into().unwrap_or_default()), masked_crc(record));
            if expected != actual {
                return Err(Error::Checksum {
                    format: FORMAT,
                    offset: asked.start,
                    expected,
                    actual,
                });
            }
            each(asked, record)
        };
        let mut verified = |asked: &Asked, bytes: &[u8]| {
            verified(asked, bytes)
                .map_err(|error| error.in_file(self.files[asked.part].file.name()))
        };
        if self.files.iter().all(|file| file.mmap.is_some()) {
            return asked.iter().try_for_each(|asked| {
                cancel.check()?;
                let bytes = self.files[asked.part]
                    .mmap
                    .as_ref()
                    .map_or(&[][..], |mmap| mmap.buffer().as_slice());
                let (start, len) = (index(asked.start), index(asked.len + TAIL));
                let bytes = start
                    .checked_add(len)
                    .and_then(|end| bytes.get(start..end))
                    .unwrap_or_default();
                verified(asked, bytes)
            });
        }
        // Read the files in order, independently of the order of the requests.
        asked.sort_unstable_by_key(|asked| (asked.part, asked.start));
        let mut rest = asked.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |asked: &&Asked| {
                bytes += asked.len + TAIL;
                bytes <= TOGETHER
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            let mut memory = pool::take(index(now.iter().map(|asked| asked.len + TAIL).sum()))?;
            let mut left = memory.as_mut_slice();
            let mut pieces = Vec::with_capacity(now.len());
            for asked in now {
                let (out, rest) = std::mem::take(&mut left).split_at_mut(index(asked.len + TAIL));
                left = rest;
                pieces.push(Piece { source: asked.part, offset: asked.start, out });
            }
            self.engine.read(&mut pieces, cancel)?;
            let mut left = &*memory.as_mut_slice();
            for asked in now {
                let (bytes, rest) = left.split_at(index(asked.len + TAIL));
                left = rest;
                verified(asked, bytes)?;
            }
            rest = later;
        }
        Ok(())
    }
}

/// An offset or size in memory, which fits.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn whole(file: &Arc<dyn ReadAt>) -> Result<Tensor> {
    let layout = Layout::contiguous(&[index(file.len())], 1)?;
    Located {
        format: FORMAT,
        source: Arc::clone(file),
        offset: 0,
        dtype: DType::UInt8,
        order: ByteOrder::Native,
        layout,
    }
    .map()
}

/// The columns of records.
#[derive(Debug)]
struct RecordRows {
    records: Records,
    columns: Vec<TensorSpec>,
    /// Features of the columns. Empty if the only column has the bytes of the records.
    features: Vec<Feature>,
    /// Features that records may have, unless features were chosen. Others would be ignored
    /// silently.
    first: Option<First>,
}

impl RowSource for RecordRows {
    fn columns(&self) -> &[TensorSpec] {
        &self.columns
    }

    fn rows(&self) -> u64 {
        self.records.parts.rows()
    }

    fn read_rows(
        &self,
        which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        if self.features.is_empty() {
            let Some(rows) = out.first_mut() else { return Ok(()) };
            return self.records.each(requests, cancel, |asked, record| {
                rows.slot(asked.slot).copy_from_slice(record);
                Ok(())
            });
        }
        self.records.each(requests, cancel, |asked, record| {
            let wanted = which
                .iter()
                .zip(out.iter_mut())
                .map(|(at, rows)| (&self.features[*at], rows.slot(asked.slot)));
            example::read(record, wanted, self.first.as_ref())
                .map_err(|wrong| example::in_record(wrong, asked.record, asked.start))
        })
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.records.parts.find(row).ok()?;
        Some((self.records.files[part].file.name(), row))
    }
}

/// Opens TFRecord files. Examples give named arrays of their features, all or those `asked` for.
/// Other records, or any with `bytes`, give one array whose rows are the bytes of records.
///
/// # Errors
/// Those of reading; [`Error::Argument`] if records of bytes differ in length, or a feature is
/// missing or has another dtype or shape.
pub(crate) fn open(
    files: &[Arc<dyn ReadAt>],
    bytes: bool,
    asked: &[(String, Option<TensorSpec>)],
    mode: Mode,
    cancel: &CancelToken,
) -> Result<RecordArrays> {
    let records = Records::open(files, mode, cancel)?;
    let paths: Arc<[PathBuf]> = files.iter().map(|file| file.name().to_owned()).collect();
    let mode = if mode == Mode::Map { mode } else { records.engine.mode() };
    let first = if bytes { None } else { first_features(&records)? };
    let wrong = |what: &str| Error::argument("open", format!("{}: {what}", paths[0].display()));
    let Some(first) = first else {
        if !asked.is_empty() {
            return Err(wrong("its first record is not a tf.train.Example, and has no features"));
        }
        let len = equal_len(&records)?;
        let columns = vec![TensorSpec::new(DType::UInt8, Shape::fixed(&[len]))];
        let source = Arc::new(RecordRows { records, columns, features: Vec::new(), first: None });
        return Ok(RecordArrays::Bytes(Array::new(source, 0, false, mode, paths)?));
    };
    if first.is_sequence && asked.is_empty() {
        let what = "its records are tf.train.SequenceExamples, and their feature_lists would be \
            left out. Parse the records with tf.io.parse_sequence_example, open the bytes of \
            records of one length as format tfrecord_bytes, or choose features of the context.";
        return Err(wrong(what).with_hint(Hint::Features));
    }
    let features =
        if asked.is_empty() { first.features.clone() } else { chosen(&first.features, asked)? };
    let left_out = first.left_out.clone();
    let first = Some(first).filter(|_| asked.is_empty());
    let columns = features.iter().map(|feature| feature.spec.clone()).collect();
    let names: Vec<String> = features.iter().map(|feature| feature.name.clone()).collect();
    let source: Arc<dyn RowSource> = Arc::new(RecordRows { records, columns, features, first });
    let array = |(column, name)| {
        Ok((name, Array::new(Arc::clone(&source), column, false, mode, Arc::clone(&paths))?))
    };
    Ok(RecordArrays::Examples {
        arrays: names.into_iter().enumerate().map(array).collect::<Result<_>>()?,
        left_out,
    })
}

/// The requested features, with the requested dtypes and shapes.
fn chosen(features: &[Feature], asked: &[(String, Option<TensorSpec>)]) -> Result<Vec<Feature>> {
    let wrong = |what: String| Error::argument("open", what);
    let one = |(name, spec): &(String, Option<TensorSpec>)| {
        let found = features.iter().find(|feature| feature.name == *name).ok_or_else(|| {
            let names: Vec<&str> =
                features.iter().map(|feature| feature.name.as_str()).take(20).collect();
            wrong(format!(
                "the first record has no feature {name:?} that can be an array; it has \
                {names:?}"
            ))
        })?;
        spec.as_ref().map_or_else(|| Ok(found.clone()), |spec| found.of_spec(spec).map_err(wrong))
    };
    asked.iter().map(one).collect()
}

/// The result of [`open`].
#[derive(Debug)]
pub(crate) enum RecordArrays {
    Bytes(Array),
    Examples {
        arrays: Vec<(String, Array)>,
        /// Features that are not arrays, and why.
        left_out: Vec<(String, String)>,
    },
}

/// The features of the first record, if it is an Example.
fn first_features(records: &Records) -> Result<Option<First>> {
    let mut features = None;
    if records.parts.rows() > 0 {
        records.each(
            &[RowRequest { index: 0, slot: 0 }],
            &CancelToken::default(),
            |_, record| {
                features = example::infer(record);
                Ok(())
            },
        )?;
    }
    Ok(features)
}

/// The common length of all records.
fn equal_len(records: &Records) -> Result<usize> {
    let mut first: Option<(u64, &RecordFile)> = None;
    for file in &records.files {
        for record in 0..file.index.records() {
            let (_, len) = file.index.record(record);
            match first {
                Some((other, named)) if other != len => {
                    let (a, b) = (named.file.name().display(), file.file.name().display());
                    let what = format!(
                        "{a}: its first record has {other} bytes; {b}: record {record} has {len}. \
                        Records are the rows of an array where they are of \
                         one length, or tf.train.Examples."
                    );
                    return Err(Error::argument("open", what));
                }
                Some(_) if matches!(file.index, Index::Equal { .. }) => break,
                Some(_) => {}
                None => first = Some((len, file)),
            }
        }
    }
    Ok(first.map_or(0, |(len, _)| index(len)))
}
