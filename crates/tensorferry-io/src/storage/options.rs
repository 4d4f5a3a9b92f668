//! [`StorageOptions`]: how the stores of URLs are reached.

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
    /// * `deadline`: how long a read may go on without receiving a byte, with all repetitions:
    ///   `"300s"` by default.
    /// * `max_requests`: the most requests under way at once to one store: 256 by default.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Where pieces of objects are kept. `None` keeps none.
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
    /// Default of [`CacheOptions::bytes`]: 64 GiB.
    pub const CACHE_BYTES: u64 = 64 << 30;

    /// Options with these settings.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let settings = settings.into_iter().map(|(key, value)| (key.into(), value.into()));
        Self { settings: Arc::new(settings.collect()), cache: None }
    }

    /// The value of a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
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
