//! Threads that an ending interpreter unwinds.
//!
//! Before Python 3.14 a thread that comes to take the GIL of an interpreter that is ending is ended
//! by `pthread_exit`, wherever it is: in a function that Rust called, in a finalizer that a
//! collection of garbage ran. glibc unwinds its stack then, and a stack with Rust's frames cannot
//! be unwound so: the process would abort. Other systems' C libraries do not unwind, and need
//! nothing of this.
//!
//! glibc calls the cleanup handlers of a thread before it unwinds the frames above them, and one
//! that does not lie on the stack before it unwinds any. [`guard`] registers one for the calling
//! thread: it holds the thread for ever, as Python 3.14 does, if there are frames of this library
//! on its stack.
//!
//! # Rationale
//! A handler costs nothing while nothing ends. To guard each call into Python instead, every
//! function of CPython's would have to be declared anew as one that may unwind, those that PyO3's
//! own frames call among them; and any allocation may collect garbage.

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
        /// Whether the thread has its handler.
        static GUARDED: Cell<bool> = const { Cell::new(false) };
        /// The handler's record, on the heap and thus not on the stack.
        static RECORD: OnceCell<Box<UnsafeCell<Record>>> = const { OnceCell::new() };
    }

    /// Has the thread held, and not unwound, where the interpreter ends it under frames of this
    /// library. Called on every way in.
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

    /// `_pthread_cleanup_push`, which is in every glibc, in a library of its own before 2.34.
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
        // A thread whose locals are gone already is about to end by itself.
        let _gone = RECORD.try_with(|cell| {
            let record = cell.get_or_init(|| Box::new(UnsafeCell::new(record))).get();
            // SAFETY: the record lives as long as the thread, glibc alone writes it, and `hold`
            // ignores its argument.
            unsafe { push(record, hold, ptr::null_mut()) };
        });
    }

    /// The handler.
    unsafe extern "C-unwind" fn hold(_: *mut c_void) {
        while is_under_us() {
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

    /// What was seen of a stack, from the last call to the first.
    #[derive(Default)]
    #[repr(C)]
    struct Seen {
        /// Whether the frames of the handler itself have been passed.
        others: bool,
        ours: bool,
    }

    /// Whether frames of this library are on the stack, apart from the handler's.
    fn is_under_us() -> bool {
        let mut seen = Seen::default();
        // SAFETY: `see` is called, before this returns, with a frame's context and with `seen`.
        unsafe { _Unwind_Backtrace(see, &raw mut seen) };
        seen.ours
    }

    extern "C-unwind" fn see(context: *mut c_void, seen: *mut Seen) -> c_int {
        // SAFETY: the context is that of a frame.
        let at = unsafe { _Unwind_GetIP(context) };
        // SAFETY: `is_under_us` passes its own, and waits.
        let seen = unsafe { &mut *seen };
        if library_of(at) != library_of(hold as *const () as usize) {
            seen.others = true;
        } else if seen.others {
            seen.ours = true;
        }
        0 // _URC_NO_REASON: the next frame
    }

    /// Where the library that has this code begins.
    fn library_of(address: usize) -> Option<usize> {
        let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: any address may be asked about, and `found` is one to fill.
        let status = unsafe { libc::dladdr(ptr::without_provenance(address), found.as_mut_ptr()) };
        // SAFETY: a Dl_info is four pointers, of which zeros are valid.
        let found = unsafe { found.assume_init() };
        (status != 0).then(|| found.dli_fbase.addr())
    }
}
