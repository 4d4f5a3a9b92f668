//! The name of an object in its store.

use crate::error::Result;
use crate::storage::object_store::failure::refused;
use crate::storage::url::{Scheme, Url, decoded};
use object_store::path::Path;
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;

/// An object's name in its store, and the query of a presigned URL.
pub(super) fn path(url: &Url) -> Result<(Path, Option<Arc<str>>)> {
    let (key, query) = match (url.scheme(), url.key().split_once('?')) {
        (Scheme::Http, Some((key, query))) => (key, Some(query.into())),
        _ => (url.key(), None),
    };
    let key = if url.scheme() == Scheme::Http { decoded(key) } else { key.to_owned() };
    let parsed = Path::parse(&key).map_err(|error| {
        refused("open", url, io::Error::new(ErrorKind::InvalidInput, error.to_string()))
    })?;
    if parsed.as_ref().is_empty() {
        let what = "the URL names a bucket, not an object in it. Give the key of one, or a pattern";
        return Err(refused("open", url, io::Error::new(ErrorKind::InvalidInput, what)));
    }
    Ok((parsed, query))
}
