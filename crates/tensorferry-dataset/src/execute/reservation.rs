//! Memory reservations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that count as in use until the reservation is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    in_use: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(in_use: &Arc<AtomicUsize>, bytes: usize) -> Self {
        in_use.fetch_add(bytes, Ordering::Relaxed);
        Self { in_use: Arc::clone(in_use), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
