//! Writing a file so that its name always stands for a whole one: the old or the new.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};
use tensorferry_core::{Error, Result};

/// Makes an error of a refused file operation.
pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

/// Lets `write` fill a temporary file in the target's directory, brings it to the disk and renames it to `path`. If anything fails
/// before the renaming, whatever had that name keeps it, and the temporary file is removed.
///
/// The file gets the permissions of an ordinary new one. A symbolic link is followed: what it points to is replaced.
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let target = target(path)?;
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = create(directory).map_err(io("create a temporary file beside", path))?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(io("sync", path))?;
    file.persist(&target).map_err(|error| io("rename to", path)(error.error))?;
    sync_directory(directory).map_err(io("sync the directory of", path))
}

/// What the renaming is to replace.
fn target(path: &Path) -> Result<PathBuf> {
    let target = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path).map_err(io("follow", path))?,
        _ => path.to_owned(),
    };
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => Err(io("replace", path)(ErrorKind::IsADirectory.into())),
        // Renaming over /dev/null would remove it for everyone.
        Ok(metadata) if !metadata.is_file() => {
            Err(io("replace", path)(io::Error::new(ErrorKind::InvalidInput, "not a regular file")))
        }
        _ => Ok(target),
    }
}

fn create(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".tensorferry-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask, which the system takes off
    }
    builder.tempfile_in(directory)
}

/// Makes the renaming outlast a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(()); // directories cannot be opened there
    }
    match File::open(directory)?.sync_all() {
        // Some network and FUSE filesystems have no such operation.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}
