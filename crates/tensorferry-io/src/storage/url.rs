//! [`Url`]: the address of an object in a store, and what tells it from a path.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Where the bytes of a path or URL are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path of the file system.
    Local(PathBuf),
    /// An object of a store.
    Remote(Url),
}

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `s3://bucket/key`.
    S3,
    /// `gs://bucket/key`.
    Gcs,
    /// `az://container/key`, `abfs://container@account.dfs.core.windows.net/key`.
    Azure,
    /// `http://host/path`, `https://host/path`.
    Http,
}

/// The schemes of URLs that are read.
const SCHEMES: [(&str, Scheme); 10] = [
    ("s3", Scheme::S3),
    ("s3a", Scheme::S3),
    ("gs", Scheme::Gcs),
    ("gcs", Scheme::Gcs),
    ("az", Scheme::Azure),
    ("azure", Scheme::Azure),
    ("abfs", Scheme::Azure),
    ("abfss", Scheme::Azure),
    ("http", Scheme::Http),
    ("https", Scheme::Http),
];

/// The address of an object, or of all objects whose keys begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    scheme: Scheme,
    /// `s3://bucket`, without a slash at the end.
    root: String,
    key: String,
}

impl Url {
    /// The kind of its store.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The store: `s3://bucket`.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The name of the object in its store. Of an `http` URL, it is percent-encoded, and includes
    /// a query.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Another object of the same store.
    #[must_use]
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self.clone() }
    }

    /// The URL as a path, for names in messages. A query is left out: it may hold a signature.
    #[must_use]
    pub fn name(&self) -> PathBuf {
        let key = match self.scheme {
            Scheme::Http => self.key.split('?').next().unwrap_or_default(),
            _ => &self.key,
        };
        PathBuf::from(format!("{}/{key}", self.root))
    }
}

impl Place {
    /// The place of a path or URL. A path that exists is a path, whatever it looks like.
    ///
    /// # Errors
    /// [`Error::Argument`] for a URL without a host or bucket, of an unknown scheme, or with the
    /// slashes of a path.
    pub fn of(path: &Path) -> Result<Self> {
        let Some((scheme, rest)) = path.to_str().and_then(split) else {
            return Ok(Self::Local(path.to_owned()));
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return collapsed(path, scheme, rest);
        };
        if scheme.eq_ignore_ascii_case("file") {
            return local(path, rest);
        }
        let known = SCHEMES.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
        let Some((name, kind)) = known else {
            // Of no protocol that is known: the file system says what it is.
            return Ok(Self::Local(path.to_owned()));
        };
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            let what =
                format!("{}: the URL names no bucket or host: {name}://NAME/KEY", path.display());
            return Err(Error::argument("open", what));
        }
        // object_store knows one name for each.
        let name = match *name {
            "s3a" => "s3",
            "gcs" => "gs",
            other => other,
        };
        Ok(Self::Remote(Url {
            scheme: *kind,
            root: format!("{name}://{host}"),
            key: key.to_owned(),
        }))
    }

    /// Whether this is the URL of an object.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }
}

/// Whether a path is the URL of an object in a store.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    Place::of(path).is_ok_and(|place| place.is_remote())
}

/// Whether `open` reads URLs of a scheme.
pub(crate) fn is_opened(scheme: &str) -> bool {
    let mut names = SCHEMES.iter().map(|(name, _)| *name).chain(["file"]);
    names.any(|name| scheme.eq_ignore_ascii_case(name))
}

/// The scheme before a colon and slash, and the rest after the colon.
fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let named = scheme.len() > 1 // a letter is a drive
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (named && rest.starts_with('/')).then_some((scheme, rest))
}

/// What `pathlib.Path("s3://bucket/key")` makes of a URL: `s3:/bucket/key`.
fn collapsed(path: &Path, scheme: &str, rest: &str) -> Result<Place> {
    let known = SCHEMES.iter().any(|(name, _)| scheme.eq_ignore_ascii_case(name));
    if !known || std::fs::symlink_metadata(path).is_ok() {
        return Ok(Place::Local(path.to_owned()));
    }
    let what = format!(
        "{}: a path with one slash after the scheme. Paths merge slashes: give the URL as text, \
        \"{scheme}:/{rest}\".",
        path.display()
    );
    Err(Error::argument("open", what))
}

/// The path of a `file://` URL, after its slashes.
fn local(path: &Path, rest: &str) -> Result<Place> {
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        let what = format!(
            "{}: a file URL has a path that begins with a slash, after no host: \
            file:///folder/name.npy",
            path.display()
        );
        return Err(Error::argument("open", what));
    }
    Ok(Place::Local(PathBuf::from(decoded(rest))))
}

/// Text with its percent-encoded bytes decoded. What is not encoded, or not UTF-8, stays.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::of(text.as_ref()).unwrap()
    }

    fn remote(text: &str) -> (Scheme, String, String) {
        match place(text) {
            Place::Remote(url) => (url.scheme, url.root, url.key),
            Place::Local(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn urls_are_told_from_paths() {
        for path in ["a.npy", "/a/b:c.npy", "a:b", "c:/windows", "s3", "x-s3://", "dir:/x", "://x"]
        {
            assert_eq!(place(path), Place::Local(path.into()), "{path}");
        }
        let parts = |scheme, root: &str, key: &str| (scheme, root.to_owned(), key.to_owned());
        assert_eq!(remote("s3://b/k/l.npy"), parts(Scheme::S3, "s3://b", "k/l.npy"));
        assert_eq!(remote("S3A://b/k"), parts(Scheme::S3, "s3://b", "k"));
        assert_eq!(remote("gs://b"), parts(Scheme::Gcs, "gs://b", ""));
        assert_eq!(remote("abfss://c@a.h/k"), parts(Scheme::Azure, "abfss://c@a.h", "k"));
        assert_eq!(
            remote("https://h:8/a%20b?q=1"),
            parts(Scheme::Http, "https://h:8", "a%20b?q=1")
        );
    }

    #[test]
    fn a_query_is_no_part_of_a_name() {
        let Place::Remote(url) = place("https://h/a.npy?signature=secret") else { panic!() };
        assert_eq!(url.name(), PathBuf::from("https://h/a.npy"));
        let Place::Remote(url) = place("s3://b/what?.npy") else { panic!() };
        assert_eq!(url.name(), PathBuf::from("s3://b/what?.npy"));
    }

    #[test]
    fn a_file_url_is_a_path() {
        assert_eq!(place("file:///a/b%20c%.npy"), Place::Local("/a/b c%.npy".into()));
        assert_eq!(place("FILE://localhost/a"), Place::Local("/a".into()));
        for wrong in ["file://host/a", "s3://", "s3:///key", "s3:/bucket/key"] {
            let error = Place::of(wrong.as_ref()).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
