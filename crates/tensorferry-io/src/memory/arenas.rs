//! Address space of the C library's allocator.

/// Makes all threads of this process allocate from one arena, if its address space is limited to
/// less than a GiB (`RLIMIT_AS`). Otherwise the C library may reserve 64 MiB of addresses for a
/// thread that allocates a few KiB. For programs, before they start threads, and not for libraries:
/// concurrent allocations take longer.
///
/// Does nothing where the C library is not glibc.
pub fn spare_address_space() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if crate::memory::limits::address_space().is_some_and(|limit| limit < 1 << 30) {
        // SAFETY: the call takes numbers only, and may be made at any time.
        let _done = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}
