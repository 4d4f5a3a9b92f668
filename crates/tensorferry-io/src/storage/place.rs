//! Sources of paths and URLs.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::local;
use crate::storage::local::pattern;
use crate::storage::options::StorageOptions;
use crate::storage::read_at::ReadAt;
use crate::storage::url::{Place, Url};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sources that paths, URLs and patterns of them name, in this order; those that match one
/// pattern in natural order.
///
/// # Errors
/// [`Error::Io`] if one cannot be opened, or none matches a pattern; [`Error::Argument`] for wrong
/// options; [`Error::Interrupted`].
pub(crate) fn open_all<P: AsRef<Path>>(
    paths: &[P],
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    let mut all: Vec<Arc<dyn ReadAt>> = Vec::new();
    // Objects are opened together.
    let mut urls: Vec<Url> = Vec::new();
    for path in paths {
        match Place::of(path.as_ref())? {
            Place::Local(path) => {
                all.append(&mut remote(&std::mem::take(&mut urls), options, cancel)?);
                for path in local_matching(&path)? {
                    all.push(local::open(&path)?);
                }
            }
            Place::Remote(url) => urls.append(&mut expand(&url, options, cancel)?),
        }
    }
    all.append(&mut remote(&urls, options, cancel)?);
    Ok(all)
}

/// Opens one file or object.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened; [`Error::Argument`] for wrong options.
pub fn open_one(path: &Path, options: &StorageOptions) -> Result<Arc<dyn ReadAt>> {
    match Place::of(path)? {
        Place::Local(path) => local::open(&path),
        Place::Remote(url) => {
            let mut opened = remote(&[url], options, &CancelToken::default())?;
            opened.pop().ok_or_else(|| Error::argument("open", "no files were given"))
        }
    }
}

/// `path` itself, or what matches it as a pattern.
///
/// # Errors
/// As [`open_all`].
pub(crate) fn matching(
    path: &Path,
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<PathBuf>> {
    match Place::of(path)? {
        Place::Local(path) => local_matching(&path),
        Place::Remote(url) => {
            let urls = expand(&url, options, cancel)?;
            Ok(urls.iter().map(|url| format!("{}/{}", url.root(), url.key()).into()).collect())
        }
    }
}

fn local_matching(path: &Path) -> Result<Vec<PathBuf>> {
    if std::fs::symlink_metadata(path).is_ok() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(pattern::expand(path)?.unwrap_or_else(|| vec![path.to_owned()]))
}

#[cfg(feature = "object-store")]
fn remote(
    urls: &[Url],
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    crate::storage::object_store::open(urls, options, cancel)
}

#[cfg(feature = "object-store")]
fn expand(url: &Url, options: &StorageOptions, cancel: &CancelToken) -> Result<Vec<Url>> {
    crate::storage::object_store::matching(url, options, cancel)
}

#[cfg(not(feature = "object-store"))]
fn remote(
    urls: &[Url],
    _options: &StorageOptions,
    _cancel: &CancelToken,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    urls.first().map_or(Ok(Vec::new()), |url| Err(without(url)))
}

#[cfg(not(feature = "object-store"))]
fn expand(url: &Url, _options: &StorageOptions, _cancel: &CancelToken) -> Result<Vec<Url>> {
    Err(without(url))
}

/// The error of a build without stores.
#[cfg(not(feature = "object-store"))]
pub(crate) fn without(url: &Url) -> Error {
    let what = format!(
        "{}: this program was built without stores: the feature object-store of tensorferry. Build \
        it with that, or download the file.",
        url.name().display()
    );
    Error::argument("open", what)
}
