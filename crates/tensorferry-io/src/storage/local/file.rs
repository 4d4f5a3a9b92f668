//! [`DataFile`]: a local file that detects changes.
//!
//! # Rationale
//! An array may have more shards than a process may have open files. So a file is opened when it is
//! read, and the oldest is closed if too many are open. A reopened file must be in the same state.
//! If a lock is unavailable, as it may be after a fork, the file is opened for each read.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::memory::mmap::map;
use crate::storage::io_error::{io, too_many_open};
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct_engine::Direct;
use crate::storage::local::pread::{name_of, read_up_to};
use crate::storage::local::regular::open_to_read;
use crate::storage::mode::Mode;
use crate::storage::read_at::{Extent, Mmap, ReadAt, ReadEngine, ReadRange, Version};
use crate::sync::fork_safe::BriefLock;
use std::any::Any;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tensorferry_core::Buffer;

/// Maximum number of files to keep open: a quarter of the usual limit of 1024.
const MOST_OPEN: usize = 256;

/// Attempts to open a file again while too many are open, and the pause between them.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Open files, the oldest first.
static OPEN: BriefLock<VecDeque<Weak<DataFile>>> = BriefLock::new(VecDeque::new());

/// A local regular file.
#[derive(Debug)]
pub struct DataFile {
    path: PathBuf,
    opened_as: State,
    handles: BriefLock<Handles>,
    /// Alignment of direct reads; 0 until known.
    alignment: AtomicU64,
    /// A reference to itself, for the list of open files.
    this: Weak<Self>,
}

/// The open handles of a file.
#[derive(Clone, Debug, Default)]
struct Handles {
    cached: Option<Arc<File>>,
    direct: Option<Arc<DirectFile>>,
}

/// The state of a file. Changes when the file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    len: u64,
    modified: Option<SystemTime>,
    /// Device and inode, which differ for another file of the same name.
    identity: Option<(u64, u64)>,
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        }
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Maximum number of files that this process keeps open.
fn most_open() -> usize {
    /// 0 until known. Not a `OnceLock`: after a fork, the child could wait forever for a thread
    /// that does not exist there.
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let known = MOST.load(Ordering::Relaxed);
    if known > 0 {
        return known;
    }
    let few = |limit: u64| {
        usize::try_from(limit / 4).map_or(MOST_OPEN, |limit| limit.clamp(1, MOST_OPEN))
    };
    let most = crate::memory::limits::open_files().map_or(MOST_OPEN, few);
    MOST.store(most, Ordering::Relaxed);
    most
}

/// Opens a file. If too many are open, closes the kept ones first.
fn open_file(path: &Path) -> std::io::Result<File> {
    match open_to_read(path) {
        Err(error) if too_many_open(&error) => {
            close_kept();
            open_to_read(path)
        }
        other => other,
    }
}

