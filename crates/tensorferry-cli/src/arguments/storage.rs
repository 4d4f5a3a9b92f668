//! How the stores of URLs are reached, by options that all commands share.

use crate::arguments::size::Size;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry::{CacheOptions, StorageOptions, is_remote};

/// How object stores are reached.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Object stores (s3://, gs://, az://, http://)")]
pub(crate) struct StorageArgs {
    /// Setting of a store, such as aws_region=eu-west-1; may be given several times [default: those
    /// of the environment, which is the place for secrets]
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    storage_option: Vec<Setting>,
    /// Folder that keeps pieces of objects, for all processes [default: $TENSORFERRY_CACHE]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Most bytes of all pieces [default: 64G]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = crate::arguments::size::parse,
        requires = "cache"
    )]
    cache_bytes: Option<Size>,
}

/// A setting, whose value may be a secret: `Debug` does not show it.
#[derive(Clone)]
struct Setting(String, String);

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Setting(key.into(), value.into())),
        _ => Err("a name, = and a value were expected".into()),
    }
}

impl StorageArgs {
    pub(crate) fn options(&self) -> StorageOptions {
        let settings = self.storage_option.iter().map(|Setting(key, value)| (key, value));
        let settings: BTreeMap<String, String> =
            settings.map(|(key, value)| (key.clone(), value.clone())).collect();
        let cache = self.cache.clone().map(|folder| CacheOptions {
            folder,
            bytes: self.cache_bytes.map_or(CacheOptions::BYTES, |bytes| bytes as u64),
        });
        StorageOptions { settings: Arc::new(settings), cache }
    }
}

/// Whether one of these is in an object store.
pub(crate) fn any_remote<P: AsRef<Path>>(paths: &[P]) -> bool {
    paths.iter().any(|path| is_remote(path.as_ref()))
}
