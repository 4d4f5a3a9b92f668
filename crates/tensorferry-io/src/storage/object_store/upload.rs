//! [`Upload`]: an object that is being written.
//!
//! # Rationale
//! Bytes are collected in parts of one size, as R2 takes no others. The runtime's threads send
//! several parts while the next one is filled. The last request makes an object of them, so that it
//! appears whole or not at all. An object of one part is one request.
//!
//! An upload that is dropped before has the store drop its parts. An interrupted caller does not
//! wait for that: the runtime's threads continue.
//!
//! # Limitations
//! An upload takes the memory of the parts that are under way, at most 64 MiB, or two parts, and of
//! the part that is filled. Parts are of 8 MiB up to 72 GB. When the process is killed, the parts
//! stay: a rule of the bucket can remove them after some days. Azure removes them after a week, and
//! in no other way.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::memory::pool;
use crate::memory::pool::PoolBuffer;
use crate::storage::object_store::commit::{Accepted, Begun, Object};
use crate::storage::object_store::runtime::{run, runtime, undo};
use crate::storage::options::StorageOptions;
use crate::storage::url::Url;
use crate::sync::process::process_id;
use bytes::Bytes;
use object_store::multipart::PartId;
use std::io;
use std::io::Write;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use tensorferry_core::Buffer;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// Least bytes of a part. S3 takes no less than 5 MiB.
const PART: usize = 8 << 20;
/// Bytes of parts under way at once.
const UNDER_WAY: usize = 64 << 20;
/// Parts of the size that was chosen. Stores take 10,000: if more bytes come than were announced,
/// those that follow are larger.
const PARTS: usize = 9_000;
/// Parts after which the size is doubled again, and the largest that this leads to.
const DOUBLED: usize = 125;
const LARGEST: usize = 2 << 30;

/// An object that is being written. It exists once [`Upload::finish`] has returned.
#[derive(Debug)]
pub(crate) struct Upload {
    object: Arc<Object>,
    cancel: CancelToken,
    size: usize,
    /// Bytes of parts under way at once.
    memory: usize,
    /// The part that is being filled, and its number.
    part: Part,
    at: usize,
    /// The first part, if it is sent last.
    first: Option<Part>,
    is_first_last: bool,
    begun: Option<Arc<Begun>>,
    /// A beginning whose caller was interrupted.
    beginning: Option<JoinHandle<Result<Begun>>>,
    under_way: JoinSet<Result<Accepted>>,
    accepted: Vec<Accepted>,
    bytes: u64,
    /// The error of a write, which [`Write`] has no place for.
    failure: Option<Error>,
    failed: bool,
    finished: bool,
    process: u32,
}

#[derive(Debug)]
struct Part {
    buffer: PoolBuffer,
    filled: usize,
}

impl Upload {
    /// Begins an object of about `bytes` bytes. Nothing is sent before the first part is full.
    ///
    /// # Errors
    /// [`Error::Argument`] for wrong options, and for the URL of a web server; [`Error::Io`] for a
    /// URL that names no object; [`tensorferry_core::Error::Allocation`].
    pub(crate) fn new(
        url: &Url,
        options: &StorageOptions,
        replace: bool,
        bytes: u64,
        cancel: &CancelToken,
    ) -> Result<Self> {
        Self::of(Object::new(url, options, replace)?, size_for(bytes), cancel)
    }

    fn of(object: Object, size: usize, cancel: &CancelToken) -> Result<Self> {
        Ok(Self {
            object: Arc::new(object),
            cancel: cancel.clone(),
            size,
            memory: UNDER_WAY,
            part: Part::new(size)?,
            at: 0,
            first: None,
            is_first_last: false,
            begun: None,
            beginning: None,
            under_way: JoinSet::new(),
            accepted: Vec::new(),
            bytes: 0,
            failure: None,
            failed: false,
            finished: false,
            process: process_id(),
        })
    }

    /// Shares the memory for parts under way with other uploads.
    pub(crate) fn sharing(mut self, uploads: usize) -> Self {
        self.memory = UNDER_WAY / uploads.max(1);
        self
    }

    /// Keeps the first part until the end, for [`Upload::rewrite_start`].
    pub(crate) fn first_last(mut self) -> Self {
        self.is_first_last = true;
        self
    }

    /// Writes other bytes over the first ones, which must be in the first part.
    pub(crate) fn rewrite_start(&mut self, bytes: &[u8]) {
        let part = self.first.as_mut().unwrap_or(&mut self.part);
        if let Some(start) = part.buffer.as_mut_slice().get_mut(..bytes.len()) {
            start.copy_from_slice(bytes);
        }
    }

