//! [`receive`]: the pieces of a batch, from the cache or the store.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::memory::pool;
use crate::memory::room::list_of;
use crate::storage::cache::{CacheReader, CachedObject};
use crate::storage::counts::{COUNTERS, add};
use crate::storage::object_store::fetch::{Sink, fetch};
use crate::storage::object_store::object::RemoteObject;
use crate::storage::object_store::runtime::{run, runtime};
use crate::storage::object_store::spans::{Span, cut, gap, spans};
use crate::storage::read_at::Piece;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Most requests of one read that are prepared at once. The store's limiter decides how many are
/// under way.
const PREPARED: usize = 512;

/// Fills pieces from the cache as far as it has them, and returns the rest.
pub(super) fn from_cache<'a>(
    objects: &[Arc<RemoteObject>],
    pieces: &'a mut [Piece<'_>],
) -> Result<Vec<Piece<'a>>> {
    let mut missing = list_of(pieces.len())?;
    let mut last: Option<(usize, CacheReader<'_>)> = None;
    for piece in pieces {
        let Some(cached) = objects.get(piece.source).and_then(|object| object.cached.as_ref())
        else {
            missing.push(Piece { source: piece.source, offset: piece.offset, out: piece.out });
            continue;
        };
        if last.as_ref().is_none_or(|(source, _)| *source != piece.source) {
            last = Some((piece.source, cached.reader()));
        }
        let Some((_, reader)) = &mut last else { continue };
        let (mut offset, mut rest) = (piece.offset, &mut *piece.out);
        while !rest.is_empty() {
            let (number, at) = (offset / CachedObject::PIECE, offset % CachedObject::PIECE);
            let len = usize::try_from(CachedObject::PIECE - at).unwrap_or(usize::MAX);
            let (out, later) = rest.split_at_mut(len.min(rest.len()));
            let len = out.len() as u64;
            if reader.read(number, usize::try_from(at).unwrap_or(0), out) {
                add(&COUNTERS.cache_bytes, len);
            } else {
                missing.push(Piece { source: piece.source, offset, out });
            }
            (offset, rest) = (offset + len, later);
        }
    }
    Ok(missing)
}

/// Receives pieces, sorted by source and offset, in requests of up to `most` bytes.
///
/// # Errors
/// As [`fetch`].
pub(super) async fn receive(
    objects: &[Arc<RemoteObject>],
    pieces: &mut [Piece<'_>],
    most: u64,
) -> Result<()> {
    let Some(first) = pieces.first().and_then(|piece| objects.get(piece.source)) else {
        return Ok(());
    };
    let has_cache = first.cached.is_some();
    let gap = gap(first.store()?.latency.median());
    let mut cut = cut(pieces, most);
    let gap = if has_cache { gap.max(CachedObject::PIECE) } else { gap };
    let spans = spans(&mut cut, gap, most);
    let requests: Vec<BoxFuture<'_, Result<()>>> =
        spans.into_iter().map(|span| one(objects, span).boxed()).collect();
    futures_util::stream::iter(requests).buffer_unordered(PREPARED).try_collect().await
}

/// As [`receive`], by a thread of the runtime, which talks to the connections without waking
/// another thread for each request. The bytes are copied at the end.
///
/// # Errors
/// As [`receive`]; [`Error::Interrupted`].
pub(super) fn receive_apart(
    objects: &Arc<[Arc<RemoteObject>]>,
    pieces: &mut [Piece<'_>],
    most: u64,
    cancel: &CancelToken,
) -> Result<()> {
    let mut memory = pool::take(pieces.iter().map(|piece| piece.out.len()).sum())?;
    let places = pieces.iter().map(|piece| (piece.source, piece.offset, piece.out.len()));
    let (places, objects) = (places.collect::<Vec<_>>(), Arc::clone(objects));
    let mut task = Ended(runtime()?.spawn(async move {
        let (mut wanted, mut rest) = (list_of(places.len())?, memory.as_mut_slice());
        for (source, offset, len) in places {
            let (out, later) = rest.split_at_mut(len);
            wanted.push(Piece { source, offset, out });
            rest = later;
        }
        receive(&objects, &mut wanted, most).await?;
        drop(wanted);
        Ok(memory)
    }));
    let done = run(cancel, async { Ok((&mut task.0).await) })?;
    let mut memory = done.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::Interrupted),
    })?;
    let mut rest = &*memory.as_mut_slice();
    for piece in pieces {
        let (here, later) = rest.split_at(piece.out.len());
        piece.out.copy_from_slice(here);
        rest = later;
    }
    Ok(())
}

/// A task that ends when it is no longer waited for.
struct Ended<T>(JoinHandle<T>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Receives a span, and keeps the cache's pieces of it.
async fn one(objects: &[Arc<RemoteObject>], mut span: Span<'_, '_>) -> Result<()> {
    let Some(object) = objects.get(span.source) else {
        return Err(crate::storage::engine::foreign());
    };
    let store = object.store()?;
    let range = span.bytes.clone();
    let Some(cached) = &object.cached else {
        return fetch(&object.target, &store, range, &mut span).await;
    };
    add(&COUNTERS.cache_missed, range.end - range.start);
    let whole = whole(&range, object.target.mark.len());
    if !cached.has_room(whole.end - whole.start) {
        return fetch(&object.target, &store, range, &mut span).await;
    }
    let mut keeping = Keeping { span, cached, piece: Vec::new() };
    fetch(&object.target, &store, whole, &mut keeping).await
}

/// A range with the rest of the cache's pieces that it begins and ends in.
fn whole(range: &Range<u64>, len: u64) -> Range<u64> {
    let piece = CachedObject::PIECE;
    let start = range.start - range.start % piece;
    start..range.end.next_multiple_of(piece).min(len)
}

/// A span whose pieces go into the cache as well.
struct Keeping<'s, 'p, 'a> {
    span: Span<'p, 'a>,
    cached: &'s CachedObject,
    /// The beginning of the piece that is being received.
    piece: Vec<u8>,
}

impl Sink for Keeping<'_, '_, '_> {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.span.put(offset, bytes);
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let number = offset / CachedObject::PIECE;
            let all = usize::try_from(self.cached.piece_len(number)).unwrap_or(usize::MAX);
            let (here, later) = rest.split_at((all - self.piece.len()).min(rest.len()));
            self.piece.extend_from_slice(here);
            if self.piece.len() == all {
                // It waits for the disk, and now and then for another process.
                tokio::task::block_in_place(|| self.cached.keep(number, &self.piece));
                self.piece.clear();
            }
            (offset, rest) = (offset + here.len() as u64, later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows_to_whole_pieces() {
        let piece = CachedObject::PIECE;
        assert_eq!(whole(&(5..10), 20), 0..20);
        assert_eq!(whole(&(piece..piece + 1), 5 * piece), piece..2 * piece);
        assert_eq!(whole(&(piece - 1..2 * piece), 5 * piece), 0..2 * piece);
    }
}
