//! The records of TFRecord files.

use crate::array::parts::Parts;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::tfrecord::index::{FORMAT, Index, TAIL, masked_crc};
use crate::gather::request::RowRequest;
use crate::memory::pool;
use crate::memory::room::list_of;
use crate::storage::engine::engine;
use crate::storage::located::Located;
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use crate::storage::read_at::{Extent, Piece, ReadEngine};
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::{ByteOrder, DType, Layout, Tensor};

/// Bytes of records to read at once.
const TOGETHER: u64 = 4 << 20;

/// The records of several files, concatenated.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) files: Vec<RecordFile>,
    parts: Parts,
    engine: Arc<dyn ReadEngine>,
}

#[derive(Debug)]
pub(super) struct RecordFile {
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) index: Index,
    /// The whole file, if it is memory-mapped.
    mmap: Option<Tensor>,
}

/// Location and slot of a requested record.
pub(super) struct Asked {
    part: usize,
    /// Index of the record in its file.
    pub(super) record: u64,
    pub(super) start: u64,
    len: u64,
    pub(super) slot: usize,
}

impl Records {
    pub(super) fn open(
        files: &[Arc<dyn ReadAt>],
        mode: Mode,
        cancel: &CancelToken,
    ) -> Result<Self> {
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

    /// The mode in which records are read.
    pub(super) fn mode(&self, mode: Mode) -> Mode {
        if mode == Mode::Map { mode } else { self.engine.mode() }
    }

    /// Number of records.
    pub(super) fn rows(&self) -> u64 {
        self.parts.rows()
    }

    /// The file of a record, and its number there.
    pub(super) fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        Some((self.files[part].file.name(), row))
    }

    /// Calls `each` with every requested record, after comparing its checksum.
    pub(super) fn each(
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
                let mmap = self.files[asked.part].mmap.as_ref();
                let bytes = mmap.and_then(|mmap| mmap.as_view().as_bytes()).unwrap_or_default();
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
            let mut pieces = list_of(now.len())?;
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
pub(super) fn index(bytes: u64) -> usize {
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
