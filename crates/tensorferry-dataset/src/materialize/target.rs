//! Where a dataset is saved: a directory, or objects whose keys begin alike.

use crate::error::Result;
use crate::materialize::directory::{Directory, sync};
use crate::materialize::layout::MANIFEST;
use crate::materialize::manifest::Manifest;
use crate::materialize::remote::Folder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tensorferry_io::WriteOptions;
use tensorferry_io::storage::io_error::io;
use tensorferry_io::storage::url::Place;
use tensorferry_io::write::object::ObjectWriter;
use tensorferry_io::write::writeback::Writeback;

/// Bytes of the write buffer of each file.
const BUFFER: usize = 256 << 10;

/// A place that a dataset is written to. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Target {
    Local(Directory),
    Remote(Box<Folder>),
}

/// A file of a dataset that is being written.
#[derive(Debug)]
pub(crate) enum Output {
    Local(PathBuf, BufWriter<Writeback<File>>),
    Remote(Box<ObjectWriter>),
}

impl Target {
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if something exists there that may not be replaced.
    pub(crate) fn new(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(match Place::of(path)? {
            Place::Local(path) => Self::Local(Directory::new(&path, options)?),
            Place::Remote(url) => Self::Remote(Box::new(Folder::new(&url, options)?)),
        })
    }

    /// With the files of an earlier write to the same place that has not completed.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub(crate) fn resume(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(match Place::of(path)? {
            Place::Local(path) => Self::Local(Directory::resume(&path, options)?),
            Place::Remote(url) => Self::Remote(Box::new(Folder::resume(&url, options)?)),
        })
    }

    /// Leaves the files for [`Target::resume`].
    pub(crate) fn keep(self) {
        match self {
            Self::Local(directory) => directory.keep(),
            Self::Remote(folder) => folder.keep(),
        }
    }

    /// Creates a file, one of `together`.
    pub(crate) fn create(&mut self, name: &str, together: usize) -> Result<Output> {
        match self {
            Self::Local(directory) => {
                let path = directory.path().join(name);
                let file = File::create_new(&path).map_err(io("create", &path))?;
                let file = BufWriter::with_capacity(BUFFER, Writeback::new(file));
                Ok(Output::Local(path, file))
            }
            Self::Remote(folder) => Ok(Output::Remote(Box::new(folder.create(name, together)?))),
        }
    }

    /// Where its files are written.
    pub(crate) fn folder(&self) -> PathBuf {
        match self {
            Self::Local(directory) => directory.path().to_owned(),
            Self::Remote(folder) => folder.path(),
        }
    }

    /// Removes the files that are not to be kept, those of other processes too.
    pub(crate) fn remove_others(&self, keep: &BTreeSet<String>) -> Result<()> {
        let directory = match self {
            Self::Local(directory) => directory.path(),
            Self::Remote(folder) => return folder.remove_others(keep),
        };
        for entry in std::fs::read_dir(directory).map_err(io("read", directory))? {
            let entry = entry.map_err(io("read", directory))?;
            if !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                std::fs::remove_file(entry.path()).map_err(io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Makes the dataset appear, whose files are complete.
    pub(crate) fn finish(self, manifest: Manifest) -> Result<()> {
        match self {
            Self::Local(directory) => {
                let path = directory.path().join(MANIFEST);
                let mut file = File::create_new(&path).map_err(io("create", &path))?;
                file.write_all(&manifest.to_json()).map_err(io("write", &path))?;
                file.sync_all().map_err(io("sync", &path))?;
                sync(directory.path())?;
                Ok(directory.place()?)
            }
            Self::Remote(folder) => folder.finish(manifest),
        }
    }
}

impl Output {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Local(path, file) => file.write_all(bytes).map_err(io("write", path))?,
            Self::Remote(object) => object.write(bytes)?,
        }
        Ok(())
    }

    /// Replaces the first bytes and completes the file.
    pub(crate) fn finish(self, start: &[u8]) -> Result<()> {
        match self {
            Self::Local(path, mut file) => {
                let rewritten = file
                    .seek(SeekFrom::Start(0))
                    .and_then(|_| file.write_all(start))
                    .and_then(|()| file.flush());
                rewritten.map_err(io("write", &path))?;
                file.get_ref().file().sync_all().map_err(io("sync", &path))?;
            }
            Self::Remote(mut object) => {
                object.rewrite_start(start);
                object.finish()?;
            }
        }
        Ok(())
    }
}
