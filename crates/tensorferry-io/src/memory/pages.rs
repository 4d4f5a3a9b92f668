//! Pages from the operating system.
//!
//! On Linux, maps anonymous memory that starts on a huge-page boundary and requests huge pages. The
//! first touch of fresh memory then costs one page fault per 2 MiB instead of 4 KiB. Elsewhere,
//! uses the allocator.

/// Size of a huge page on x86-64 and most other processors. If huge pages are larger, it is only an
/// alignment.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

pub(crate) use platform::physical_memory;
pub(crate) use platform::{map, unmap};

#[cfg(target_os = "linux")]
mod platform {
    use super::HUGE_PAGE;
    use core::ffi::c_void;
    use core::ptr::{NonNull, null_mut};
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// `len` zero bytes that start on a huge-page boundary; `len` is a multiple of 64 KiB, the
    /// largest page size in use.
    pub(crate) fn map(len: usize) -> Option<NonNull<u8>> {
        let room = len.checked_add(HUGE_PAGE)?;
        // SAFETY: a private anonymous mapping at an address of the kernel's choice touches no
        // existing memory.
        let start = unsafe {
            mmap_anonymous(null_mut(), room, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }
        .ok()?;
        let before = start.addr().next_multiple_of(HUGE_PAGE) - start.addr();
        let block = start.wrapping_byte_add(before);
        trim(start, before);
        trim(block.wrapping_byte_add(len), HUGE_PAGE - before);
        // SAFETY: the range is the mapping made above; advice about huge pages changes no contents.
        // A kernel without huge pages refuses it, and small pages work too.
        let _refused = unsafe { madvise(block, len, Advice::LinuxHugepage) };
        NonNull::new(block.cast())
    }

    /// Unmaps an unused end of a mapping.
    fn trim(start: *mut c_void, len: usize) {
        if len > 0 {
            // SAFETY: `map` calls this on the parts of its own new mapping that lie outside the
            // block. A failure (too many mappings) leaves address space reserved, never touched and
            // so without memory.
            let _reserved = unsafe { munmap(start, len) };
        }
    }

    /// Returns a block to the system.
    ///
    /// # Safety
    /// `map(len)` returned `ptr`, and the block is no longer used.
    pub(crate) unsafe fn unmap(ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise. It can only fail for lack of kernel memory; the block is
        // then lost, not reused.
        let _lost = unsafe { munmap(ptr.as_ptr().cast(), len) };
    }

    /// Bytes of RAM.
    pub(crate) fn physical_memory() -> usize {
        let info = rustix::system::sysinfo();
        let unit = usize::try_from(info.mem_unit).unwrap_or(1);
        usize::try_from(info.totalram).unwrap_or(usize::MAX).saturating_mul(unit)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::HUGE_PAGE;
    use core::ptr::NonNull;
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    /// `len` zero bytes that start on a huge-page boundary; `len` is not 0.
    pub(crate) fn map(len: usize) -> Option<NonNull<u8>> {
        let block = Layout::from_size_align(len.max(1), HUGE_PAGE).ok()?;
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(block) })
    }

    /// Returns a block to the allocator.
    ///
    /// # Safety
    /// `map(len)` returned `ptr`, and the block is no longer used.
    pub(crate) unsafe fn unmap(ptr: NonNull<u8>, len: usize) {
        if let Ok(block) = Layout::from_size_align(len.max(1), HUGE_PAGE) {
            // SAFETY: the caller's promise: the same layout as in `map`.
            unsafe { dealloc(ptr.as_ptr(), block) };
        }
    }

    /// Bytes of RAM: a low guess, which only affects limits.
    pub(crate) fn physical_memory() -> usize {
        4 << 30
    }
}
