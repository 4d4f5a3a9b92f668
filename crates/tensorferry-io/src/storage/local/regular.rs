//! Opening regular files, without waiting for pipes and without following planted links.

use std::fs;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a regular file for reading. Follows symbolic links.
///
/// # Errors
/// The system's; [`ErrorKind::IsADirectory`]; [`ErrorKind::InvalidInput`] for pipes, sockets and
/// devices.
pub(crate) fn open_to_read(path: &Path) -> Result<File> {
    // Opening some devices has side effects, so check before and after opening.
    check_regular(&fs::metadata(path)?)?;
    let file = platform::open(path, OpenOptions::new().read(true), false)?;
    check_regular(&file.metadata()?)?;
    platform::blocking(&file)?;
    Ok(file)
}

/// Opens a file that this library keeps beside others (an unfinished file, a journal) for reading
/// and writing. Creates it if `create`, and does not truncate it.
///
/// Opens only a regular file with a single name. A symbolic link, a hard link or a pipe in its
/// place could redirect writes.
///
/// # Errors
/// Errors of the operating system; [`ErrorKind::InvalidInput`] for any other file type.
pub fn open_beside(path: &Path, create: bool) -> Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => check_own(&metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound && create => {}
        Err(error) => return Err(error),
    }
    let file = platform::open(
        path,
        OpenOptions::new().read(true).write(true).create(create).truncate(false),
        true,
    )?;
    check_own(&file.metadata()?)?;
    platform::blocking(&file)?;
    Ok(file)
}

fn check_regular(metadata: &Metadata) -> Result<()> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        Ok(())
    } else {
        Err(other(&format!("not a regular file, but {}", kind(metadata))))
    }
}

fn check_own(metadata: &Metadata) -> Result<()> {
    if !metadata.is_file() {
        return Err(other(&format!(
            "{} has the name of a file that tensorferry keeps here. Remove it.",
            kind(metadata)
        )));
    }
    // A file that was just removed has none.
    if platform::names(metadata) > 1 {
        return Err(other(
            "a file with a second name (a hard link) has the name of a file that tensorferry keeps \
            here. Remove it.",
        ));
    }
    Ok(())
}

fn other(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return "a symbolic link";
    }
    if kind.is_dir() { "a folder" } else { platform::special(kind) }
}

#[cfg(unix)]
mod platform {
    use std::fs::{File, FileType, Metadata, OpenOptions};
    use std::io::Result;
    #[cfg(target_os = "linux")]
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::Path;

    /// Opens a file without waiting for the other end of a pipe; if `own`, without following a
    /// symbolic link.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(path: &Path, options: &mut OpenOptions, own: bool) -> Result<File> {
        use rustix::fs::OFlags;
        let follow = if own { OFlags::NOFOLLOW } else { OFlags::empty() };
        match options.custom_flags((OFlags::NONBLOCK | follow).bits().cast_signed()).open(path) {
            Err(error)
                if own && error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
            {
                Err(super::other(
                    "a symbolic link has the name of a file that tensorferry keeps here. Remove \
                    it.",
                ))
            }
            other => other,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(path: &Path, options: &mut OpenOptions, _own: bool) -> Result<File> {
        options.open(path)
    }

    /// Removes `O_NONBLOCK`, with which some file systems reject asynchronous reads.
    #[cfg(target_os = "linux")]
    pub(crate) fn blocking(file: &File) -> Result<()> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let flags = fcntl_getfl(file)?;
        Ok(fcntl_setfl(file, flags - OFlags::NONBLOCK)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn blocking(_file: &File) -> Result<()> {
        Ok(())
    }

    pub(crate) fn names(metadata: &Metadata) -> u64 {
        metadata.nlink()
    }

    pub(crate) fn special(kind: FileType) -> &'static str {
        match () {
            () if kind.is_fifo() => "a pipe (FIFO)",
            () if kind.is_socket() => "a socket",
            () => "a device",
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{File, FileType, Metadata, OpenOptions};
    use std::io::Result;
    use std::path::Path;

    pub(crate) fn open(path: &Path, options: &mut OpenOptions, _own: bool) -> Result<File> {
        options.open(path)
    }

    pub(crate) fn blocking(_file: &File) -> Result<()> {
        Ok(())
    }

    pub(crate) fn names(_metadata: &Metadata) -> u64 {
        1
    }

    pub(crate) fn special(_kind: FileType) -> &'static str {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn only_a_file_of_one_name_is_opened_to_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a"), "dear").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::hard_link(path("a"), path("hard")).unwrap();
        for name in ["link", "dangling", "folder", "hard", "a"] {
            let error = open_beside(&path(name), true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        }
        fs::remove_file(path("hard")).unwrap();
        open_beside(&path("a"), false).unwrap();
        assert_eq!(fs::read_to_string(path("a")).unwrap(), "dear");
        assert!(!path("nowhere").exists());
        assert_eq!(open_beside(&path("b"), false).unwrap_err().kind(), ErrorKind::NotFound);
        open_beside(&path("b"), true).unwrap();
        assert!(open_to_read(&path("link")).is_ok() && open_to_read(&path("folder")).is_err());
    }
}
