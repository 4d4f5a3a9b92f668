//! [`StorageOptions`]: how the stores of URLs are reached.

#[cfg(feature = "object-store")]
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How the stores of URLs are reached, and where their objects are cached. Paths need none.
///
/// `Debug` shows the names of settings, not their values, which can be secrets.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StorageOptions {
    /// Settings by name, those of the crate `object_store`: `aws_endpoint`, `aws_access_key_id`,
    /// `google_service_account`, `azure_storage_account_name`, `allow_http`. They come before the
    /// environment's variables. Two more are for all stores:
    ///
    /// * `deadline`: how long a read may go on without receiving a byte, and a part of an object
    ///   that is written without being accepted, with all repetitions: `"300s"` by default.
    /// * `max_requests`: the most requests under way at once to one store: 256 by default.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Where pieces of objects are kept. `None` keeps none, unless the environment says where:
    /// `TENSORFERRY_CACHE` and `TENSORFERRY_CACHE_BYTES`.
    pub cache: Option<CacheOptions>,
}

/// A folder that keeps pieces of objects, shared by processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheOptions {
    /// The folder. It is created if it does not exist.
    pub folder: PathBuf,
    /// The most bytes of all pieces.
    pub bytes: u64,
}

impl StorageOptions {
    /// Options with these settings.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let settings = settings.into_iter().map(|(key, value)| (key.into(), value.into()));
        Self { settings: Arc::new(settings.collect()), cache: None }
    }

    /// The cache, or that of the environment: `TENSORFERRY_CACHE` is its folder, and
    /// `TENSORFERRY_CACHE_BYTES` its size. An empty folder is none.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size that is not a number.
    #[cfg(feature = "object-store")]
    pub(crate) fn cache(&self) -> Result<Option<CacheOptions>> {
        let cache = match &self.cache {
            Some(cache) => Some(cache.clone()),
            None => CacheOptions::from_env()?,
        };
        Ok(cache.filter(|cache| !cache.folder.as_os_str().is_empty()))
    }

    /// The value of a setting.
    #[cfg(feature = "object-store")]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

impl CacheOptions {
    /// The most bytes of a cache for which none are given: 64 GiB.
    pub const BYTES: u64 = 64 << 30;

    #[cfg(feature = "object-store")]
    fn from_env() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("TENSORFERRY_CACHE") else { return Ok(None) };
        let bytes = match std::env::var("TENSORFERRY_CACHE_BYTES") {
            Err(_) => Self::BYTES,
            Ok(text) => text.trim().parse().map_err(|_| {
                let what = format!("TENSORFERRY_CACHE_BYTES is {text:?}, not a number of bytes");
                Error::argument("open", what)
            })?,
        };
        Ok(Some(Self { folder: folder.into(), bytes }))
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageOptions")
            .field("settings", &self.settings.keys())
            .field("cache", &self.cache)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let options = StorageOptions::new([("aws_secret_access_key", "hunter2")]);
        let shown = format!("{options:?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("hunter2"), "{shown}");
    }
}
