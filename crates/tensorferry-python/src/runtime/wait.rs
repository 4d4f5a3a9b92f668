//! Long work without the GIL, which Ctrl-C interrupts.

use crate::runtime::interrupt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tensorferry::dataset::{CancelToken, governed};

/// The interval between checks for signals.
const STEP: Duration = Duration::from_millis(50);

/// Runs `work` in a new thread while this one waits for signals. If a signal handler raises, the
/// work is cancelled, and the exception is returned. If no thread can be started, this thread does
/// the work, and checks for signals whenever the work checks for cancellation.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&CancelToken) -> T + Send,
) -> PyResult<T> {
    let cancel = CancelToken::default();
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (send, mut receive) = channel();
    thread::scope(|scope| {
        let cancel = &cancel;
        let take = &take;
        let run = move || {
            if let Some(work) = take() {
                // The receiver is gone only if the work was cancelled.
                let _cancelled = send.send(governed(cancel, || work(cancel)));
            }
        };
        if let Err(error) =
            thread::Builder::new().name("tensorferry-work".into()).spawn_scoped(scope, run)
        {
            let Some(work) = take() else { return Err(error.into()) };
            let (done, raised) = interrupt::run(py, || work(cancel));
            return raised.map(|()| done);
        }
        loop {
            // A receiver is not Sync, but an exclusive borrow is Send.
            let waits = &mut receive;
            match py.detach(move || waits.recv_timeout(STEP)) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("a thread ended without a result"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(raised) = py.check_signals() {
                cancel.cancel();
                // The scope waits for the thread: without the GIL, which others may need.
                let waits = &mut receive;
                let _stopped = py.detach(move || waits.recv());
                return Err(raised);
            }
        }
    })
}
