//! The requests of an upload.
//!
//! # Rationale
//! An answer that is lost leaves open whether its request took effect, and its repetition can fail
//! because it did: an object that was to be created exists, an upload that was to be finished is no
//! more. Then the object that is there decides.
//!
//! # Limitations
//! That an object is created and not replaced is exact for objects of one part. For larger ones it
//! is exact in S3, and in stores that know `If-None-Match` for finished uploads. Others, Azure and
//! Google Cloud Storage among them, are asked before the first part and again before the last
//! request: another object that appears between these two is replaced.

use crate::error::{Error, Result};
use crate::storage::object_store::call::create_only;
use crate::storage::object_store::failure::is_missing;
use crate::storage::object_store::failure::refused;
use crate::storage::object_store::key::path;
use crate::storage::object_store::mark::Mark;
use crate::storage::object_store::store::{Multipart, Store, store};
use crate::storage::object_store::tries::{LONGEST_ASKED, repeated, repeated_within};
use crate::storage::options::StorageOptions;
use crate::storage::url::{Scheme, Url};
use crate::write::destination;
use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, GetOptions, MultipartId, PutMode};
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a part per second below which a try has failed: as many parts are under way, it is a
/// fraction of the link's speed.
const SLOWEST: u64 = 128 << 10;

/// An object to write.
#[derive(Debug)]
pub(super) struct Object {
    url: Url,
    path: ObjectPath,
    store: Arc<Store>,
    multipart: Multipart,
    /// Whether an existing object is replaced.
    replace: bool,
}

/// An upload in parts that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: MultipartId,
    /// The object that was there before, if that is known.
    before: Option<Mark>,
}

/// A part that the store has accepted, and its number.
pub(super) type Accepted = (usize, PartId);

impl Object {
    /// # Errors
    /// [`Error::Argument`] for wrong options, and for the URL of a web server; [`Error::Io`] for a
    /// URL that names no object.
    pub(super) fn new(url: &Url, options: &StorageOptions, replace: bool) -> Result<Self> {
        let (path, _) = path(url)?;
        let store = store(url, options)?;
        let Some(multipart) = store.multipart.clone() else {
            let what = format!(
                "{}: web servers are read, not written to. Save to a path, or to an s3://, gs:// \
                or az:// URL.",
                url.name().display()
            );
            return Err(Error::argument("save", what));
        };
        Ok(Self { url: url.clone(), path, store, multipart, replace })
    }

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// As [`destination::exists`], if the object exists and is not to be replaced; [`Error::Io`].
    pub(super) async fn begin(&self) -> Result<Begun> {
        let before = match self.head().await {
            Ok(Some(_)) if !self.replace => return Err(self.exists()),
            Ok(before) => before,
            // It may be allowed to write objects and not to read them.
            Err(_) if self.replace => None,
            Err(error) => return Err(error),
        };
        let create = || self.multipart.0.create_multipart(&self.path);
        let id = repeated(&self.store, (&self.url, None), "write", create).await?;
        Ok(Begun { id, before })
    }

