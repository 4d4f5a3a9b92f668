//! The engine that reads past the system's cache.

use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::storage::local::direct::Reader;
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct::spans::Wanted;
use crate::storage::local::engine::{Engine, Piece};
use crate::storage::local::file::DataFile;
use crate::storage::mode::Mode;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Reads the rows of one array by [`Reader`].
#[derive(Debug)]
pub(crate) struct Direct {
    reader: Reader,
    /// The number of each file, by its address: the files live as long as this.
    numbers: HashMap<usize, usize>,
    files: Vec<Arc<DataFile>>,
}

impl Direct {
    /// Of rows that lie in these bytes of each file, one file after the other.
    pub(super) fn new(rows: impl IntoIterator<Item = (Arc<DataFile>, Range<u64>)>) -> Self {
        let (files, ranges): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let numbers =
            files.iter().enumerate().map(|(number, file)| (address(file), number)).collect();
        Self { reader: Reader::new(ranges), numbers, files }
    }
}

fn address(file: &Arc<DataFile>) -> usize {
    Arc::as_ptr(file).addr()
}

impl Files for Vec<Arc<DataFile>> {
    fn open(&self, file: usize) -> Result<Arc<DirectFile>> {
        self[file].direct()
    }

    fn path(&self, file: usize) -> &Path {
        self[file].path()
    }

    fn alignment(&self, file: usize) -> u64 {
        self[file].direct_alignment()
    }
}

impl Engine for Direct {
    fn mode(&self) -> Mode {
        Mode::Direct
    }

    fn read(&self, pieces: &mut [Piece<'_>], stop: &Stop) -> Result<()> {
        let number = |piece: &Piece<'_>| self.numbers.get(&address(piece.file)).copied();
        if pieces.iter().any(|piece| number(piece).is_none()) {
            return Err(Error::Argument {
                stage: "read",
                what: "bytes of a file that is none of the array's".into(),
            });
        }
        pieces.sort_by_cached_key(|piece| (number(piece), piece.offset));
        let wanted = |piece: &Piece<'_>| {
            Some(Wanted { file: number(piece)?, offset: piece.offset, len: piece.out.len() })
        };
        let wanted: Vec<Wanted> = pieces.iter().filter_map(wanted).collect();
        let mut out: Vec<&mut [u8]> = pieces.iter_mut().map(|piece| &mut *piece.out).collect();
        self.reader.read(&self.files, &wanted, &mut out, stop)?;
        for same in wanted.chunk_by(|a, b| a.file == b.file) {
            self.files[same[0].file].check()?;
        }
        Ok(())
    }
}
