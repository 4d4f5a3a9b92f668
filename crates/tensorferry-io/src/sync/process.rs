//! The number of this process, known without asking the system.
//!
//! # Rationale
//! Every element asks whether the process is still the one that made the iterator, and a system
//! call would take longer than all else that a small batch needs. On Linux the C library calls a
//! handler in a forked child, which notes its number.

/// The number of this process.
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
    /// Whether the handler was asked for.
    static ASKED: AtomicBool = AtomicBool::new(false);

    /// The number of this process.
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
        // Until the handler is there, other threads keep asking the system.
        if !ASKED.swap(true, Ordering::Relaxed) {
            // SAFETY: the handler stores one atomic number, and lives as long as the process.
            let refused = unsafe { libc::pthread_atfork(None, None, Some(renew)) } != 0;
            if !refused {
                KNOWN.store(id, Ordering::Relaxed);
            }
        }
        id
    }

    /// In a child, with nothing else running.
    extern "C" fn renew() {
        KNOWN.store(std::process::id(), Ordering::Relaxed);
    }
}