    /// Sends a part.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) async fn part(&self, id: &MultipartId, at: usize, bytes: Bytes) -> Result<Accepted> {
        let patience = patience(bytes.len());
        let put = || self.multipart.0.put_part(&self.path, id, at, bytes.clone().into());
        let permit = self.store.limiter.begin(bytes.len() as u64).await;
        let part = repeated_within(&self.store, (&self.url, None), "write", patience, put).await?;
        drop(permit);
        self.store.limiter.succeeded();
        self.store.limiter.settle();
        Ok((at, part))
    }

    /// Makes an object of the parts.
    ///
    /// # Errors
    /// As [`Object::begin`].
    pub(super) async fn complete(&self, begun: &Begun, parts: Vec<PartId>, len: u64) -> Result<()> {
        let exact = self.url.scheme() == Scheme::S3;
        match self.try_complete(begun, &parts, len, !self.replace && exact).await {
            // The store knows no such condition.
            Err(error) if is(&error, ErrorKind::Unsupported) && !self.replace && exact => {
                self.try_complete(begun, &parts, len, false).await
            }
            done => done,
        }
    }

    async fn try_complete(
        &self,
        begun: &Begun,
        parts: &[PartId],
        len: u64,
        condition: bool,
    ) -> Result<()> {
        if !self.replace && self.head().await?.is_some() {
            return Err(self.exists());
        }
        let mut tries = 0;
        let complete = || {
            tries += 1;
            let done = self.multipart.0.complete_multipart(&self.path, &begun.id, parts.to_vec());
            let done = async { done.await.map_err(as_existing) };
            async move { if condition { create_only(done).await } else { done.await } }
        };
        let done = repeated(&self.store, (&self.url, None), "write", complete).await;
        let Err(error) = done else { return Ok(()) };
        // A try before this one may have made the object.
        if tries > 1 && self.is_made(begun, len).await {
            return Ok(());
        }
        Err(if is(&error, ErrorKind::AlreadyExists) { self.exists() } else { error })
    }

    /// Whether the object that is there can be the one that was uploaded.
    async fn is_made(&self, begun: &Begun, len: u64) -> bool {
        let Ok(Some(now)) = self.head().await else { return false };
        now.len() == len && begun.before.as_ref() != Some(&now)
    }

    /// Writes the object in one request.
    ///
    /// # Errors
    /// As [`Object::begin`].
    pub(super) async fn put(&self, bytes: &Bytes) -> Result<()> {
        if self.replace {
            return self.put_in(PutMode::Overwrite, bytes, &mut 0).await;
        }
        let mut tries = 0;
        match self.put_in(PutMode::Create, bytes, &mut tries).await {
            Err(error) if is(&error, ErrorKind::AlreadyExists) => {
                if tries > 1 && self.holds(bytes).await? { Ok(()) } else { Err(self.exists()) }
            }
            Err(error) if is(&error, ErrorKind::Unsupported) => {
                log::info!("{}: the store cannot create only: {error}", self.url.name().display());
                if self.head().await?.is_some() {
                    return Err(self.exists());
                }
                self.put_in(PutMode::Overwrite, bytes, &mut 0).await
            }
            done => done,
        }
    }

    async fn put_in(&self, mode: PutMode, bytes: &Bytes, tries: &mut u32) -> Result<()> {
        let put = || {
            *tries += 1;
            self.store.objects.put_opts(&self.path, bytes.clone().into(), mode.clone().into())
        };
        let permit = self.store.limiter.begin(bytes.len() as u64).await;
        let patience = patience(bytes.len());
        repeated_within(&self.store, (&self.url, None), "write", patience, put).await?;
        drop(permit);
        Ok(())
    }

    /// Ends an upload and has the store drop its parts.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) async fn abort(&self, id: &MultipartId) -> Result<()> {
        let abort = || self.multipart.0.abort_multipart(&self.path, id);
        match repeated(&self.store, (&self.url, None), "end the upload of", abort).await {
            Err(error) if is_missing(&error) => Ok(()),
            done => done,
        }
    }

    /// The state of the object that is there; `None` if there is none.
    async fn head(&self) -> Result<Option<Mark>> {
        let head = || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            self.store.objects.get_opts(&self.path, options)
        };
        match repeated(&self.store, (&self.url, None), "look at", head).await {
            Ok(found) => Ok(Some(Mark::of(&found.meta))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the object that is there has these bytes.
    async fn holds(&self, bytes: &Bytes) -> Result<bool> {
        if self.head().await?.is_none_or(|now| now.len() != bytes.len() as u64) {
            return Ok(false);
        }
        let get = || async {
            self.store.objects.get_opts(&self.path, GetOptions::default()).await?.bytes().await
        };
        Ok(repeated(&self.store, (&self.url, None), "read", get).await? == *bytes)
    }

    fn exists(&self) -> Error {
        destination::exists(&self.url.name())
    }

    /// The error of a failure within this program.
    pub(super) fn failed(&self, source: io::Error) -> Error {
        refused("write", &self.url, source)
    }
}

/// How long a try may take: longer with each failure, as the link may be slower than it seems.
fn patience(bytes: usize) -> impl Fn(u32) -> Duration {
    let first = LONGEST_ASKED + Duration::from_secs(bytes as u64 / SLOWEST);
    move |failures| first.saturating_mul(1 << failures.min(4))
}

/// The error of a condition that is not met: `object_store` names it so for objects of one part.
fn as_existing(error: StoreError) -> StoreError {
    match error {
        StoreError::Precondition { path, source } => StoreError::AlreadyExists { path, source },
        other => other,
    }
}

fn is(error: &Error, kind: ErrorKind) -> bool {
    error.system().is_some_and(|source| source.kind() == kind)
}

#[cfg(test)]
impl Object {
    /// An object in memory.
    pub(super) fn in_memory(
        memory: &Arc<object_store::memory::InMemory>,
        url: &Url,
        replace: bool,
    ) -> Self {
        let objects: Arc<dyn object_store::ObjectStore> = memory.clone();
        let multipart: Arc<dyn object_store::multipart::MultipartStore> = memory.clone();
        Self {
            url: url.clone(),
            path: url.key().into(),
            store: Arc::new(Store::of(objects)),
            multipart: Multipart(multipart),
            replace,
        }
    }
}