/// As [`open_file`], with retries: other threads may be about to close theirs.
fn open_again(path: &Path) -> std::io::Result<File> {
    for _ in 0..ATTEMPTS {
        match open_file(path) {
            Err(error) if too_many_open(&error) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    open_file(path)
}

/// Describes a directory and how to open its contents.
fn what_folder(path: &Path) -> &'static str {
    let has = |name: &str| path.join(name).exists();
    match () {
        () if has("dataset.json") => {
            "is a directory, of a saved dataset. Load it with Dataset.load."
        }
        () if has("dataset_spec.pb") => {
            "is a directory, of a dataset that tf.data saved. Load it with tf.data.Dataset.load."
        }
        () if has("saved_model.pb") => {
            "is a directory, of a SavedModel. Load it with tf.saved_model.load."
        }
        () if has(".zarray") || has(".zgroup") || has("zarr.json") => {
            "is a directory, of a Zarr store. Open it with zarr."
        }
        () => {
            "is a directory. Open its files by a pattern, such as DIRECTORY/*.npy, or by a list \
            of them."
        }
    }
}

/// Closes all files that are kept for a later read.
fn close_kept() {
    let Some(mut open) = OPEN.lock() else { return };
    let all = std::mem::take(&mut *open);
    drop(open);
    all.iter().filter_map(Weak::upgrade).for_each(|file| file.close());
}

impl DataFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or is not a regular file.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let refused = io("open", path);
        let handle = match open_file(path) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                return Err(refused(std::io::Error::new(error.kind(), what_folder(path))));
            }
            other => other.map_err(&refused)?,
        };
        let opened_as = State::of(&handle.metadata().map_err(&refused)?);
        let file = Arc::new_cyclic(|this| Self {
            path: path.to_owned(),
            opened_as,
            handles: BriefLock::default(),
            alignment: AtomicU64::new(0),
            this: Weak::clone(this),
        });
        file.keep(|handles| handles.cached = Some(Arc::new(handle)));
        Ok(file)
    }

    /// An open handle for buffered reads.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened again; [`Error::FileChanged`].
    pub(crate) fn handle(&self) -> Result<Arc<File>> {
        self.handle_by(open_again)
    }

    fn handle_by(&self, open: fn(&Path) -> std::io::Result<File>) -> Result<Arc<File>> {
        if let Some(handle) = self.kept().cached {
            return Ok(handle);
        }
        let handle = Arc::new(open(&self.path).map_err(io("open", &self.path))?);
        self.check_unchanged(&handle)?;
        self.keep(|handles| handles.cached = Some(Arc::clone(&handle)));
        Ok(handle)
    }

    /// An open handle for direct reads. Fails at once if too many files are open, because the
    /// caller holds open files and can close some first.
    ///
    /// # Errors
    /// As [`DataFile::handle`].
    pub(crate) fn direct(&self) -> Result<Arc<DirectFile>> {
        let kept = self.kept();
        if let Some(handle) = kept.direct {
            return Ok(handle);
        }
        // The open file may have been renamed or removed.
        let cached = kept.cached.map_or_else(|| self.handle_by(open_file), Ok)?;
        let again = match name_of(&cached).map(|name| DirectFile::open(&name)) {
            Some(Err(error)) if too_many_open(&error) => return Err(io("open", &self.path)(error)),
            other => other.and_then(std::result::Result::ok),
        };
        let handle = match again {
            Some(same) => Arc::new(same),
            None => {
                let other = DirectFile::open(&self.path).map_err(io("open", &self.path))?;
                self.check_unchanged(other.file())?;
                Arc::new(other)
            }
        };
        self.alignment.store(handle.alignment(), Ordering::Relaxed);
        self.keep(|handles| handles.direct = Some(Arc::clone(&handle)));
        Ok(handle)
    }

    /// The alignment of direct reads; 1 if the file cannot be opened.
    pub(crate) fn direct_alignment(&self) -> u64 {
        match self.alignment.load(Ordering::Relaxed) {
            0 => self.direct().map_or(1, |handle| handle.alignment()),
            known => known,
        }
    }

    fn kept(&self) -> Handles {
        self.handles.lock().map_or_else(Handles::default, |kept| kept.clone())
    }

    /// Closes the handles that are kept for the next read.
    fn close(&self) {
        // Closing a file may take long, so the lock is not held.
        let closed = self.handles.lock().map(|mut kept| std::mem::take(&mut *kept));
        drop(closed);
    }

    /// Keeps a handle for the next read. Closes the oldest file if there are too many.
    fn keep(&self, put: impl FnOnce(&mut Handles)) {
        let Some(mut open) = OPEN.lock() else { return };
        let Some(mut kept) = self.handles.lock() else { return };
        let is_open = kept.cached.is_some() || kept.direct.is_some();
        put(&mut kept);
        drop(kept);
        if is_open {
            return; // already in the list
        }
        open.push_back(Weak::clone(&self.this));
        let most = most_open();
        if open.len() > most {
            open.retain(|file| file.strong_count() > 0);
        }
        let oldest =
            if open.len() > most { open.pop_front().and_then(|file| file.upgrade()) } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            oldest.close();
        }
    }

    /// # Errors
    /// [`Error::FileChanged`] if the file was written to since it was opened.
    pub(crate) fn check_unchanged(&self, handle: &File) -> Result<()> {
        self.compare(&handle.metadata().map_err(io("read", &self.path))?)
    }

    /// As [`DataFile::check_unchanged`], with any open handle or else by path.
    ///
    /// # Errors
    /// As [`DataFile::check_unchanged`], and [`Error::Io`].
    pub(crate) fn check(&self) -> Result<()> {
        let Handles { cached, direct } = self.kept();
        match (cached, direct) {
            (Some(handle), _) => self.check_unchanged(&handle),
            (None, Some(handle)) => self.check_unchanged(handle.file()),
            (None, None) => {
                self.compare(&std::fs::metadata(&self.path).map_err(io("read", &self.path))?)
            }
        }
    }

    fn compare(&self, metadata: &Metadata) -> Result<()> {
        let now = State::of(metadata);
        if now == self.opened_as {
            return Ok(());
        }
        Err(Error::FileChanged { was: self.opened_as.len, is: now.len }.in_file(&self.path))
    }

    /// Fills `out` with the bytes starting at `offset`, without checking the file's state.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::ShortRead`].
    fn fill(&self, handle: &File, offset: u64, out: &mut [u8]) -> Result<()> {
        let len = out.len();
        let refused = |source| Error::Read { path: self.path.clone(), offset, len, source };
        let actual = read_up_to(handle, offset, out).map_err(refused)?;
        if actual == len {
            return Ok(());
        }
        Err(Error::ShortRead { offset, expected: len, actual }.in_file(&self.path))
    }
}

impl ReadAt for DataFile {
    fn len(&self) -> u64 {
        self.opened_as.len
    }

