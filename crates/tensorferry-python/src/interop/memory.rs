//! Memory that frameworks can share: `empty`, and a memory handler for NumPy (NEP 49).

use crate::errors::OrRaise;
use crate::interop::array;
use crate::interop::dtype;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyString};
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use tensorferry::buffers::pool::{self, PoolBuffer};
use tensorferry::{ByteOrder, DType, Layout};

/// A block of recycled memory that a NumPy array writes to and keeps alive.
#[pyclass(frozen)]
pub(crate) struct Block {
    /// Only owned: NumPy has the address.
    #[expect(dead_code, reason = "dropping it frees the memory")]
    memory: Mutex<PoolBuffer>,
}

/// A writeable NumPy array, C-contiguous, aligned to 64 bytes, in recycled memory; its values are
/// arbitrary.
///
/// Such an array can be handed to TensorFlow without a copy (`copy=False`).
///
/// Args:
///     shape: an int or a sequence of ints.
///     dtype: one of the dtypes that tensors share; float64 if None, as `numpy.empty`.
///
/// >>> import tensorferry
/// >>> array = tensorferry.empty((2, 3), "int32")
/// >>> array.shape, array.ctypes.data % 64
/// ((2, 3), 0)
#[pyfunction]
#[pyo3(signature = (shape, dtype = None))]
pub(crate) fn empty<'py>(
    py: Python<'py>,
    shape: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let dtype = dtype::parse_ours(dtype)?.unwrap_or(DType::Float64); // numpy.empty's default
    let shape: Vec<usize> = match shape.extract::<usize>() {
        Ok(length) => vec![length],
        Err(_) => match shape.extract() {
            Ok(lengths) if !shape.is_instance_of::<PyString>() => lengths,
            // Makes the error, the same for all functions that take a shape.
            _ => py
                .import("tensorferry._arguments")?
                .getattr("shape")?
                .call1((shape, "empty"))?
                .extract()?,
        },
    };
    let layout = Layout::contiguous(&shape, dtype.size()).or_raise(py)?;
    let mut memory = pool::take(layout.nbytes()).or_raise(py)?;
    let data = memory.as_mut_ptr();
    let block = Bound::new(py, Block { memory: Mutex::new(memory) })?;
    // SAFETY: the block, which becomes the array's base, owns `nbytes` writable bytes at `data`
    // that nothing else uses.
    unsafe { array::over(py, (dtype, ByteOrder::Native), &layout, data, true, block.into_any()) }
}

/// NumPy's `PyDataMem_Handler`, version 1 (NEP 49).
#[repr(C)]
struct Handler {
    /// `char` in C, which is signed on some processors only.
    name: [u8; 127],
    version: u8,
    ctx: *mut c_void,
    malloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
}

// SAFETY: the handler is never written, and its context is null.
unsafe impl Sync for Handler {}

static HANDLER: Handler = Handler {
    name: name(b"tensorferry"),
    version: 1,
    ctx: ptr::null_mut(),
    malloc: handler_malloc,
    calloc: handler_calloc,
    realloc: handler_realloc,
    free: handler_free,
};

const fn name(text: &[u8]) -> [u8; 127] {
    let mut name = [0; 127];
    let mut i = 0;
    while i < text.len() {
        name[i] = text[i];
        i += 1;
    }
    name
}

extern "C" fn handler_malloc(_: *mut c_void, size: usize) -> *mut c_void {
    pool::allocate(size, false).cast()
}

extern "C" fn handler_calloc(_: *mut c_void, count: usize, size: usize) -> *mut c_void {
    count.checked_mul(size).map_or(ptr::null_mut(), |size| pool::allocate(size, true).cast())
}

unsafe extern "C" fn handler_realloc(_: *mut c_void, old: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: NumPy passes null or what this handler allocated.
    unsafe { pool::reallocate(old.cast(), size).cast() }
}

unsafe extern "C" fn handler_free(_: *mut c_void, old: *mut c_void, _: usize) {
    // SAFETY: NumPy passes null or what this handler allocated.
    unsafe { pool::deallocate(old.cast()) }
}

/// `PyDataMem_SetHandler` of NumPy's C API: slot 304 of `_ARRAY_API` since NumPy 1.22.
type SetHandler = unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject;

fn set_handler(py: Python<'_>) -> PyResult<SetHandler> {
    const SLOT: usize = 304;
    let table = py.import("numpy._core._multiarray_umath")?.getattr("_ARRAY_API")?;
    // SAFETY: NumPy's capsule holds the table of its C API under no name.
    let table =
        unsafe { ffi::PyCapsule_GetPointer(table.as_ptr(), ptr::null()) }.cast::<*mut c_void>();
    if table.is_null() {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: the table of NumPy 2 has more than 304 entries.
    let slot = unsafe { table.add(SLOT) };
    // SAFETY: as above.
    let function = unsafe { slot.read() };
    if function.is_null() {
        return Err(PyRuntimeError::new_err("this NumPy has no memory handlers (NEP 49)"));
    }
    // SAFETY: the slot holds PyDataMem_SetHandler, which has this signature.
    Ok(unsafe { std::mem::transmute::<*mut c_void, SetHandler>(function) })
}

/// Makes NumPy allocate with `handler` in this context, `None` meaning tensorferry's; returns the
/// handler before.
#[pyfunction]
pub(crate) fn set_memory_handler<'py>(
    py: Python<'py>,
    handler: Option<&Bound<'py, PyCapsule>>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    static OURS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let ours = OURS.get_or_try_init(py, || {
        // SAFETY: the handler is static, as is its name, the one that NumPy looks for.
        let capsule = unsafe {
            ffi::PyCapsule_New(
                (&raw const HANDLER).cast_mut().cast(),
                c"mem_handler".as_ptr(),
                None,
            )
        };
        // SAFETY: a new reference, or null with an exception set.
        PyResult::Ok(unsafe { Bound::from_owned_ptr_or_err(py, capsule) }?.unbind())
    })?;
    let handler = handler.map_or(ours.bind(py).as_ptr(), |handler| handler.as_ptr());
    let set = set_handler(py)?;
    // SAFETY: NumPy checks that the capsule is a memory handler.
    let before = unsafe { set(handler) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, before) }
}
