//! How the stores of URLs are reached, as Python gives it.

use super::path::fs_path;
use crate::errors::OrRaise;
use crate::runtime::attach::attached;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tensorferry::dataset::CancelToken;
use tensorferry::{CacheOptions, ProfileCredentials, ReadAt, StorageOptions};

/// Settings by name, and the folder and bytes of a cache: what `_files/storage.py` makes of its
/// arguments.
pub(crate) type Storage = Option<(BTreeMap<String, String>, Option<(PathBuf, u64)>)>;

pub(crate) fn options(given: Storage) -> StorageOptions {
    let (settings, cache) = given.unwrap_or_default();
    let cache = cache.map(|(folder, bytes)| CacheOptions { folder, bytes });
    StorageOptions { settings: Arc::new(settings), cache }
}

/// Whether a path is the URL of an object in a store.
#[pyfunction]
pub(crate) fn is_remote(path: &Bound<'_, PyAny>) -> PyResult<bool> {
    guard();
    Ok(tensorferry::is_remote(&fs_path(path)?))
}

/// A file or object whose bytes are read at any place.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct Source(Arc<dyn ReadAt>);

#[pymethods]
impl Source {
    #[new]
    fn new(py: Python<'_>, path: &Bound<'_, PyAny>, storage: Storage) -> PyResult<Self> {
        guard();
        let (path, storage) = (fs_path(path)?, options(storage));
        let open = |_cancel: &CancelToken| tensorferry::open_one(&path, &storage);
        interruptible(py, open)?.or_raise(py).map(Self)
    }

    fn __len__(&self) -> PyResult<usize> {
        guard();
        Ok(usize::try_from(self.0.len())?)
    }

    /// What tells this state of the file from another; None if the storage does not.
    fn version(&self) -> Option<String> {
        guard();
        self.0.version().map(|version| version.as_str().to_owned())
    }

    /// At most `length` bytes from `offset` on; fewer at the end.
    fn read<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guard();
        let left = usize::try_from(self.0.len().saturating_sub(offset))?;
        let mut bytes = vec![0; length.min(left)];
        let read = |cancel: &CancelToken| self.0.read_exact_at(offset, &mut bytes, cancel);
        interruptible(py, read)?.or_raise(py)?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// What this process has asked stores for so far, by name.
#[pyfunction]
pub(crate) fn request_counts() -> BTreeMap<&'static str, u64> {
    guard();
    let counts = tensorferry::request_counts();
    BTreeMap::from([
        ("requests", counts.requests),
        ("bytes", counts.bytes),
        ("retries", counts.retries),
        ("hedges", counts.hedges),
        ("cache_bytes", counts.cache_bytes),
        ("cache_missed", counts.cache_missed),
    ])
}

/// Has boto3 find the credentials of profiles, if it is installed. Nothing is imported before a URL
/// of S3 is opened.
pub(crate) fn lend_boto3() {
    tensorferry::set_profile_credentials(find);
}

fn find(profile: Option<&str>) -> Result<Option<ProfileCredentials>, String> {
    let found = attached(|py| {
        let module = py.import("tensorferry._files.aws")?;
        let found = module.call_method1("credentials", (profile,))?;
        found.extract::<Option<(String, String, Option<String>)>>()
    });
    let found = found.map_err(|raised| raised.to_string())?;
    Ok(found.map(|(key_id, secret_key, token)| ProfileCredentials { key_id, secret_key, token }))
}
