//! Objects of stores: S3, Google Cloud Storage, Azure, web servers.
//!
//! # Rationale
//! `object_store` has the clients: credentials, signatures, the protocols. How requests are cut,
//! how many are under way, when they are repeated and where the bytes go is decided here, because a
//! batch wants thousands of small ranges, or a few large ones, directly in its memory.
//!
//! # Limitations
//! Keys with empty parts (`a//b`) cannot be named. Web servers cannot be listed or written to.

mod call;
mod commit;
mod credentials;
mod engine;
mod failure;
mod fetch;
mod folder;
mod key;
mod latency;
mod limiter;
mod list;
mod mark;
mod object;
mod readahead;
mod receive;
mod rows;
mod runtime;
mod source;
mod spans;
mod store;
mod tries;
mod upload;

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::options::StorageOptions;
use crate::storage::read_at::ReadAt;
use crate::storage::url::Url;
use std::sync::Arc;

pub(crate) use folder::{list_folder, remove, remove_soon};
pub(crate) use runtime::await_undone;
pub(crate) use upload::Upload;

pub use credentials::{FindCredentials, ProfileCredentials, set_profile_credentials};

/// Opens objects, in this order.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) if one does not exist or may not be read;
/// [`Error::Argument`](crate::error::Error::Argument) for wrong options;
/// [`Error::Interrupted`](crate::error::Error::Interrupted).
pub(crate) fn open(
    urls: &[Url],
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    let objects = source::open_all(urls, options, cancel)?;
    Ok(objects.into_iter().map(|object| object as Arc<dyn ReadAt>).collect())
}

/// The objects that match a URL with a pattern; the URL itself if it has none.
///
/// # Errors
/// As [`open`].
pub(crate) fn matching(
    url: &Url,
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<Url>> {
    Ok(list::expand(url, options, cancel)?.unwrap_or_else(|| vec![url.clone()]))
}
