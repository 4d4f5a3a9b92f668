//! The process id without a system call.
//!
//! # Rationale
//! The process id is checked for every element, and a system call would dominate the time of a
//! small batch. On Linux, the C library calls a handler in a forked child, which stores the child's
//! id.

/// The id of this process.
#[cfg(not(target_os = "linux"))]
pub fn process_id() -> u32 {
    std::process::id()
}

#[cfg(target_os = "linux")]
pub use linux::process_id;

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// 0 until it is known.
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    /// Whether the handler is registered.
    static ASKED: AtomicBool = AtomicBool::new(false);

    /// The id of this process.
    #[inline]
    #[must_use]
    pub fn process_id() -> u32 {
        match KNOWN.load(Ordering::Relaxed) {
            0 => find(),
            known => known,
        }
    }

    #[cold]
    fn find() -> u32 {
        let id = std::process::id();
        // Until the handler is registered, other threads ask the system.
        if !ASKED.swap(true, Ordering::Relaxed) {
            // SAFETY: the handler stores one atomic number, and lives as long as the process.
            let refused = unsafe { libc::pthread_atfork(None, None, Some(renew)) } != 0;
            if !refused {
                KNOWN.store(id, Ordering::Relaxed);
            }
        }
        id
    }

    /// Runs in the child, before any other code.
    extern "C" fn renew() {
        KNOWN.store(std::process::id(), Ordering::Relaxed);
    }
}