    fn name(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> Option<Version> {
        let State { len, modified, identity } = self.opened_as;
        let since = modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let (device, number) = identity.unwrap_or_default();
        Some(Version::new(format!("{len}-{}-{device}-{number}", since.as_nanos())))
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8], cancel: &CancelToken) -> Result<()> {
        self.read_ranges(&mut [ReadRange { offset, out }], cancel)
    }

    fn read_ranges(&self, ranges: &mut [ReadRange<'_>], cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        let handle = self.handle()?;
        for range in ranges {
            cancel.check()?;
            self.fill(&handle, range.offset, range.out)?;
        }
        self.check_unchanged(&handle)
    }

    fn as_mmap(&self) -> Option<&dyn Mmap> {
        Some(self)
    }

    fn engine(&self, mode: Mode, group: &[Extent]) -> Option<Arc<dyn ReadEngine>> {
        if mode != Mode::Direct {
            return None;
        }
        let local = |extent: &Extent| {
            let source: &dyn Any = &*extent.source;
            Some((source.downcast_ref::<Self>()?.this.upgrade()?, extent.bytes.clone()))
        };
        let group = group.iter().map(local).collect::<Option<Vec<_>>>()?;
        let (files, rows): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        Some(Arc::new(Direct::new(files, rows)))
    }
}

impl Files for Vec<Arc<DataFile>> {
    fn open(&self, file: usize) -> Result<Arc<DirectFile>> {
        self[file].direct()
    }

    fn path(&self, file: usize) -> &Path {
        &self[file].path
    }

    fn alignment(&self, file: usize) -> u64 {
        self[file].direct_alignment()
    }

    fn check(&self, file: usize) -> Result<()> {
        self[file].check()
    }
}

impl Mmap for DataFile {
    fn mmap(&self, offset: u64, len: usize) -> Result<(Buffer, usize)> {
        let handle = self.handle()?;
        self.check_unchanged(&handle)?;
        map(&handle, offset, len).map_err(io("map", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused() {
        let (directory, path) = written(b"");
        assert!(matches!(DataFile::open(directory.path()), Err(Error::Io { .. })));
        assert!(matches!(DataFile::open(&path.join("below a file")), Err(Error::Io { .. })));
        assert_eq!(DataFile::open(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_truncated_file_is_a_short_read_with_offset_and_lengths() {
        let (_directory, path) = written(&[7; 100]);
        let file = DataFile::open(&path).unwrap();
        let mut out = [0; 50];
        file.read_exact_at(50, &mut out, &CancelToken::default()).unwrap();
        assert_eq!(out, [7; 50]);
        File::options().write(true).open(&path).unwrap().set_len(60).unwrap();
        let error = file.read_exact_at(20, &mut out, &CancelToken::default()).unwrap_err();
        assert_eq!(error.code(), "short_read");
        let said = error.to_string();
        assert!(
            said.contains("data: at byte 20: 50 bytes were there") && said.contains("40 are left"),
            "{said}"
        );
    }

    #[test]
    fn a_version_tells_one_state_of_a_file_from_another() {
        let (_directory, path) = written(&[7; 100]);
        let version = || DataFile::open(&path).unwrap().version().unwrap();
        let before = version();
        assert_eq!(version(), before);
        fs::write(&path, [7; 101]).unwrap();
        assert_ne!(version(), before);
    }

    #[test]
    fn a_file_that_was_written_to_is_no_longer_read() {
        let (_directory, path) = written(&[7; 100]);
        let file = DataFile::open(&path).unwrap();
        let writer = File::options().append(true).open(&path).unwrap();
        writer.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let error = file.read_exact_at(0, &mut [0; 10], &CancelToken::default()).unwrap_err();
        assert_eq!(error.code(), "file_changed");
    }

    #[test]
    fn more_files_than_may_be_open_are_read_and_one_that_was_replaced_meanwhile_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let name = |at: usize| directory.path().join(format!("{at}"));
        let files: Vec<_> = (0..2 * MOST_OPEN + 10)
            .map(|at| {
                fs::write(name(at), at.to_string()).unwrap();
                DataFile::open(&name(at)).unwrap()
            })
            .collect();
        for (at, file) in files.iter().enumerate() {
            assert_eq!(file.read_up_to(0, 10).unwrap(), at.to_string().into_bytes());
        }
        let kept =
            files.iter().filter(|file| file.handles.lock().unwrap().cached.is_some()).count();
        assert!(kept <= MOST_OPEN, "{kept}");
        let closed =
            files.iter().position(|file| file.handles.lock().unwrap().cached.is_none()).unwrap();
        fs::write(name(closed), "another, longer").unwrap();
        assert_eq!(
            files[closed].read_exact_at(0, &mut [0], &CancelToken::default()).unwrap_err().code(),
            "file_changed"
        );
    }
}
