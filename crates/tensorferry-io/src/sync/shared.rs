//! What the threads that compute a plan's elements share.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// Something under a lock that a forked process never waits for in vain: where a thread held it
/// that did not come along, the process goes on with a new one.
pub struct Shared<T> {
    value: Mutex<T>,
    /// The process that made it.
    process: u32,
    forked: OnceLock<Box<Shared<T>>>,
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self {
            value: Mutex::default(),
            process: crate::sync::process::process_id(),
            forked: OnceLock::new(),
        }
    }
}

impl<T: Default> Shared<T> {
    /// Locks the value, of this process.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.process == crate::sync::process::process_id() => {
                self.value.lock().unwrap_or_else(PoisonError::into_inner)
            }
            // Perhaps it is another thread of this process; the new one does as well.
            Err(TryLockError::WouldBlock) => self.forked.get_or_init(Box::default).lock(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_did_not_make_it_does_not_wait_for_it() {
        let shared = Shared { process: 0, ..Shared::<i32>::default() };
        let mut held = shared.lock();
        *held = 1;
        let mut other = shared.lock();
        assert_eq!(*other, 0);
        *other = 2;
        drop((held, other));
        assert_eq!(*shared.lock(), 1);
    }
}
