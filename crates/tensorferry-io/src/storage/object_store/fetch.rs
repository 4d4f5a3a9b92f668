//! [`fetch`]: the bytes of one range of an object, received as they come.
//!
//! # Rationale
//! A broken answer continues at the byte where it ended. A request that takes longer than most is
//! sent again, and once more if that takes as long: of many that stall, some stall twice. The
//! answer that comes first is used. An answer of another state of the object is an error, whether
//! or not the store looks at `If-Match`.

use crate::error::{Error, Result};
use crate::storage::counts::{COUNTERS, add};
use crate::storage::object_store::call::call;
use crate::storage::object_store::failure::{Again, Failure, Kind, refused, sort};
use crate::storage::object_store::mark::Mark;
use crate::storage::object_store::store::Store;
use crate::storage::object_store::tries::{Tries, final_error};
use crate::storage::url::Url;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Least patience between two pieces of an answer.
const BETWEEN: Duration = Duration::from_millis(100);
/// Most requests for the same bytes: some stall, and some of those that were sent for them.
const MOST: usize = 3;

/// An object, in one state.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) path: Path,
    pub(super) query: Option<Arc<str>>,
    pub(super) mark: Mark,
}

/// Where received bytes go.
pub(super) trait Sink: Send {
    /// Takes bytes at an offset of the object.
    fn put(&mut self, offset: u64, bytes: &[u8]);
}

type Body = BoxStream<'static, object_store::Result<Bytes>>;
type Received = Result<(Body, Bytes), Failure>;

/// Receives all bytes of a range, in order.
///
/// # Errors
/// [`Error::Io`]; [`Error::FileChanged`].
pub(super) async fn fetch(
    target: &Target,
    store: &Store,
    range: Range<u64>,
    sink: &mut dyn Sink,
) -> Result<()> {
    let mut permit = store.limiter.begin(range.end - range.start).await;
    let mut tries = Tries::new(store, &target.url, "read");
    let (mut at, mut body) = (range.start, None);
    while at < range.end {
        match next(target, store, body.take(), at..range.end, tries.left()).await {
            Ok((rest, bytes)) => {
                let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                let bytes = &bytes[..bytes.len().min(left)];
                sink.put(at, bytes);
                at += bytes.len() as u64;
                body = Some(rest);
                tries.received();
            }
            Err(failure) => {
                // Other requests may be under way while this one waits.
                drop(permit.take());
                match tries.failed(failure).await {
                    Ok(()) => permit = store.limiter.begin(range.end - at).await,
                    Err(Failure::Changed) => return Err(changed(target, store).await),
                    Err(other) => return Err(final_error(other, &target.url, "read")),
                }
            }
        }
    }
    // A connection is used again once the end of its answer was seen.
    let _end = body.as_mut().and_then(|rest| rest.next().now_or_never());
    drop(permit);
    store.limiter.succeeded();
    store.limiter.settle();
    Ok(())
}

/// The next bytes of an answer, or the first ones of a new request for the range.
async fn next(
    target: &Target,
    store: &Store,
    body: Option<Body>,
    range: Range<u64>,
    left: Duration,
) -> Received {
    let (begun, is_first) = (Instant::now(), body.is_none());
    let patience = store.latency.patience();
    let patience = if is_first { patience } else { patience.max(BETWEEN) };
    let mut first = pin!(receive(target, store, body, range.clone()));
    let stalled = store.latency.stalled().min(left);
    let mut done = timeout(patience.min(left), &mut first).await.ok();
    if done.is_none() {
        let others = || receive(target, store, None, range.clone()).boxed();
        let hedged = hedged(store, patience, first.boxed(), others);
        done = timeout(stalled.saturating_sub(begun.elapsed()), hedged).await.ok();
    }
    if is_first {
        store.latency.note(begun.elapsed());
    }
    done.unwrap_or_else(|| {
        let why = format!("no byte came for {:.1} s", begun.elapsed().as_secs_f64());
        Err(Again::new(Kind::Failed, why).into())
    })
}

/// What comes first: the answer of a request that has taken as long as `patience`, or that of
/// another one, which is sent as soon as a hedge may be used, or of one more if that takes as long.
async fn hedged<'a>(
    store: &Store,
    patience: Duration,
    first: BoxFuture<'a, Received>,
    other: impl Fn() -> BoxFuture<'a, Received>,
) -> Received {
    let begun = Instant::now();
    let mut requests = FuturesUnordered::from_iter([first]);
    let mut sent = 1;
    loop {
        let mut pause = patience;
        if sent < MOST {
            if store.latency.take_hedge(begun.elapsed() >= patience) {
                add(&COUNTERS.hedges, 1);
                requests.push(other());
                sent += 1;
            } else {
                // Until other requests have earned one.
                pause /= 4;
            }
        }
        match timeout(pause, requests.next()).await {
            Ok(Some(Err(_))) if !requests.is_empty() => {}
            Ok(Some(done)) => return done,
            Ok(None) | Err(_) => {}
        }
    }
}

/// Bytes of an answer, or of a new request if there is none.
async fn receive(
    target: &Target,
    store: &Store,
    body: Option<Body>,
    range: Range<u64>,
) -> Received {
    let mut body = match body {
        Some(body) => body,
        None => request(target, store, range).await?,
    };
    loop {
        match body.next().await {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) => {
                add(&COUNTERS.bytes, bytes.len() as u64);
                return Ok((body, bytes));
            }
            Some(Err(error)) => {
                let why = format!("the answer broke off: {}", innermost(&error));
                return Err(Again::new(Kind::Failed, why).into());
            }
            None => {
                let why = "the answer ended before its last byte";
                return Err(Again::new(Kind::Failed, why).into());
            }
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

async fn request(target: &Target, store: &Store, range: Range<u64>) -> Result<Body, Failure> {
    store.latency.requested();
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: target.mark.if_match(),
        ..GetOptions::default()
    };
    let asked = store.objects.get_opts(&target.path, options);
    let (done, answer) = call(target.query.as_ref(), asked).await;
    store.noted(answer);
    let found = done.map_err(|error| sort(error, answer))?;
    if !target.mark.is_of(&found.meta) {
        return Err(Failure::Changed);
    }
    Ok(found.into_stream())
}

/// The error of an object that is not the one that was opened, with its length now.
pub(super) async fn changed(target: &Target, store: &Store) -> Error {
    let was = target.mark.len();
    let changed = |is| Error::FileChanged { was, is }.in_file(&target.url.name());
    let head = GetOptions { head: true, ..GetOptions::default() };
    let now = call(target.query.as_ref(), store.objects.get_opts(&target.path, head));
    match timeout(store.latency.stalled().min(store.deadline), now).await {
        Ok((Ok(now), _)) => changed(now.meta.size),
        Ok((Err(error), answer)) => match sort(error, answer) {
            Failure::Final(source) => refused("read", &target.url, source),
            _ => changed(was),
        },
        Err(_) => changed(was),
    }
}
