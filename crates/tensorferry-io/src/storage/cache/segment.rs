//! [`Segment`]: a segment of an object, whose file is opened when it is used.

use crate::storage::cache::folder::Folder;
use crate::storage::cache::key::Key;
use crate::storage::cache::segment_file::{Checked, SegmentFile};
use crate::storage::io_error::too_many_open;
use crate::sync::fork_safe::BriefLock;
use std::collections::VecDeque;
use std::io::{ErrorKind, Result};
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
            other => Ok(Some(self.put(other?, open))),
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
