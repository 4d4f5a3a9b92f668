//! [`Segment`]: a segment of an object, whose file is opened when it is used.

use crate::storage::cache::folder::Folder;
use crate::storage::cache::key::Key;
use crate::storage::cache::segment_file::{Checked, SegmentFile};
use crate::storage::io_error::too_many_open;
use crate::sync::fork_safe::BriefLock;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::{Arc, Weak};

/// A segment of an object that this process has open.
#[derive(Debug)]
pub(crate) struct Segment {
    key: Key,
    index: u64,
    state: BriefLock<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<SegmentFile>>,
    /// What is known of the file, also while it is closed.
    checked: Option<Arc<Checked>>,
}

/// Segments whose files are open, the oldest first.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    segments: BriefLock<VecDeque<Weak<Segment>>>,
    most: usize,
}

impl OpenFiles {
    pub(crate) fn new(most: usize) -> Self {
        Self { segments: BriefLock::default(), most }
    }

    /// Adds a segment. If too many files are open, closes the oldest.
    fn add(&self, segment: &Arc<Segment>) {
        let Some(mut segments) = self.segments.lock() else { return };
        segments.push_back(Arc::downgrade(segment));
        if segments.len() > self.most {
            segments.retain(|segment| segment.strong_count() > 0);
        }
        let oldest = if segments.len() > self.most { segments.pop_front() } else { None };
        drop(segments);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.close();
        }
    }

    /// Closes all files.
    fn close(&self) {
        let Some(mut segments) = self.segments.lock() else { return };
        let all = std::mem::take(&mut *segments);
        drop(segments);
        all.iter().filter_map(Weak::upgrade).for_each(|segment| segment.close());
    }
}

impl Segment {
    pub(crate) fn new(key: Key, index: u64) -> Self {
        Self { key, index, state: BriefLock::default() }
    }

    /// The file; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`SegmentFile::open`].
    pub(crate) fn file(
        self: &Arc<Self>,
        folder: &Folder,
        open: &OpenFiles,
    ) -> Result<Option<Arc<SegmentFile>>> {
        let mut checked = None;
        if let Some(state) = self.state.lock() {
            if let Some(file) = &state.file {
                return Ok(Some(Arc::clone(file)));
            }
            checked.clone_from(&state.checked);
        }
        let path = folder.segment(&self.key.id, self.index);
        let opened = || SegmentFile::open(&path, &self.key, self.index, checked.clone());
        let file = match opened() {
            Err(error) if too_many_open(&error) => {
                open.close();
                opened()
            }
            other => other,
        };
        match file {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => Ok(Some(self.put(other.map_err(|error| named(error, &path))?, open))),
        }
    }

    /// The file, which is created if there is none, and whether it was. The caller has the lock of
    /// the folder.
    ///
    /// # Errors
    /// Those of [`SegmentFile::open`] and of the system.
    pub(crate) fn file_to_write(
        self: &Arc<Self>,
        folder: &Folder,
        open: &OpenFiles,
    ) -> Result<(Arc<SegmentFile>, bool)> {
        if let Some(file) = self.current_file(folder, open)? {
            return Ok((file, false));
        }
        let path = folder.segment(&self.key.id, self.index);
        let create = || SegmentFile::create(&path, &self.key, self.index);
        let file = match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder.create_for(&self.key.id)?;
                create()
            }
            other => other,
        };
        Ok((self.put(file?, open), true))
    }

    /// As [`Segment::file`], but not a file that was removed while it was open.
    pub(crate) fn current_file(
        self: &Arc<Self>,
        folder: &Folder,
        open: &OpenFiles,
    ) -> Result<Option<Arc<SegmentFile>>> {
        match self.file(folder, open)? {
            Some(file) if file.is_removed()? => {
                drop(self.take());
                self.file(folder, open)
            }
            other => Ok(other),
        }
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        if let Some(file) = self.take() {
            file.touch();
        }
    }

    fn take(&self) -> Option<Arc<SegmentFile>> {
        self.state.lock().and_then(|mut state| state.file.take())
    }

    /// Keeps a file open for the next use, unless another thread did.
    fn put(self: &Arc<Self>, file: SegmentFile, open: &OpenFiles) -> Arc<SegmentFile> {
        file.touch();
        let file = Arc::new(file);
        let Some(mut state) = self.state.lock() else { return file };
        if let Some(other) = state.file.as_ref().filter(|other| other.is_same(&file)) {
            return Arc::clone(other);
        }
        state.checked = Some(Arc::clone(file.checked()));
        let was_open = state.file.replace(Arc::clone(&file)).is_some();
        drop(state);
        if !was_open {
            open.add(self);
        }
        file
    }
}

