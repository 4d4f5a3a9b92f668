//! [`RemoteSource`]: an object of a store, as a source of bytes.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::cache::PieceCache;
use crate::storage::mode::Mode;
use crate::storage::object_store::call::call;
use crate::storage::object_store::engine::Engine;
use crate::storage::object_store::failure::is_missing;
use crate::storage::object_store::fetch::Target;
use crate::storage::object_store::key::path;
use crate::storage::object_store::list::missing;
use crate::storage::object_store::mark::Mark;
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::runtime::run;
use crate::storage::object_store::store::{Store, store};
use crate::storage::object_store::tries::repeated;
use crate::storage::options::StorageOptions;
use crate::storage::read_at::{Extent, Piece, ReadAt, ReadEngine, ReadRange, Version};
use crate::storage::url::Url;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectMeta};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::time::timeout;

/// Bytes at the beginning of an object that opening receives. Headers are read from them.
const HEAD: u64 = 64 << 10;
/// Objects that are opened at once.
const AT_ONCE: usize = 64;

/// An object of a store. Its first bytes are in memory.
#[derive(Debug)]
pub(super) struct RemoteSource {
    object: Arc<RemoteObject>,
    name: PathBuf,
    head: Bytes,
    /// Reads of this object alone.
    alone: Engine,
}

/// Opens objects, in this order.
///
/// # Errors
/// [`Error::Io`] for an object that does not exist or may not be read; [`Error::Argument`] for
/// wrong options; [`Error::Interrupted`].
pub(super) fn open_all(
    urls: &[Url],
    options: &StorageOptions,
    cancel: &CancelToken,
) -> Result<Vec<Arc<RemoteSource>>> {
    let cache = options.cache()?;
    let cache = cache.map(|cache| PieceCache::at(&cache.folder, cache.bytes)).transpose()?;
    let all = futures_util::stream::iter(urls).map(|url| async {
        let store = store(url, options)?;
        let (path, query) = path(url)?;
        let first = first(url, &path, query.as_ref(), &store).await?;
        Ok((url.clone(), path, query, first, store))
    });
    let found: Vec<_> = run(cancel, all.buffered(AT_ONCE).try_collect())?;
    let made = found.into_iter().map(|(url, path, query, (meta, head), store)| {
        let (name, mark) = (url.name(), Mark::of(&meta));
        let version = Version::new(mark.text());
        let cached = cache.as_ref();
        let cached =
            cached.map(|cache| cache.object(&name.to_string_lossy(), &version, mark.len()));
        let all = 0..mark.len();
        let target = Target { url, path, query, mark };
        let object = Arc::new(RemoteObject::new(target, cached, options.clone(), store));
        let alone = Engine::new(vec![(Arc::clone(&object), all)]);
        Arc::new(RemoteSource { object, name, head, alone })
    });
    Ok(made.collect())
}

/// What is known of an object, and its first bytes.
async fn first(
    url: &Url,
    path: &ObjectPath,
    query: Option<&Arc<str>>,
    store: &Store,
) -> Result<(ObjectMeta, Bytes)> {
    let begin = GetOptions { range: Some(GetRange::Bounded(0..HEAD)), ..GetOptions::default() };
    // The first bytes are of no use without those that follow: they need no repetition here.
    let patience = store.latency.stalled().min(store.deadline);
    let asked = timeout(patience, call(query, store.objects.get_opts(path, begin))).await;
    if let Ok((Ok(found), answer)) = asked {
        store.noted(answer);
        let meta = found.meta.clone();
        let bytes = timeout(patience, found.bytes()).await;
        return Ok((meta, bytes.map_or_else(|_| Bytes::new(), Result::unwrap_or_default)));
    }
    // An empty object has no first byte, and a server without ranges none by itself.
    let head = || {
        let options = GetOptions { head: true, ..GetOptions::default() };
        store.objects.get_opts(path, options)
    };
    match repeated(store, (url, query), "open", head).await {
        Ok(found) => Ok((found.meta, Bytes::new())),
        Err(error) if is_missing(&error) => Err(missing(url, store, error).await),
        Err(error) => Err(error),
    }
}

impl RemoteSource {
    /// Bytes that are in memory since the object was opened.
    fn in_head(&self, range: &ReadRange<'_>) -> Option<&[u8]> {
        let start = usize::try_from(range.offset).ok()?;
        self.head.get(start..start.checked_add(range.out.len())?)
    }
}

impl ReadAt for RemoteSource {
    fn len(&self) -> u64 {
        self.object.target.mark.len()
    }

    fn name(&self) -> &Path {
        &self.name
    }

    fn version(&self) -> Option<Version> {
        Some(Version::new(self.object.target.mark.text()))
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8], cancel: &CancelToken) -> Result<()> {
        self.read_ranges(&mut [ReadRange { offset, out }], cancel)
    }

    fn read_ranges(&self, ranges: &mut [ReadRange<'_>], cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        let mut pieces = Vec::new();
        for range in ranges {
            let end = range.offset.saturating_add(range.out.len() as u64);
            if end > self.len() {
                let left = self.len().saturating_sub(range.offset);
                return Err(Error::ShortRead {
                    offset: range.offset,
                    expected: range.out.len(),
                    actual: usize::try_from(left).unwrap_or(usize::MAX),
                }
                .in_file(&self.name));
            }
            match self.in_head(range) {
                Some(bytes) => range.out.copy_from_slice(bytes),
                None => pieces.push(Piece { source: 0, offset: range.offset, out: range.out }),
            }
        }
        if pieces.is_empty() { Ok(()) } else { self.alone.read(&mut pieces, cancel) }
    }

    fn engine(&self, _mode: Mode, group: &[Extent]) -> Option<Arc<dyn ReadEngine>> {
        let remote = |extent: &Extent| {
            let source: &dyn Any = &*extent.source;
            Some((Arc::clone(&source.downcast_ref::<Self>()?.object), extent.bytes.clone()))
        };
        let group = group.iter().map(remote).collect::<Option<Vec<_>>>()?;
        Some(Arc::new(Engine::new(group)))
    }
}