    /// The error of the write that failed.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Makes the object appear.
    ///
    /// # Errors
    /// [`Error::Io`], also of kind `AlreadyExists`; [`Error::Interrupted`].
    pub(crate) fn finish(mut self) -> Result<()> {
        self.cancel.check()?;
        if self.failed {
            let lost = || self.object.failed(io::Error::other("a part of it was not written"));
            return Err(self.failure.take().unwrap_or_else(lost));
        }
        let last = self.take_part(0)?;
        if self.at == 0 {
            let (object, bytes) = (Arc::clone(&self.object), last.freeze());
            run(&self.cancel, async move { object.put(&bytes).await })?;
            self.finished = true;
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            self.send(0, first)?;
        }
        self.send(self.at, last)?;
        while !self.under_way.is_empty() {
            self.wait_for_one()?;
        }
        self.accepted.sort_unstable_by_key(|(at, _)| *at);
        let parts: Vec<PartId> =
            mem::take(&mut self.accepted).into_iter().map(|(_, part)| part).collect();
        let (object, begun, bytes) = (Arc::clone(&self.object), self.begin()?, self.bytes);
        run(&self.cancel, async move { object.complete(&begun, parts, bytes).await })?;
        self.finished = true;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        self.cancel.check()?;
        // A full part waits for the next byte: it may be the only one.
        if self.part.left() == 0 && !bytes.is_empty() {
            let size = size_of(self.size, self.at + 1);
            let full = self.take_part(size)?;
            if self.at == 0 && self.is_first_last {
                self.first = Some(full);
            } else {
                self.send(self.at, full)?;
            }
            self.at += 1;
        }
        let taken = self.part.fill(bytes);
        self.bytes += taken as u64;
        Ok(taken)
    }

    /// The part that was filled, and a new one of this size in its place.
    fn take_part(&mut self, size: usize) -> Result<Part> {
        Ok(mem::replace(&mut self.part, Part::new(size)?))
    }

    /// Has a part sent, once fewer are under way than may be.
    fn send(&mut self, at: usize, part: Part) -> Result<()> {
        let begun = self.begin()?;
        while let Some(joined) = self.under_way.try_join_next() {
            self.note(joined)?;
        }
        while self.under_way.len() >= (self.memory / part.filled.max(1)).clamp(2, 8) {
            self.wait_for_one()?;
        }
        let (object, bytes) = (Arc::clone(&self.object), part.freeze());
        let sent = async move { object.part(&begun.id, at, bytes).await };
        self.under_way.spawn_on(sent, runtime()?.handle());
        Ok(())
    }

    /// The upload in parts, which begins with the first call.
    fn begin(&mut self) -> Result<Arc<Begun>> {
        if let Some(begun) = &self.begun {
            return Ok(Arc::clone(begun));
        }
        let object = Arc::clone(&self.object);
        // Another thread has to see the end of it: a beginning without an end cannot be dropped.
        let mut beginning = runtime()?.spawn(async move { object.begin().await });
        let begun = match run(&self.cancel, async { Ok((&mut beginning).await) }) {
            Ok(joined) => self.joined(joined)?,
            Err(interrupted) => {
                self.beginning = Some(beginning);
                return Err(interrupted);
            }
        };
        Ok(Arc::clone(self.begun.insert(Arc::new(begun))))
    }

    fn wait_for_one(&mut self) -> Result<()> {
        let under_way = &mut self.under_way;
        match run(&self.cancel, async { Ok(under_way.join_next().await) })? {
            Some(joined) => self.note(joined),
            None => Ok(()),
        }
    }

    fn note(&mut self, joined: Result<Result<Accepted>, JoinError>) -> Result<()> {
        let accepted = self.joined(joined)?;
        self.accepted.push(accepted);
        Ok(())
    }

    fn joined<T>(&self, joined: Result<Result<T>, JoinError>) -> Result<T> {
        joined.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(self.object.failed(io::Error::other(error))),
        })
    }

    /// Has the store drop the parts.
    fn abort(&mut self) {
        let mut under_way = mem::take(&mut self.under_way);
        let (begun, beginning) = (self.begun.take(), self.beginning.take());
        if process_id() != self.process {
            // The upload is the parent's, and its threads are not here.
            mem::forget((under_way, begun, beginning));
            return;
        }
        if begun.is_none() && beginning.is_none() {
            return;
        }
        let object = Arc::clone(&self.object);
        undo(&self.cancel, async move {
            let many = !under_way.is_empty();
            under_way.shutdown().await;
            let begun = match (begun, beginning) {
                (None, Some(beginning)) => beginning.await.ok().and_then(Result::ok).map(Arc::new),
                (begun, _) => begun,
            };
            let Some(begun) = begun else { return };
            // A part that arrives meanwhile outlives the first try.
            for _ in 0..=usize::from(many) {
                if let Err(error) = object.abort(&begun.id).await {
                    log::warn!("{error}. Parts of the upload may be left in the store.");
                    break;
                }
            }
        });
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map_err(|error| {
            let said = io::Error::other(error.to_string());
            self.failure.get_or_insert(error);
            self.failed = true;
            said
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished {
            self.abort();
        }
    }
}

impl Part {
    fn new(size: usize) -> Result<Self> {
        Ok(Self { buffer: pool::take(size)?, filled: 0 })
    }

    fn left(&self) -> usize {
        self.buffer.len() - self.filled
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left());
        let place = self.filled..self.filled + taken;
        self.buffer.as_mut_slice()[place].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    fn freeze(self) -> Bytes {
        Bytes::from_owner(Filled(self.buffer.freeze())).slice(..self.filled)
    }
}

/// The bytes of a part.
struct Filled(Buffer);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Bytes of each part of an object of about this length: a whole number of MiB.
fn size_for(bytes: u64) -> usize {
    let even = usize::try_from(bytes.div_ceil(PARTS as u64)).unwrap_or(usize::MAX);
    even.checked_next_multiple_of(1 << 20).unwrap_or(even).max(PART)
}

/// Bytes of part `at`, if parts have `size` bytes.
fn size_of(size: usize, at: usize) -> usize {
    let doubled = at.checked_sub(PARTS).map_or(0, |more| more / DOUBLED + 1);
    size.saturating_mul(1 << doubled.min(8)).min(LARGEST.max(size))
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
