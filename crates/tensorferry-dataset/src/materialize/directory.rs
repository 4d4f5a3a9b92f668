//! A directory that is written under a temporary name and renamed when it is complete.

use crate::materialize::layout::{MANIFEST, Part};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};
use tensorferry_io::storage::io_error::io;
use tensorferry_io::write::atomic::sync_directory;
use tensorferry_io::write::destination::exists;
use tensorferry_io::{Result, WriteOptions};

/// What temporary names begin and end with.
const PREFIX: &str = ".tensorferry-";
const SUFFIX: &str = ".part";

/// A directory under a temporary name beside its target. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Directory {
    directory: TempDir,
    path: PathBuf,
    /// Whether a dataset at `path` is replaced.
    replace: bool,
}

/// What exists at a target path.
enum There {
    Nothing,
    Empty,
    Dataset,
}

impl Directory {
    pub(crate) fn new(path: &Path, options: &WriteOptions) -> Result<Self> {
        Self::begin(path, options, |_| PREFIX.into())
    }

    /// With the files of an earlier write to the same target that has not completed. It is over:
    /// if it still runs, its directory is gone.
    pub(crate) fn resume(path: &Path, options: &WriteOptions) -> Result<Self> {
        let made = Self::begin(path, options, resumable)?;
        let found = earlier(&made.path).map_err(io("look for parts beside", &made.path))?;
        let mut earlier: Vec<_> = found.into_iter().filter(|each| each != made.path()).collect();
        if let Some(last) = earlier.pop() {
            // Not every system renames to a name that exists.
            let taken = fs::remove_dir(made.path()).and_then(|()| fs::rename(&last, made.path()));
            taken.map_err(io("take", &last))?;
        }
        for other in earlier {
            fs::remove_dir_all(&other).map_err(io("remove", &other))?;
        }
        Ok(made)
    }

    /// Leaves the files for [`Directory::resume`].
    pub(crate) fn keep(self) {
        let _it_is_no_longer_temporary = self.directory.keep();
    }

    /// Begins a directory whose temporary name starts with what `prefix` makes of its path.
    fn begin(
        path: &Path,
        options: &WriteOptions,
        prefix: impl Fn(&Path) -> OsString,
    ) -> Result<Self> {
        // Replace the target of a symbolic link, not the link.
        let path = if path.is_symlink() {
            fs::canonicalize(path).map_err(io("follow", path))?
        } else {
            path.to_owned()
        };
        let replace = options.replace != Some(false);
        if matches!(there(&path)?, There::Dataset) && !replace {
            return Err(exists(&path));
        }
        let parent = parent(&path);
        fs::create_dir_all(parent).map_err(io("create the directory of", &path))?;
        let directory = create(parent, &prefix(&path))
            .map_err(io("create a temporary directory beside", &path))?;
        Ok(Self { directory, path, replace })
    }

    /// The temporary path.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Renames the directory to its target. An existing dataset is replaced in one step where the
    /// system can exchange two names (Linux, on most file systems); elsewhere it is first renamed.
    pub(crate) fn place(self) -> Result<()> {
        let Self { directory, path, replace: may_replace } = self;
        match there(&path)? {
            There::Dataset if !may_replace => return Err(exists(&path)),
            There::Nothing | There::Empty => {
                rename(directory, &path).map_err(io("rename to", &path))?
            }
            There::Dataset => replace(directory, &path, exchange)?,
        }
        sync(parent(&path))
    }
}

