//! Threads that an exiting interpreter would unwind.
//!
//! Before Python 3.14, a thread that takes the GIL of an exiting interpreter is ended by
//! `pthread_exit`, wherever it is: in a function that Rust called, or in a finalizer that the
//! garbage collector runs. glibc then unwinds its stack. Rust's frames cannot be unwound in this
//! way: the process would abort. Other C libraries do not unwind, and need none of this.
//!
//! glibc calls a thread's cleanup handlers before it unwinds the frames above them. A handler whose
//! record is not on the stack is called before any frame is unwound. [`guard`] registers such a
//! handler for the calling thread. It blocks the thread forever, as Python 3.14 does, if frames of
//! this library are on its stack.
//!
//! # Rationale
//! A handler costs nothing until the exit. Guarding each call into Python instead would mean
//! declaring every CPython function as one that may unwind, including those that PyO3 calls, as any
//! allocation may run the garbage collector.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use glibc::guard;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn guard() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::cell::{Cell, OnceCell, UnsafeCell};
    use std::ffi::{c_int, c_void};
    use std::mem::{self, MaybeUninit};
    use std::ptr;
    use std::sync::OnceLock;
    use std::thread;
    use std::time::Duration;

    thread_local! {
        /// Whether the thread has a handler.
        static GUARDED: Cell<bool> = const { Cell::new(false) };
        /// The handler's record, on the heap and not on the stack.
        static RECORD: OnceCell<Box<UnsafeCell<Record>>> = const { OnceCell::new() };
    }

    /// Makes interpreter exit block this thread, not unwind it, under frames of this library. Every
    /// entry from Python calls it.
    #[inline]
    pub(crate) fn guard() {
        if !GUARDED.get() {
            register();
        }
    }

    /// `struct _pthread_cleanup_buffer` (Linux Standard Base, pthread.h).
    #[repr(C)]
    struct Record {
        routine: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        argument: *mut c_void,
        cancel_type: c_int,
        previous: *mut Record,
    }

    type Push =
        unsafe extern "C" fn(*mut Record, unsafe extern "C-unwind" fn(*mut c_void), *mut c_void);

    /// `_pthread_cleanup_push`, which every glibc has; before 2.34 in libpthread.
    fn push() -> Option<Push> {
        static FOUND: OnceLock<Option<Push>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // SAFETY: the name is a C string, and RTLD_DEFAULT searches what the process has
            // loaded.
            let symbol =
                unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_pthread_cleanup_push".as_ptr()) };
            // SAFETY: glibc's function of this name has this signature.
            (!symbol.is_null()).then(|| unsafe { mem::transmute::<*mut c_void, Push>(symbol) })
        })
    }

    #[cold]
    fn register() {
        GUARDED.set(true);
        let Some(push) = push() else { return };
        let record = Record {
            routine: None,
            argument: ptr::null_mut(),
            cancel_type: 0,
            previous: ptr::null_mut(),
        };
        // A thread without its thread-locals is about to end by itself.
        let _ending = RECORD.try_with(|cell| {
            let record = cell.get_or_init(|| Box::new(UnsafeCell::new(record))).get();
            // SAFETY: the record lives as long as the thread, glibc alone writes it, and `hold`
            // ignores its argument.
            unsafe { push(record, hold, ptr::null_mut()) };
        });
    }

    /// The handler: blocks while frames of this library are on the stack.
    unsafe extern "C-unwind" fn hold(_: *mut c_void) {
        while is_under_this_library() {
            thread::sleep(Duration::from_secs(3600));
        }
    }

    unsafe extern "C-unwind" {
        fn _Unwind_Backtrace(
            trace: extern "C-unwind" fn(*mut c_void, *mut Seen) -> c_int,
            seen: *mut Seen,
        ) -> c_int;
        fn _Unwind_GetIP(context: *mut c_void) -> usize;
    }

    /// The result of a stack walk, from the innermost frame outwards.
    #[derive(Default)]
    #[repr(C)]
    struct Seen {
        /// Whether the walk has left the frames of the handler.
        others: bool,
        /// Whether it found further frames of this library.
        ours: bool,
    }

    /// Whether frames of this library, except the handler's, are on the stack.
    fn is_under_this_library() -> bool {
        let mut seen = Seen::default();
        // SAFETY: `see` is called, before this returns, with a frame's context and with `seen`.
        unsafe { _Unwind_Backtrace(see, &raw mut seen) };
        seen.ours
    }

    extern "C-unwind" fn see(context: *mut c_void, seen: *mut Seen) -> c_int {
        // SAFETY: the context is that of a frame.
        let at = unsafe { _Unwind_GetIP(context) };
        // SAFETY: `is_under_this_library` passes its own, and waits.
        let seen = unsafe { &mut *seen };
        if library_of(at) != library_of(hold as *const () as usize) {
            seen.others = true;
        } else if seen.others {
            seen.ours = true;
        }
        0 // _URC_NO_REASON: the next frame
    }

    /// The base address of the library that contains this code.
    fn library_of(address: usize) -> Option<usize> {
        let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: any address may be asked about, and `found` is one to fill.
        let status = unsafe { libc::dladdr(ptr::without_provenance(address), found.as_mut_ptr()) };
        // SAFETY: a Dl_info is four pointers, of which zeros are valid.
        let found = unsafe { found.assume_init() };
        (status != 0).then(|| found.dli_fbase.addr())
    }
}