/// Names the file in an error that is not of the system.
fn named(error: Error, path: &Path) -> Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::cache::segment_file::Found;
    use crate::storage::read_at::Version;

    #[test]
    fn few_files_stay_open_and_what_was_checked_stays_known() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path());
        folder.create().unwrap();
        let open = OpenFiles::new(2);
        let version = Version::new("1");
        let segments: Vec<_> = (0..5_u8)
            .map(|at| Arc::new(Segment::new(Key::new(&format!("{at}"), &version, 20_000), 0)))
            .collect();
        for (at, segment) in (0..).zip(&segments) {
            assert!(segment.file(&folder, &open).unwrap().is_none());
            let (file, is_new) = segment.file_to_write(&folder, &open).unwrap();
            assert!(is_new);
            file.write(0, &[at; 20_000]).unwrap();
            file.mark(0, true).unwrap();
            let mut out = [9];
            assert_eq!(file.read(0, 0, &mut out).unwrap(), Found::All);
        }
        let is_open =
            |segment: &Arc<Segment>| segment.state.lock().is_some_and(|state| state.file.is_some());
        let count = || segments.iter().filter(|segment| is_open(segment)).count();
        assert_eq!(count(), 2);
        for (at, segment) in (0..).zip(&segments) {
            let file = segment.file(&folder, &open).unwrap().unwrap();
            // Without its checksum, a block is intact only for those who know it.
            file.write(0, &[at + 1; 10]).unwrap();
            let mut out = [9; 16_384];
            assert_eq!(file.read(0, 0, &mut out).unwrap(), Found::All);
            assert_eq!((out[0], out[10]), (at + 1, at));
            assert_eq!(file.read(0, 16_000, &mut out[..1000]).unwrap(), Found::All);
            let (same, is_new) = segment.file_to_write(&folder, &open).unwrap();
            assert!(Arc::ptr_eq(&same, &file) && !is_new);
        }
        assert_eq!(count(), 2);
        open.close();
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_file_that_was_replaced_is_checked_anew() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path());
        folder.create().unwrap();
        let (open, key) = (OpenFiles::new(2), Key::new("a", &Version::new("1"), 10));
        let segment = Arc::new(Segment::new(key, 0));
        let (first, _) = segment.file_to_write(&folder, &open).unwrap();
        first.trust(0);
        std::fs::remove_file(folder.segment(&key.id, 0)).unwrap();
        let (second, is_new) = segment.file_to_write(&folder, &open).unwrap();
        assert!(is_new && !second.is_same(&first));
        second.mark(0, true).unwrap();
        assert_eq!(first.read(0, 0, &mut [0]).unwrap(), Found::Damage);
        assert_eq!(second.read(0, 0, &mut [0]).unwrap(), Found::Damage);
        second.trust(0);
        segment.close();
        // Another process replaces it.
        std::fs::remove_file(folder.segment(&key.id, 0)).unwrap();
        let (third, _) =
            Arc::new(Segment::new(key, 0)).file_to_write(&folder, &OpenFiles::new(1)).unwrap();
        third.mark(0, true).unwrap();
        // As after a power failure: bytes, but not those that were written.
        let raw = std::fs::File::options().write(true).open(folder.segment(&key.id, 0)).unwrap();
        raw.set_len(1 << 20).unwrap();
        let file = segment.file(&folder, &open).unwrap().unwrap();
        assert_eq!(file.read(0, 0, &mut [0]).unwrap(), Found::Damage);
    }
}