/// Replaces the dataset at `path`, which is removed.
fn replace(
    new: TempDir,
    path: &Path,
    exchange: impl Fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<()> {
    let refused = || io("rename to", path);
    let old = match exchange(new.path(), path) {
        Ok(()) => new, // the temporary name is now that of the old one
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => {
            let old = create(parent(path), PREFIX.as_ref()).map_err(refused())?;
            fs::rename(path, old.path()).map_err(refused())?;
            if let Err(error) = rename(new, path) {
                rename(old, path).map_err(refused())?;
                return Err(refused()(error));
            }
            old
        }
        Err(error) => return Err(refused()(error)),
    };
    old.close().map_err(io("remove what was replaced by", path))
}

/// Renames a directory to a path that is free or an empty directory.
fn rename(directory: TempDir, path: &Path) -> std::io::Result<()> {
    fs::rename(directory.path(), path)?;
    let _it_is_no_longer_temporary = directory.keep();
    Ok(())
}

/// Flushes the entries of a directory to disk.
pub(crate) fn sync(directory: &Path) -> Result<()> {
    sync_directory(directory).map_err(io("sync", directory))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The beginning of the name of a directory that a later write to `path` may continue.
fn resumable(path: &Path) -> OsString {
    let mut name = OsString::from(PREFIX);
    name.push(path.file_name().unwrap_or_default());
    name.push("-");
    name
}

/// The directories of resumable writes to `path` that have not completed; the last written to comes
/// last.
fn earlier(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let prefix = resumable(path);
    let is_drawn = |rest: &[u8]| rest.iter().all(u8::is_ascii_alphanumeric);
    let mut found = Vec::new();
    for entry in fs::read_dir(parent(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if rest.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes())).is_some_and(is_drawn) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn create(parent: &Path, prefix: &OsStr) -> std::io::Result<TempDir> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // the system subtracts the umask
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}

/// Refuses to replace anything that is not a saved dataset.
fn there(path: &Path) -> Result<There> {
    let refused = io("replace", path);
    if path.file_name().is_none() {
        return Err(refused(Error::new(
            ErrorKind::InvalidInput,
            "a path that ends with a name was expected",
        )));
    }
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
        other => other.map_err(&refused)?,
    };
    if !metadata.is_dir() {
        return Err(refused(Error::new(ErrorKind::NotADirectory, "there is a file of that name")));
    }
    let (mut whole, mut empty) = (false, true);
    for entry in fs::read_dir(path).map_err(&refused)? {
        let name = entry.map_err(&refused)?.file_name();
        if !name.to_str().is_some_and(Part::is_name) {
            let what = format!(
                "it holds {}, which is not part of a saved dataset. Choose another path.",
                name.display()
            );
            return Err(refused(Error::new(ErrorKind::DirectoryNotEmpty, what)));
        }
        (whole, empty) = (whole || name == MANIFEST, false);
    }
    match (whole, empty) {
        (_, true) => Ok(There::Empty),
        (true, _) => Ok(There::Dataset),
        _ => Err(refused(Error::new(
            ErrorKind::DirectoryNotEmpty,
            format!("it holds files, but no {MANIFEST}. Choose another path."),
        ))),
    }
}

/// Exchanges two names.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(path: &Path, text: &str) -> std::io::Result<()> {
        fs::create_dir(path)?;
        fs::write(path.join(MANIFEST), text)
    }

    #[test]
    fn a_dataset_is_replaced_whether_or_not_names_can_be_exchanged() -> std::io::Result<()> {
        let unsupported = |_: &Path, _: &Path| Err(ErrorKind::Unsupported.into());
        let refused = |_: &Path, _: &Path| Err(ErrorKind::PermissionDenied.into());
        let home = tempfile::tempdir()?;
        let path = home.path().join("saved");
        let there = || fs::read_to_string(path.join(MANIFEST));
        let new = |text: &str| -> std::io::Result<TempDir> {
            let directory = create(home.path(), PREFIX.as_ref())?;
            fs::write(directory.path().join(MANIFEST), text)?;
            Ok(directory)
        };
        dataset(&path, "first")?;
        assert!(replace(new("second")?, &path, unsupported).is_ok());
        assert_eq!(there()?, "second");
        assert!(replace(new("third")?, &path, exchange).is_ok());
        assert_eq!(there()?, "third");
        assert!(replace(new("fourth")?, &path, refused).is_err());
        assert_eq!(there()?, "third");
        assert_eq!(fs::read_dir(home.path())?.count(), 1, "nothing else is left");
        Ok(())
    }

    #[test]
    fn only_datasets_and_empty_directories_are_to_be_replaced() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let path = |name: &str| home.path().join(name);
        dataset(&path("saved"), "")?;
        for name in ["0.npy", "12.shapes.npy", "3.starts.npy"] {
            fs::write(path("saved").join(name), "")?;
        }
        assert!(matches!(there(&path("saved")), Ok(There::Dataset)));
        fs::create_dir(path("empty"))?;
        assert!(matches!(there(&path("empty")), Ok(There::Empty)));
        assert!(matches!(there(&path("nothing")), Ok(There::Nothing)));
        for (at, name) in ["x.npy", ".npy", "1.npy.bak", "0.other.npy", "Dataset.json", "-1.npy"]
            .into_iter()
            .enumerate()
        {
            let directory = path(&at.to_string());
            dataset(&directory, "")?;
            fs::write(directory.join(name), "")?;
            let error = there(&directory).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(name), "{error}");
        }
        fs::write(path("file"), "")?;
        assert!(there(&path("file")).is_err());
        assert!(there(&path("..")).is_err());
        Ok(())
    }
}
