//! Replaces `uring` on systems or processors without io_uring bindings.

use crate::storage::local::direct::queue::{Queue, Shape};
use std::io;
use std::io::ErrorKind;

/// # Errors
/// Always.
pub(super) fn ring(_shape: Shape) -> io::Result<Box<dyn Queue>> {
    Err(ErrorKind::Unsupported.into())
}
