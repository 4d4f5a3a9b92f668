//! Atomic writes: a path or URL always refers to a complete file, the old or the new.
//!
//! # Rationale
//! An unfinished file is in the directory of the target. Its name contains the target's, and its
//! writer holds a lock on it. The system releases the lock when the writing process ends for any
//! reason, so an unfinished file that can be locked is a leftover.

use crate::error::Result;
use crate::storage::io_error::io;
use crate::storage::local::regular::open_beside;
use crate::storage::url::{Place, Url};
use crate::write::destination::{Destination, WriteOptions, exists};
use crate::write::out::Out;
use crate::write::writeback::Writeback;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::fs::{File, TryLockError};
use std::io;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// Writes a file or object atomically. `write` fills a temporary file in the target's directory,
/// which is synced and renamed to the path, or the parts of an upload, which make an object at its
/// end. On failure the old file or object stays, and nothing else is left.
///
/// The file gets the permissions of an ordinary new file. A symbolic link is followed.
pub(crate) fn atomic_write(
    to: &Destination<'_>,
    write: impl FnOnce(&mut Out<'_>) -> Result<()>,
) -> Result<()> {
    match Place::of(to.path)? {
        Place::Local(path) => write_and_rename(&path, to.options.replace != Some(false), |file| {
            write(&mut Out::File(Writeback::new(file)))
        }),
        Place::Remote(url) => upload(&url, to, write),
    }
}

#[cfg(feature = "object-store")]
fn upload(
    url: &Url,
    to: &Destination<'_>,
    write: impl FnOnce(&mut Out<'_>) -> Result<()>,
) -> Result<()> {
    use crate::storage::object_store::Upload;
    let WriteOptions { storage, replace, cancel } = to.options;
    let mut upload = Upload::new(url, storage, *replace == Some(true), to.bytes, cancel)?;
    match write(&mut Out::Upload(&mut upload)) {
        Ok(()) => upload.finish(),
        Err(error) => Err(upload.failure().unwrap_or(error)),
    }
}

#[cfg(not(feature = "object-store"))]
fn upload(
    url: &Url,
    _to: &Destination<'_>,
    _write: impl FnOnce(&mut Out<'_>) -> Result<()>,
) -> Result<()> {
    Err(crate::storage::place::without(url))
}

fn write_and_rename(
    path: &Path,
    replace: bool,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let target = target(path)?;
    if !replace && fs::symlink_metadata(&target).is_ok() {
        return Err(exists(path));
    }
    let directory = directory(&target);
    let mut file = create(directory, target.file_name().unwrap_or_default())
        .map_err(io("create a temporary file beside", path))?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(io("sync", path))?;
    let renamed = if replace { file.persist(&target) } else { file.persist_noclobber(&target) };
    renamed.map_err(|refused| match refused.error.kind() {
        ErrorKind::AlreadyExists if !replace => exists(path),
        _ => io("rename to", path)(refused.error),
    })?;
    sync_directory(directory).map_err(io("sync the directory of", path))
}

/// Writes any file or object atomically: `write` fills a temporary file in the target's directory,
/// which is synced and renamed, or an upload. On failure, the old file stays. An object that exists
/// is not replaced: see [`write_file_with`].
///
/// ```
/// use std::io::Write;
/// use tensorferry_io::write_file;
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("notes.txt");
/// write_file(&path, |file| file.write_all(b"whole or not at all"))?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"whole or not at all");
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io).
pub fn write_file(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    write_file_with(path, &WriteOptions::default(), write)
}

/// As [`write_file`], with options.
///
/// # Errors
/// As [`write_file`]; [`Error::Argument`](crate::error::Error::Argument) for wrong options;
/// [`Error::Interrupted`](crate::error::Error::Interrupted).
pub fn write_file_with(
    path: impl AsRef<Path>,
    options: &WriteOptions,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let to = Destination { path, options, bytes: 0 };
    atomic_write(&to, |out| write(out).map_err(io("write", path)))
}

/// Checks that [`write_file`] could write to `path`: its directory exists and is writable. Of a
/// URL, only its form is checked.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) if not.
pub fn can_write(path: impl AsRef<Path>) -> Result<()> {
    let Place::Local(path) = &Place::of(path.as_ref())? else { return Ok(()) };
    let target = target(path)?;
    let made = create(directory(&target), target.file_name().unwrap_or_default());
    made.map(drop).map_err(io("create a temporary file beside", path))
}

/// The path that the rename replaces.
pub(crate) fn target(path: &Path) -> Result<PathBuf> {
    let target = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            fs::canonicalize(path).map_err(io("follow", path))?
        }
        _ => path.to_owned(),
    };
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => {
            Err(io("replace", path)(ErrorKind::IsADirectory.into()))
        }
        // Renaming over a device such as `/dev/null` would remove it for every process.
        Ok(metadata) if !metadata.is_file() => {
            Err(io("replace", path)(io::Error::new(ErrorKind::InvalidInput, "not a regular file")))
        }
        _ => Ok(target),
    }
}

pub(crate) fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The prefix of the names of temporary files for `name`.
fn prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".tensorferry-");
    // File names have at most 255 bytes.
    if name.len() <= 200 {
        prefix.push(name);
    } else {
        let mut hash = crc32fast::Hasher::new();
        hash.update(name.as_encoded_bytes());
        prefix.push(format!("{:08x}", hash.finalize()));
    }
    prefix.push("-");
    prefix
}

