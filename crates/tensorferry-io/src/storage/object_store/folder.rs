//! Objects whose keys begin alike, listed and removed.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::object_info::ObjectInfo;
use crate::storage::object_store::failure::is_missing;
use crate::storage::object_store::failure::refused;
use crate::storage::object_store::key::path;
use crate::storage::object_store::runtime::{run, undo};
use crate::storage::object_store::store::{Store, store};
use crate::storage::object_store::tries::repeated;
use crate::storage::options::StorageOptions;
use crate::storage::url::{Scheme, Url};
use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;
use std::io;
use std::sync::Arc;

/// Objects that are removed at once.
const AT_ONCE: usize = 16;

/// As [`list`](crate::storage::objects::list).
pub(crate) fn list_folder(
    folder: &Url,
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<ObjectInfo>> {
    let store = writable(folder, options)?;
    let place = ObjectPath::parse(folder.key()).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
        refused("list", folder, source)
    })?;
    let list = || store.objects.list(Some(&place)).try_collect::<Vec<_>>();
    let found = run(cancel, repeated(&store, (folder, None), "list", list))?;
    let info = |object: object_store::ObjectMeta| ObjectInfo {
        key: object.location.into(),
        modified: object.last_modified.timestamp(),
    };
    Ok(found.into_iter().map(info).collect())
}

/// As [`remove`](crate::storage::objects::remove).
pub(crate) fn remove(
    folder: &Url,
    keys: &[String],
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<()> {
    let store = writable(folder, options)?;
    run(cancel, remove_all(&store, folder, keys))
}

/// As [`remove_soon`](crate::storage::objects::remove_soon).
pub(crate) fn remove_soon(
    folder: &Url,
    keys: Vec<String>,
    options: &StorageOptions,
    cancel: &CancelToken,
) {
    let Ok(store) = writable(folder, options) else { return };
    let folder = folder.clone();
    undo(cancel, async move {
        if let Err(error) = remove_all(&store, &folder, &keys).await {
            log::warn!("{error}. It is part of what could not be saved.");
        }
    });
}

async fn remove_all(store: &Store, folder: &Url, keys: &[String]) -> Result<()> {
    let urls: Vec<Url> = keys.iter().map(|key| folder.with_key(key)).collect();
    let removals = urls.into_iter().map(|url| remove_one(store, url));
    futures_util::stream::iter(removals).buffer_unordered(AT_ONCE).try_collect().await
}

async fn remove_one(store: &Store, url: Url) -> Result<()> {
    let (place, _) = path(&url)?;
    match repeated(store, (&url, None), "remove", || store.objects.delete(&place)).await {
        Err(error) if is_missing(&error) => Ok(()),
        done => done,
    }
}

/// The store of a folder.
fn writable(folder: &Url, options: &StorageOptions) -> Result<Arc<Store>> {
    if folder.scheme() == Scheme::Http {
        let what =
            format!("{}: the files of a web server cannot be listed", folder.name().display());
        return Err(Error::argument("open", what));
    }
    store(folder, options)
}
