//! Ctrl-C (SIGINT), SIGTERM and the end of a terminal (SIGHUP) cancel the work, which then removes
//! its temporary files.

#[cfg_attr(not(unix), path = "none.rs")]
mod signals;

pub(crate) use signals::{cancel_token, status};
