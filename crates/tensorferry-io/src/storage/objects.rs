//! Objects whose keys begin alike, as the files of a folder do.

use crate::error::Result;
use crate::storage::object_info::ObjectInfo;
use crate::storage::url::Url;
use crate::write::destination::WriteOptions;
use std::time::Duration;

/// All objects whose keys begin with that of `folder` and a slash.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) if the store cannot be listed;
/// [`Error::Argument`](crate::error::Error::Argument) for wrong options;
/// [`Error::Interrupted`](crate::error::Error::Interrupted).
pub fn list(folder: &Url, options: &WriteOptions) -> Result<Vec<ObjectInfo>> {
    #[cfg(feature = "object-store")]
    return crate::storage::object_store::list_folder(folder, &options.storage, &options.cancel);
    #[cfg(not(feature = "object-store"))]
    {
        let _unused = options;
        Err(crate::storage::place::without(folder))
    }
}

/// As [`remove`], for work that failed or was interrupted: the threads for network requests
/// remove the objects, and this one waits for them no longer than is usual. A failure is logged.
pub fn remove_soon(folder: &Url, keys: Vec<String>, options: &WriteOptions) {
    #[cfg(feature = "object-store")]
    crate::storage::object_store::remove_soon(folder, keys, &options.storage, &options.cancel);
    #[cfg(not(feature = "object-store"))]
    let _unused = (folder, keys, options);
}

/// Waits until what failed or interrupted writes left in stores is removed, for `limit` at most. A
/// program calls it before it ends: its threads end with it.
pub fn await_cleanup(limit: Duration) {
    #[cfg(feature = "object-store")]
    crate::storage::object_store::await_undone(limit);
    #[cfg(not(feature = "object-store"))]
    let _unused = limit;
}

/// Removes objects by their keys. One that does not exist is not an error.
///
/// # Errors
/// As [`list`].
pub fn remove(folder: &Url, keys: &[String], options: &WriteOptions) -> Result<()> {
    #[cfg(feature = "object-store")]
    return crate::storage::object_store::remove(folder, keys, &options.storage, &options.cancel);
    #[cfg(not(feature = "object-store"))]
    {
        let _unused = (keys, options);
        Err(crate::storage::place::without(folder))
    }
}