/// Random characters after the prefix.
const RANDOM: usize = 6;
const SUFFIX: &str = ".part";

/// Creates and locks a temporary file for a file called `name`.
fn create(directory: &Path, name: &OsStr) -> io::Result<NamedTempFile> {
    let prefix = prefix(name);
    let mut builder = Builder::new();
    builder.prefix(&prefix).rand_bytes(RANDOM).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system subtracts the umask.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    loop {
        let file = builder.tempfile_in(directory)?;
        match file.as_file().try_lock() {
            // A search for leftovers has the lock, and removes the file.
            Err(TryLockError::WouldBlock) => {}
            Ok(()) if !file.path().try_exists()? => {}
            // Also without file locks: then no search treats the file as a leftover.
            _ => return Ok(file),
        }
    }
}

/// The temporary file of a resumable write to `target`, locked, with the contents that an earlier
/// process wrote.
pub(crate) fn partial(target: &Path) -> io::Result<(PathBuf, File)> {
    let mut name = prefix(target.file_name().unwrap_or_default());
    name.push("resume"); // RANDOM characters, so that it is found as a leftover
    name.push(SUFFIX);
    let path = directory(target).join(name);
    loop {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = open_beside(&path, true)
            .map_err(|error| if error.raw_os_error().is_some() { error } else { named(error) })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(ErrorKind::WouldBlock, "another process is writing it"));
            }
            // A search for leftovers has just removed it.
            Ok(()) if !path.try_exists()? => {}
            _ => return Ok((path, file)),
        }
    }
}

/// Removes the unfinished files that killed writers of `path` left beside it, and returns their
/// number. A file that another process is writing stays. Beside an object, nothing is visible.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) if the directory cannot be read or a leftover cannot be
/// removed.
pub fn remove_leftovers(path: impl AsRef<Path>) -> Result<usize> {
    let Place::Local(path) = Place::of(path.as_ref())? else { return Ok(0) };
    let target = target(&path)?;
    let (directory, prefix) = (directory(&target), prefix(target.file_name().unwrap_or_default()));
    let refused = io("look for leftovers in", directory);
    let mut removed = 0;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        other => other.map_err(&refused)?,
    };
    for entry in entries {
        let entry = entry.map_err(&refused)?;
        let name = entry.file_name();
        let random = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let random = random.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
        if random.is_none_or(|random| random.len() != RANDOM)
            || !entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            continue;
        }
        let path = entry.path();
        let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let lock = match open_beside(&path, false) {
            Err(error) if gone(&error) => continue,
            // Not a temporary file of this library.
            Err(error) if error.kind() == ErrorKind::InvalidInput => continue,
            other => other.map_err(io("open", &path))?,
        };
        if lock.try_lock().is_ok() {
            match fs::remove_file(&path) {
                Err(error) if gone(&error) => {}
                other => other.map(|()| removed += 1).map_err(io("remove", &path))?,
            }
        }
    }
    Ok(removed)
}

/// Syncs a directory, so that a rename in it survives a power failure.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(()); // directories cannot be opened there
    }
    match File::open(directory)?.sync_all() {
        // Some network and FUSE file systems do not support this.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn leftovers_of_a_file_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let others = [
            ".tensorferry-a.npy-x-aBc123.part",
            ".tensorferry-a.npy-aBc123.part.npy",
            ".tensorferry-a.npy-aBc12.part",
            ".tensorferry-b.npy-aBc123.part",
            "a.npy",
            "b.npy",
        ];
        for name in others
            .iter()
            .chain(&[".tensorferry-a.npy-aBc123.part", ".tensorferry-a.npy-ABCDEF.part"])
        {
            fs::write(directory.path().join(name), "half").unwrap();
        }
        fs::create_dir(directory.path().join(".tensorferry-a.npy-folder.part")).unwrap();
        assert_eq!(remove_leftovers(directory.path().join("a.npy")).unwrap(), 2);
        fs::remove_dir(directory.path().join(".tensorferry-a.npy-folder.part")).unwrap();
        let mut others = others.map(str::to_owned);
        others.sort_unstable();
        assert_eq!(names(directory.path()), others);
        assert_eq!(remove_leftovers(directory.path().join("a.npy")).unwrap(), 0);
        assert_eq!(remove_leftovers(directory.path().join("nowhere/a.npy")).unwrap(), 0);
    }

    #[test]
    fn what_is_being_written_is_no_leftover() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.npy".to_owned(), "long".repeat(60)] {
            let path = directory.path().join(name);
            write_and_rename(&path, true, |file| {
                file.write_all(b"half").unwrap();
                assert_eq!(names(directory.path()).len(), 1);
                assert_eq!(remove_leftovers(&path).unwrap(), 0);
                assert_eq!(names(directory.path()).len(), 1);
                Ok(())
            })
            .unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"half");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn writers_and_those_who_look_for_leftovers_do_not_meet() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (0..300).for_each(|_| write_and_rename(&path, true, |_| Ok(())).unwrap())
            });
            while !writer.is_finished() {
                remove_leftovers(&path).unwrap();
            }
        });
        assert_eq!(names(directory.path()), ["a"]);
    }
}
