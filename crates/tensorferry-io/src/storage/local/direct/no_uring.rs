//! Where there is no io_uring, or no bindings for the processor.

use crate::storage::local::direct::queue::{Queue, Shape};
use std::io;
use std::io::ErrorKind;

/// # Errors
/// There is none.
pub(super) fn ring(_shape: Shape) -> io::Result<Box<dyn Queue>> {
    Err(ErrorKind::Unsupported.into())
}
