//! Non-temporal stores and software prefetch.
//!
//! # Rationale
//! An ordinary store first reads the cache line it writes to, which is a quarter of the traffic of
//! an int64 -> int32 conversion, and evicts other data. A non-temporal store of a whole line does
//! neither. Stores alone gain nothing, because a core limits the number of lines in flight.
//! Prefetch of the source, across the page boundaries where the CPU's prefetcher stops, uses the
//! bandwidth that they free. Benchmark C3 measures both.
//!
//! # Limitations
//! The result is in memory, not in a cache, so this pays only for results larger than the caches.
//! x86-64 only: other CPUs detect writes of whole lines themselves.

#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_stream_si128,
};

/// The bytes of a result that exceeds the caches.
const LARGE: usize = 32 << 20;

/// The bytes of a cache line.
pub(super) const LINE: usize = 64;

/// The bytes converted between two prefetches, on the side of the larger dtype. On the other side
/// they are a multiple of [`LINE`] for all dtypes.
pub(super) const PART: usize = 16 * LINE;

/// The bytes from a part to the part that is prefetched while it is read.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const PREFETCH_DISTANCE: usize = 2 * PART;

/// Whether to write a result of `nbytes` past the caches.
pub(super) fn pays(nbytes: usize) -> bool {
    cfg!(all(target_arch = "x86_64", not(miri))) && nbytes >= LARGE
}

/// Copies `lines` whole lines past the caches. [`fence`] has to follow before another thread reads
/// them.
///
/// # Safety
/// The bytes of `lines` lines are readable and initialised at `src` and writable at `dst`, which is
/// a multiple of [`LINE`], and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, lines: usize) {
    const STEP: usize = size_of::<__m128i>();
    for at in (0..lines * LINE).step_by(STEP) {
        // SAFETY: within the bytes that the caller promises; the load needs no alignment.
        let bytes = unsafe { _mm_loadu_si128(src.wrapping_add(at).cast()) };
        // SAFETY: within the bytes that the caller promises, at a multiple of 16 because the start
        // is a multiple of 64.
        unsafe { _mm_stream_si128(dst.wrapping_add(at).cast(), bytes) };
    }
}

/// Copies `lines` lines.
///
/// # Safety
/// As on x86-64.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, lines: usize) {
    // SAFETY: the caller's promise.
    unsafe { src.copy_to_nonoverlapping(dst, lines * LINE) };
}

/// Prefetches `nbytes` that are `PREFETCH_DISTANCE` after `src`, which may be past the end.
pub(super) fn prefetch(src: *const u8, nbytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for at in (0..nbytes).step_by(LINE) {
        // SAFETY: every x86-64 CPU has SSE; a prefetch has no visible effect and faults at no
        // address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.wrapping_add(PREFETCH_DISTANCE + at).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (src, nbytes);
}

/// Orders the stores of [`copy`] before all later stores, such as one that wakes another thread.
pub(super) fn fence() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 CPU has SSE.
    unsafe {
        _mm_sfence();
    }
}
