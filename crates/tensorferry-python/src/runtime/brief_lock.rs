//! Locks that are held briefly, in processes that may fork.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;

/// How often to try: far longer than any thread holds such a lock.
const TRIES: usize = 100_000;

/// Takes a lock that threads hold only briefly; `None` if it never comes free, as in a child that
/// was forked while another thread held it.
pub(crate) fn brief_lock<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..TRIES {
        match lock.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
    None
}
