//! The threads that talk to stores, of this process.
//!
//! # Rationale
//! A fork leaves the runtime's threads and sockets in the parent. So the runtime belongs to a
//! process: a forked child leaves the old one behind and makes a new one when it first needs it.
//! Large requests are driven by the thread that waits for them. The runtime's own threads wait for
//! sockets, decrypt, read ahead, and drive small requests. They are few: a request whose
//! connection is another thread's wakes it twice.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::sync::fork_safe::ForkSafe;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};

/// Most threads of the runtime: one for two CPUs. One does for several GB a second without TLS. By
/// W16's figures, two threads on two CPUs take up to 92 us for a request, and one takes 53 us.
const THREADS: usize = 4;
/// How often a wait looks whether it is cancelled.
const POLL: Duration = Duration::from_millis(20);

/// The number of callers whose work is being undone.
static UNDOING: ForkSafe<usize> = ForkSafe::per_process(0);

static RUNTIME: ForkSafe<Option<Arc<Runtime>>> = ForkSafe::per_process(None);

/// Chooses the cryptography of TLS, unless another part of the program has, which does as well.
/// Clients cannot be made before.
pub(super) fn choose_cryptography() {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
}

/// The runtime of this process.
///
/// # Errors
/// [`Error::Io`] if threads cannot be started.
pub(super) fn runtime() -> Result<Arc<Runtime>> {
    let mut kept = RUNTIME.lock();
    if let Some(runtime) = &*kept {
        return Ok(Arc::clone(runtime));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let made = Builder::new_multi_thread()
        .worker_threads((cores / 2).clamp(1, THREADS))
        .thread_name("tensorferry-net")
        .enable_io()
        .enable_time()
        .build();
    let made = made.map_err(|source| Error::Io {
        action: "start the threads for network requests of",
        path: Path::new("tensorferry").to_owned(),
        source,
    })?;
    Ok(Arc::clone(kept.insert(Arc::new(made))))
}

/// Runs `work` to its end in this thread, unless `cancel` is cancelled first.
///
/// # Errors
/// Those of `work`; [`Error::Interrupted`]; as [`runtime`].
pub(super) fn run<T: Send>(
    cancel: &CancelToken,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let runtime = runtime()?;
    let work = until_cancelled(cancel, work);
    if Handle::try_current().is_err() {
        return runtime.block_on(work);
    }
    // The caller is a task of a runtime, where a thread must not block on another.
    let joined = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// How long a failed caller waits for what has to be undone, and an interrupted one, which does so
/// once.
const UNDO: Duration = Duration::from_secs(10);
const UNDO_INTERRUPTED: Duration = Duration::from_millis(50);

/// Has the runtime's threads undo what a failed or interrupted caller did. They continue when
/// the caller does not wait any longer, unless the process ends.
pub(super) fn undo(cancel: &CancelToken, work: impl Future<Output = ()> + Send + 'static) {
    let Ok(runtime) = runtime() else { return };
    let (send, done) = channel();
    let others = {
        let mut undoing = UNDOING.lock();
        *undoing += 1;
        *undoing - 1
    };
    runtime.spawn(async move {
        work.await;
        *UNDOING.lock() -= 1;
        let _received = send.send(());
    });
    let wait = match cancel.check() {
        Ok(()) => UNDO,
        Err(_) if others > 0 => Duration::ZERO,
        Err(_) => UNDO_INTERRUPTED,
    };
    let _done = done.recv_timeout(wait);
}

/// As [`await_cleanup`](crate::storage::objects::await_cleanup).
pub(crate) fn await_undone(limit: Duration) {
    let began = Instant::now();
    while *UNDOING.lock() > 0 && began.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn until_cancelled<T>(
    cancel: &CancelToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(POLL);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => cancel.check()?,
        }
    }
}

/// Waits until work is cancelled.
pub(super) async fn cancelled(cancel: &CancelToken) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_it_is_cancelled() {
        let cancel = CancelToken::default();
        let waiting = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| run(&cancel, std::future::pending::<Result<()>>()));
            cancel.cancel();
            waiter.join().unwrap()
        });
        assert_eq!(waiting.unwrap_err().code(), "interrupted");
    }

    #[test]
    fn a_task_of_a_runtime_may_wait() {
        let outer = Builder::new_current_thread().build().unwrap();
        let done = outer.block_on(async { run(&CancelToken::default(), async { Ok(7) }) });
        assert_eq!(done.unwrap(), 7);
    }
}
