//! Errors of file operations.

use crate::error::Error;
use crate::storage::url;
use std::io;
use std::io::ErrorKind;
use std::path::Path;

/// Converts the error of a file operation.
pub fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| {
        let source = plain(source);
        let hint = if source.kind() == ErrorKind::NotFound { not_a_path(path) } else { None };
        let source = hint.map_or(source, |hint| io::Error::new(ErrorKind::NotFound, hint));
        Error::Io { action, path: path.to_owned(), source }
    }
}

/// Whether an operation failed because too many files are open.
pub(crate) fn too_many_open(error: &std::io::Error) -> bool {
    // ENFILE and EMFILE on all Unix systems.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The operating system's error, if a wrapper only adds the name of a temporary file.
fn plain(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let said = error.to_string();
    let number =
        said.split_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    number.map_or(error, io::Error::from_raw_os_error)
}

/// A hint if the path is a URL or needs expansion by a shell.
fn not_a_path(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let scheme = text.split_once("://").map(|(scheme, _)| scheme).filter(|scheme| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    });
    match scheme {
        Some(scheme) if url::is_opened(scheme) => {
            Some("URLs are not read here, but only local files. open reads URLs.".into())
        }
        Some(scheme) => Some(format!(
            "{scheme}:// is not read here. Files and the URLs s3://, gs://, az://, abfs://, http:// \
            and https:// are opened. Download the file, or mount the storage."
        )),
        None if text == "~" || text.starts_with('~') => Some(
            "~ is the shell's word for the home folder. Write it out, or pass \
                os.path.expanduser(path)."
                .into(),
        ),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for path in [
            "s3://bucket/a.npy",
            "gs://b/c",
            "hf://datasets/x",
            "https://x.org/a.npy",
            "file:///a.npy",
            "~/a.npy",
            "~user/a",
        ] {
            assert!(not_a_path(path.as_ref()).is_some(), "{path}");
        }
        for path in ["a.npy", "/a://b", "a~", "", "://", "a b://c"] {
            assert!(not_a_path(path.as_ref()).is_none(), "{path}");
        }
    }
}
