//! Long work without the GIL, that Ctrl-C ends.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use tensorferry::dataset::Stop;

/// How often to look whether a signal came.
const STEP: Duration = Duration::from_millis(50);

/// Does work in a thread of its own while this one waits for signals; one that raises stops the work, and is what is raised.
pub(crate) fn interruptible<T: Send>(py: Python<'_>, work: impl FnOnce(&Stop) -> T + Send) -> PyResult<T> {
    let stop = Stop::default();
    let (send, mut receive) = channel();
    thread::scope(|scope| {
        let stop = &stop;
        let run = move || {
            // Nobody waits any more only if this thread was told to stop.
            let _unwanted = send.send(work(stop));
        };
        thread::Builder::new().name("tensorferry-work".into()).spawn_scoped(scope, run)?;
        loop {
            let waits = &mut receive; // only an exclusive borrow may go where another thread could be
            match py.detach(move || waits.recv_timeout(STEP)) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("a thread ended without a result")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(raised) = py.check_signals() {
                stop.stop();
                // The scope waits for the thread, which needs no GIL; others may.
                let waits = &mut receive;
                let _stopped = py.detach(move || waits.recv());
                return Err(raised);
            }
        }
    })
}
