//! The library's threads and the interpreter: the GIL, signals, fork, and interpreter exit.

pub(crate) mod atexit;
pub(crate) mod attach;
pub(crate) mod brief_lock;
pub(crate) mod deferred_drop;
pub(crate) mod exception;
pub(crate) mod exit;
pub(crate) mod gil;
pub(crate) mod interrupt;
pub(crate) mod logging;
pub(crate) mod unwinding;
pub(crate) mod wait;
