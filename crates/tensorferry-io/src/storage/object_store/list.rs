//! Objects whose keys match a pattern.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::local::natural;
use crate::storage::local::pattern::{is_magic, matches_part};
use crate::storage::object_store::failure::refused;
use crate::storage::object_store::key::path;
use crate::storage::object_store::runtime::run;
use crate::storage::object_store::store::{Store, store};
use crate::storage::object_store::tries::repeated_within;
use crate::storage::options::StorageOptions;
use crate::storage::url::{Scheme, Url};
use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::io;
use std::io::ErrorKind;
use std::path::Path;

/// The objects that match a URL with the rules of [`pattern`](crate::storage::local::pattern), in
/// natural order. `None` if it is not a pattern.
///
/// # Errors
/// [`Error::Io`] if none matches, or the store cannot be listed.
pub(super) fn expand(
    url: &Url,
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Option<Vec<Url>>> {
    // In a URL of a web server, a question mark begins a query.
    let magic = |text: &str| match url.scheme() {
        Scheme::Http => text.contains(['*', '[']),
        _ => is_magic(text.as_ref()),
    };
    if !magic(url.key()) {
        return Ok(None);
    }
    if url.scheme() == Scheme::Http {
        let what = "the files of a web server cannot be listed, so it takes no patterns. Give a \
            list of URLs";
        return Err(refused("open", url, io::Error::new(ErrorKind::Unsupported, what)));
    }
    let store = store(url, options)?;
    let parts: Vec<&str> = url.key().split('/').collect();
    let found = run(cancel, walk(url, &store, &parts))?;
    let mut found: Vec<String> = found.into_iter().collect();
    if found.is_empty() {
        let what = "no object matches the pattern";
        return Err(refused("open", url, io::Error::new(ErrorKind::NotFound, what)));
    }
    found.sort_by(|a, b| natural::compare(Path::new(a), Path::new(b)));
    Ok(Some(found.into_iter().map(|key| url.with_key(key)).collect()))
}

/// The keys of objects that match, part by part.
async fn walk(url: &Url, store: &Store, parts: &[&str]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::from([String::new()]);
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        if *part == "**" {
            return all_below(url, store, &found, &parts[at..]).await;
        }
        let mut next = BTreeSet::new();
        for prefix in &found {
            if !is_magic(part.as_ref()) && !last {
                next.insert(join(prefix, part));
                continue;
            }
            let (folders, objects) = level(url, store, prefix).await?;
            let names = if last { objects } else { folders };
            let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
            next.extend(names.into_iter().filter(|key| matches_part(part, &name(key))));
        }
        found = next;
    }
    Ok(found)
}

/// A prefix as it stands in keys. Only one that no key can have is encoded.
fn place(prefix: &str) -> ObjectPath {
    ObjectPath::parse(prefix).unwrap_or_else(|_| ObjectPath::from(prefix))
}

fn join(prefix: &str, part: &str) -> String {
    if prefix.is_empty() { part.to_owned() } else { format!("{prefix}/{part}") }
}

/// Objects below some prefixes whose further parts match, `**` any number of them.
async fn all_below(
    url: &Url,
    store: &Store,
    prefixes: &BTreeSet<String>,
    parts: &[&str],
) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for prefix in prefixes {
        let place = place(prefix);
        // Many pages may be needed.
        let patience = |_| store.deadline;
        let all = repeated_within(store, (url, None), "list", patience, || {
            store.objects.list(Some(&place)).try_collect::<Vec<_>>()
        });
        for object in all.await? {
            let key = object.location.as_ref();
            let rest = key.strip_prefix(prefix.as_str()).unwrap_or(key).trim_start_matches('/');
            let names: Vec<&str> = rest.split('/').collect();
            if matches_parts(parts, &names) {
                found.insert(key.to_owned());
            }
        }
    }
    Ok(found)
}

fn matches_parts(parts: &[&str], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((&"**", [])), Some(_)) => names.iter().all(|name| !name.starts_with('.')),
        (Some((&"**", later)), _) => {
            matches_parts(later, names)
                || names.split_first().is_some_and(|(name, rest)| {
                    !name.starts_with('.') && matches_parts(parts, rest)
                })
        }
        (Some((part, parts)), Some((name, names))) => {
            matches_part(part, name) && matches_parts(parts, names)
        }
        _ => false,
    }
}

/// The prefixes and objects directly below a prefix.
async fn level(url: &Url, store: &Store, prefix: &str) -> Result<(Vec<String>, Vec<String>)> {
    let place = (!prefix.is_empty()).then(|| place(prefix));
    let patience = |_| store.deadline;
    let listed = repeated_within(store, (url, None), "list", patience, || {
        store.objects.list_with_delimiter(place.as_ref())
    });
    let listed = listed.await?;
    let folders = listed.common_prefixes.iter().map(|path| path.as_ref().to_owned()).collect();
    let objects = listed.objects.iter().map(|object| object.location.as_ref().to_owned()).collect();
    Ok((folders, objects))
}

/// The error for an object that does not exist, which says so if keys begin with its name,
/// as in a directory.
pub(super) async fn missing(url: &Url, store: &Store, error: Error) -> Error {
    let Ok((place, None)) = path(url) else { return error };
    if url.scheme() == Scheme::Http {
        return error;
    }
    let Ok((folders, objects)) = level(url, store, place.as_ref()).await else { return error };
    if folders.is_empty() && objects.is_empty() {
        return error;
    }
    let has = |name: &str| objects.iter().any(|key| key.ends_with(&format!("/{name}")));
    let what = if has("dataset.json") {
        "no object has this key: it is the beginning of others, those of a saved dataset. Load it \
        with Dataset.load."
    } else {
        "no object has this key: it is the beginning of others. Open them by a pattern, such as \
        PREFIX/*.npy, or by a list of them."
    };
    refused("open", url, io::Error::new(ErrorKind::NotFound, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_match_any_number_of_parts() {
        let matches = |pattern: &str, key: &str| {
            let (parts, names): (Vec<_>, Vec<_>) =
                (pattern.split('/').collect(), key.split('/').collect());
            matches_parts(&parts, &names)
        };
        assert!(matches("**/*.npy", "a.npy") && matches("**/*.npy", "x/y/a.npy"));
        assert!(matches("**", "x/y/a.npy") && matches("**/y/*", "x/y/a"));
        assert!(!matches("**/*.npy", "x/a.npz") && !matches("**/*.npy", ".x/a.npy"));
        assert!(!matches("**/y/*", "x/y/z/a"));
    }
}
