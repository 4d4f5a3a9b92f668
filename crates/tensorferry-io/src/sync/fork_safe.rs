//! Locks that never block a forked process forever.
//!
//! # Rationale
//! A thread that holds a lock while another thread forks does not exist in the child, so nothing
//! there ever releases the lock. [`ForkSafe`] knows which process its holders are in, and hands out
//! another value where they are in the parent. [`BriefLock`] is for the memory pool and file
//! handles, which work without their lock: it gives up waiting.

use crate::sync::process::process_id;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// Attempts to acquire a lock that may be held by a thread of the parent process.
const ATTEMPTS: u32 = 200;

/// A value behind a lock that works in every process.
#[derive(Debug)]
pub struct ForkSafe<T> {
    value: Mutex<T>,
    /// The process whose threads may hold the lock; 0 until it is first locked.
    process: AtomicU32,
    after_fork: AfterFork,
    /// Replaces a value whose lock was held when this process was forked.
    forked: OnceLock<Box<ForkSafe<T>>>,
}

/// What happens to the value in a forked process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFork {
    Keep,
    Drop,
    Leak,
}

impl<T> ForkSafe<T> {
    /// A value that a forked process keeps, such as a cache.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self::made(value, AfterFork::Keep)
    }

    /// A value that a forked process drops: it begins with the default value.
    #[must_use]
    pub const fn reset_by_fork(value: T) -> Self {
        Self::made(value, AfterFork::Drop)
    }

    /// A value that only its process may use, such as threads or a kernel queue. A forked process
    /// starts with the default value. It leaks the parent's, because dropping it could wait for
    /// threads that do not exist.
    #[must_use]
    pub const fn per_process(value: T) -> Self {
        Self::made(value, AfterFork::Leak)
    }

    const fn made(value: T, after_fork: AfterFork) -> Self {
        Self {
            value: Mutex::new(value),
            process: AtomicU32::new(0),
            after_fork,
            forked: OnceLock::new(),
        }
    }
}

impl<T: Default> Default for ForkSafe<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Default> ForkSafe<T> {
    /// Locks the value of this process.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let here = process_id();
        let owner = match self.process.load(Ordering::Acquire) {
            0 => self
                .process
                .compare_exchange(0, here, Ordering::AcqRel, Ordering::Acquire)
                .map_or_else(|other| other, |_| here),
            owner => owner,
        };
        if owner == here { self.wait() } else { self.lock_forked(here) }
    }

    fn wait(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a value that the parent process used, if it can be locked.
    #[cold]
    fn lock_forked(&self, here: u32) -> MutexGuard<'_, T> {
        for _ in 0..ATTEMPTS {
            if let Some(mut value) = tried(&self.value) {
                if self.process.swap(here, Ordering::AcqRel) != here {
                    match self.after_fork {
                        AfterFork::Keep => {}
                        AfterFork::Drop => *value = T::default(),
                        AfterFork::Leak => std::mem::forget(std::mem::take(&mut *value)),
                    }
                }
                return value;
            }
            if self.process.load(Ordering::Acquire) == here {
                return self.wait();
            }
            if let Some(forked) = self.forked.get() {
                return forked.lock();
            }
            std::thread::yield_now();
        }
        self.forked.get_or_init(|| Box::new(Self::made(T::default(), self.after_fork))).lock()
    }
}

fn tried<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A value that is only used briefly, and is optional.
#[derive(Debug, Default)]
pub struct BriefLock<T> {
    value: Mutex<T>,
    /// Whether the last wait for the lock was given up. Then it is only tried once.
    abandoned: AtomicBool,
}

impl<T> BriefLock<T> {
    /// A lock around a value.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), abandoned: AtomicBool::new(false) }
    }

    /// Locks the value. `None` if the lock is held for far longer than its users hold it, because
    /// this process was forked meanwhile.
    pub fn lock(&self) -> Option<MutexGuard<'_, T>> {
        let attempts = if self.abandoned.load(Ordering::Relaxed) { 1 } else { ATTEMPTS };
        for attempt in 0..attempts {
            match tried(&self.value) {
                Some(value) => {
                    self.abandoned.store(false, Ordering::Relaxed);
                    return Some(value);
                }
                None if attempt < 50 => std::hint::spin_loop(),
                None => std::thread::yield_now(),
            }
        }
        self.abandoned.store(true, Ordering::Relaxed);
        None
    }

    /// Whether the last attempt to lock failed.
    #[cfg(test)]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_did_not_make_it_does_not_wait_for_it() {
        let shared = ForkSafe::new(0);
        shared.process.store(u32::MAX, Ordering::Relaxed);
        let mut held = shared.value.lock().unwrap();
        *held = 1;
        let mut other = shared.lock();
        assert_eq!(*other, 0);
        *other = 2;
        drop((held, other));
        assert_eq!(*shared.lock(), 1);
        assert_eq!(shared.process.load(Ordering::Relaxed), process_id());
    }

    #[test]
    fn a_value_of_one_process_is_new_in_another() {
        let all = [ForkSafe::new(7), ForkSafe::reset_by_fork(7), ForkSafe::per_process(7)];
        for (kept, found) in all.into_iter().zip([7, 0, 0]) {
            assert_eq!(*kept.lock(), 7);
            kept.process.store(u32::MAX, Ordering::Relaxed);
            assert_eq!(*kept.lock(), found);
            *kept.lock() = 9;
            assert_eq!(*kept.lock(), 9);
        }
    }

    #[test]
    fn threads_of_one_process_wait_for_each_other() {
        static COUNT: ForkSafe<u32> = ForkSafe::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| *COUNT.lock() += 1));
            }
        });
        assert_eq!(*COUNT.lock(), 4000);
    }

    #[test]
    fn a_brief_lock_that_is_never_released_is_given_up_and_tried_again() {
        let lock = BriefLock::new(1);
        let held = lock.lock().unwrap();
        assert!(lock.lock().is_none() && lock.is_abandoned() && lock.lock().is_none());
        drop(held);
        assert!(lock.lock().is_some() && !lock.is_abandoned());
    }
}
