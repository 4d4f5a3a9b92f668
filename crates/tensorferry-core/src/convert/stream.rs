//! Writing past the caches, and asking for what is read next.
//!
//! # Rationale
//! An ordinary store reads the line it writes to: of an int64 -> int32 conversion a quarter of the
//! traffic is that reading, and what is written pushes out of the caches what others have there. A
//! line stored as a whole past the caches needs neither. Alone that gains nothing where one core
//! cannot have more lines under way; asking for the source's lines some time ahead, across the page
//! boundaries where the CPU's own prefetching stops, makes use of what the stores no longer need.
//! C3 of `benchmarks/` measures it.
//!
//! # Limitations
//! Whoever reads the result next finds it in memory, not in a cache, so it is for results that no
//! cache would hold. x86-64 only: other CPUs notice by themselves when whole lines are written.

#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_stream_si128,
};

/// Bytes of a result that the caches are not expected to hold.
const LARGE: usize = 32 << 20;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Bytes, at the end that has more, between two looks ahead; a multiple of [`LINE`] at the other
/// end whatever the dtypes.
pub(super) const PART: usize = 16 * LINE;

/// How far ahead of the part that is read the source is asked for.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const AHEAD: usize = 2 * PART;

/// Whether to write a result of so many bytes past the caches.
pub(super) fn pays(nbytes: usize) -> bool {
    cfg!(all(target_arch = "x86_64", not(miri))) && nbytes >= LARGE
}

/// Copies `lines` whole lines past the caches. Call [`fence`] before anyone else is told of them.
///
/// # Safety
/// At `src` so many bytes are readable and initialised, at `dst`, which is a multiple of [`LINE`],
/// so many are writable, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, lines: usize) {
    const STEP: usize = size_of::<__m128i>();
    for at in (0..lines * LINE).step_by(STEP) {
        // SAFETY: within the bytes that the caller vouches for; the load needs no alignment.
        let bytes = unsafe { _mm_loadu_si128(src.wrapping_add(at).cast()) };
        // SAFETY: within the bytes that the caller vouches for, at a multiple of 16 as the start is
        // one of 64.
        unsafe { _mm_stream_si128(dst.wrapping_add(at).cast(), bytes) };
    }
}

/// # Safety
/// As above.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, lines: usize) {
    // SAFETY: the caller's promise.
    unsafe { src.copy_to_nonoverlapping(dst, lines * LINE) };
}

/// Asks for what comes some time after the `nbytes` at `src`, which may be past the end.
pub(super) fn look_ahead(src: *const u8, nbytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for at in (0..nbytes).step_by(LINE) {
        // SAFETY: every x86-64 CPU has SSE; a prefetch reads nothing that a program could see and
        // faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.wrapping_add(AHEAD + at).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (src, nbytes);
}

/// Orders what [`copy`] wrote before every later store, such as the one that tells another thread
/// of it.
pub(super) fn fence() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 CPU has SSE.
    unsafe {
        _mm_sfence();
    }
}
