//! The files of a cache and their names.
//!
//! ```text
//! FOLDER/tensorferry-1/usage                     the bytes that count; its lock is the folder's
//! FOLDER/tensorferry-1/leases/PROCESS.lease      the objects that a process has open
//! FOLDER/tensorferry-1/objects/XX/OBJECT-SEGMENT
//! ```
//!
//! All that is particular to this layout of files is below a folder of its name: a later version
//! has another, and files of other programs beside it are left alone.

use crate::storage::cache::key::ObjectId;
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The folder of a cache.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// A file of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) id: ObjectId,
    pub(crate) segment: u64,
}

impl Folder {
    /// The cache in a folder that exists.
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("tensorferry-1"))
    }

    /// Creates the folders that are not there, except the one that was named.
    pub(crate) fn create(&self) -> Result<()> {
        [self.0.clone(), self.leases(), self.objects()].iter().try_for_each(|path| create(path))
    }

    pub(crate) fn usage(&self) -> PathBuf {
        self.0.join("usage")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    fn versions(&self, id: &ObjectId) -> PathBuf {
        self.objects().join(id.folder())
    }

    /// The file of a segment.
    pub(crate) fn segment(&self, id: &ObjectId, segment: u64) -> PathBuf {
        self.versions(id).join(id.file(segment))
    }

    /// Creates the folder of an object's files.
    pub(crate) fn create_for(&self, id: &ObjectId) -> Result<()> {
        create(&self.versions(id))
    }

    /// The files of all objects.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for folder in fs::read_dir(self.objects())? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                list(&folder.path(), &mut entries)?;
            }
        }
        Ok(entries)
    }

    /// The files of other versions of an object.
    pub(crate) fn other_versions(&self, id: &ObjectId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        list(&self.versions(id), &mut entries)?;
        entries.retain(|entry| entry.id.is_version_of(id) && entry.id != *id);
        Ok(entries)
    }
}

/// Creates a folder unless it exists.
fn create(folder: &Path) -> Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Lists the files of segments in a folder. Others are not of the cache.
fn list(folder: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some((id, segment)) = entry.file_name().to_str().and_then(ObjectId::parse) {
            entries.push(Entry { path: entry.path(), id, segment });
        }
    }
    Ok(())
}
