//! [`Home`]: where the files of a saved dataset are read.

use crate::error::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_io::storage::url::{Place, Url};
use tensorferry_io::{ReadAt, StorageOptions, open_one};

/// A directory, or objects whose keys begin alike.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) place: Place,
    storage: StorageOptions,
}

impl Home {
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) for a URL without a bucket.
    pub(crate) fn new(path: &Path, storage: &StorageOptions) -> Result<Self> {
        let place = match Place::of(path)? {
            Place::Remote(url) => Place::Remote(folder(&url)),
            local => local,
        };
        Ok(Self { place, storage: storage.clone() })
    }

    /// A folder in it.
    pub(crate) fn inner(&self, name: &str) -> Self {
        let place = match &self.place {
            Place::Local(path) => Place::Local(path.join(name)),
            Place::Remote(url) => Place::Remote(object(url, name)),
        };
        Self { place, ..self.clone() }
    }

    /// The path or URL of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match &self.place {
            Place::Local(path) => path.join(name),
            Place::Remote(url) => {
                let url = object(url, name);
                PathBuf::from(format!("{}/{}", url.root(), url.key()))
            }
        }
    }

    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if there is no such file.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        Ok(open_one(&self.path(name), &self.storage)?)
    }
}

/// A URL without the slash at its end.
pub(crate) fn folder(url: &Url) -> Url {
    url.with_key(url.key().trim_end_matches('/'))
}

/// The URL of an object in a folder.
pub(crate) fn object(folder: &Url, name: &str) -> Url {
    match folder.key() {
        "" => folder.with_key(name),
        key => folder.with_key(format!("{key}/{name}")),
    }
}
