//! Long work without the GIL, that Ctrl-C ends.

use crate::dataset::interrupt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tensorferry::dataset::CancelToken;

/// How often to look whether a signal came.
const STEP: Duration = Duration::from_millis(50);

/// Does work in a thread of its own while this one waits for signals; one that raises stops the
/// work, and is what is raised. If there is no thread to be had, this one does the work, and looks
/// for signals where the work asks whether to stop.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&CancelToken) -> T + Send,
) -> PyResult<T> {
    let stop = CancelToken::default();
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (send, mut receive) = channel();
    thread::scope(|scope| {
        let stop = &stop;
        let take = &take;
        let run = move || {
            if let Some(work) = take() {
                // Nobody waits any more only if this thread was told to stop.
                let _unwanted = send.send(work(stop));
            }
        };
        if let Err(error) =
            thread::Builder::new().name("tensorferry-work".into()).spawn_scoped(scope, run)
        {
            let Some(work) = take() else { return Err(error.into()) };
            let (done, raised) = interrupt::run(py, || work(stop));
            return raised.map(|()| done);
        }
        loop {
            // only an exclusive borrow may go where another thread could be
            let waits = &mut receive;
            match py.detach(move || waits.recv_timeout(STEP)) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("a thread ended without a result"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(raised) = py.check_signals() {
                stop.cancel();
                // The scope waits for the thread, which needs no GIL; others may.
                let waits = &mut receive;
                let _stopped = py.detach(move || waits.recv());
                return Err(raised);
            }
        }
    })
}
