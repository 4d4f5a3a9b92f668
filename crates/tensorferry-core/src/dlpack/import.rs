//! Imports tensors of other libraries, after checking their descriptions.

use super::abi::{
    DLManagedTensor, DLManagedTensorVersioned, DLTensor, FLAG_IS_COPIED, FLAG_READ_ONLY, Managed,
};
use super::export::call_deleter;
use crate::{
    ALIGNMENT, Buffer, ByteOrder, DType, Dims, Error, Layout, MAX_NDIM, Result, Strides, Tensor,
};
use alloc::format;
use alloc::sync::Arc;
use core::any::Any;
use core::ptr::{NonNull, without_provenance_mut};

/// A tensor over the producer's memory, and the producer's flags.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The tensor. The producer's deleter runs when the last clone of its buffer is dropped, on the
    /// thread that drops it.
    pub tensor: Tensor,
    /// Whether the producer forbids writing. False for a legacy structure, which has no flags.
    pub read_only: bool,
    /// Whether the producer made a copy for this import, which has no other user. False for a
    /// legacy structure, which has no flags.
    pub copied: bool,
}

/// The device types of memory that the CPU reads directly: ordinary memory, and host memory pinned
/// for CUDA and ROCm (`kDLCPU`, `kDLCUDAHost`, `kDLROCMHost`). Managed memory (`kDLCUDAManaged`) is
/// not among them, because a GPU kernel may be writing it.
const READABLE: [i32; 3] = [super::CPU, 3, 11];

/// Takes ownership of a legacy `DLManagedTensor`.
///
/// Its deleter runs when the last clone of the tensor's buffer is dropped, or, if there is an
/// error, before this function returns.
///
/// # Errors
/// [`Error::DLPack`] if the description is wrong or the CPU cannot read the memory, with the
/// offending number; [`Error::UnsupportedDType`]; those of [`Layout::strided`].
///
/// # Safety
/// `managed` points to a valid structure that only this function frees. If its numbers pass the
/// checks, `shape` and `strides` have `ndim` entries, the elements they describe are readable,
/// initialised and not written while the tensor lives, and the deleter may be called on any thread.
pub unsafe fn import(managed: NonNull<DLManagedTensor>) -> Result<Imported> {
    let owner = Owner(managed);
    // SAFETY: the caller's promise: a valid structure.
    let tensor = unsafe { (*managed.as_ptr()).dl_tensor };
    // SAFETY: the caller's promise, passed on.
    let tensor = unsafe { read(tensor, owner) }?;
    Ok(Imported { tensor, read_only: false, copied: false })
}

/// Takes ownership of a `DLManagedTensorVersioned`.
///
/// # Errors
/// As [`import`]; [`Error::DLPack`] also for a major version other than 1.
///
/// # Safety
/// As for [`import`].
pub unsafe fn import_versioned(managed: NonNull<DLManagedTensorVersioned>) -> Result<Imported> {
    let owner = Owner(managed);
    // SAFETY: the caller's promise: a valid structure. Every version starts with this field.
    let version = unsafe { (*managed.as_ptr()).version };
    if version.major != 1 {
        return Err(refused("the major version is not 1", version.major));
    }
    // SAFETY: the caller's promise, and major version 1 has this field.
    let flags = unsafe { (*managed.as_ptr()).flags };
    // SAFETY: as above.
    let tensor = unsafe { (*managed.as_ptr()).dl_tensor };
    // SAFETY: the caller's promise, passed on.
    let tensor = unsafe { read(tensor, owner) }?;
    Ok(Imported {
        tensor,
        read_only: flags & FLAG_READ_ONLY != 0,
        copied: flags & FLAG_IS_COPIED != 0,
    })
}

/// Calls the deleter when dropped.
struct Owner<M: Managed>(NonNull<M>);

// SAFETY: an Owner is only dropped, and `import` requires that the deleter may be called on any
// thread.
unsafe impl<M: Managed> Send for Owner<M> {}
// SAFETY: a shared Owner does nothing.
unsafe impl<M: Managed> Sync for Owner<M> {}

impl<M: Managed> Drop for Owner<M> {
    fn drop(&mut self) {
        // SAFETY: `import` took ownership of a valid structure, and its memory is no longer used.
        unsafe { call_deleter(self.0) };
    }
}

fn refused(what: &'static str, value: impl Into<i128>) -> Error {
    Error::DLPack { what, value: value.into() }
}

/// # Safety
/// As for [`import`], of a structure with the description `tensor` and the owner `owner`.
unsafe fn read<M: Managed + 'static>(tensor: DLTensor, owner: Owner<M>) -> Result<Tensor> {
    if !READABLE.contains(&tensor.device.device_type) {
        return Err(refused(
            "copy the tensor to the CPU first: the CPU cannot read memory of device type",
            tensor.device.device_type,
        ));
    }
    let dtype = dtype(&tensor)?;
    let ndim = usize::try_from(tensor.ndim)
        .map_err(|_| refused("the number of dimensions is negative", tensor.ndim))?;
    if ndim > MAX_NDIM {
        return Err(Error::TooManyDimensions { ndim });
    }
    // SAFETY: the caller's promise: `ndim` entries.
    let shape = unsafe { entries(tensor.shape, ndim) }
        .ok_or_else(|| refused("the shape is null, but there are dimensions", tensor.ndim))?;
    let shape: Dims = shape
        .iter()
        .map(|&dim| {
            usize::try_from(dim).map_err(|_| refused("a dimension has a negative length", dim))
        })
        .collect::<Result<_>>()?;
    // SAFETY: the caller's promise: `ndim` entries.
    let layout = match unsafe { entries(tensor.strides, ndim) } {
        None => Layout::contiguous(&shape, dtype.size())?,
        Some(strides) => {
            Layout::strided(&shape, &in_bytes(strides, &shape, dtype.size())?, dtype.size())?
        }
    };
    let (start, len, offset) = place(&tensor, &layout)?;
    let owner: Arc<dyn Any + Send + Sync> = Arc::new(owner);
    // SAFETY: the bytes of the layout's span, which the caller promises are readable, initialised
    // and not written until `owner` runs the deleter.
    let buffer = unsafe { Buffer::from_raw_parts(start, len, owner) };
    Tensor::new(dtype, ByteOrder::Native, layout, buffer, offset)
}

fn dtype(tensor: &DLTensor) -> Result<DType> {
    let wanted = tensor.dtype;
    let known = DType::from_dlpack(wanted.code, wanted.bits).filter(|_| wanted.lanes == 1);
    known.ok_or_else(|| Error::UnsupportedDType {
        place: "DLPack tensor",
        descr: format!("(code {}, {} bits, {} lanes)", wanted.code, wanted.bits, wanted.lanes),
    })
}

/// The entries, or `None` if there are some but the pointer is null.
///
/// # Safety
/// If not null, `ptr` has `ndim` readable entries that do not change during `'a`.
unsafe fn entries<'a>(ptr: *const i64, ndim: usize) -> Option<&'a [i64]> {
    if ndim == 0 {
        return Some(&[]);
    }
    // SAFETY: not null, and as the caller promises.
    (!ptr.is_null()).then(|| unsafe { core::slice::from_raw_parts(ptr, ndim) })
}

fn in_bytes(strides: &[i64], shape: &[usize], itemsize: usize) -> Result<Strides> {
    let empty = shape.contains(&0);
    let bytes = |(&stride, &dim): (&i64, &usize)| match stride
        .checked_mul(itemsize.cast_signed() as i64)
        .and_then(|bytes| isize::try_from(bytes).ok())
    {
        Some(bytes) => Ok(bytes),
        None if empty || dim == 1 => Ok(0), // no element uses the stride
        None => Err(refused("a stride exceeds the address space", stride)),
    };
    strides.iter().zip(shape).map(bytes).collect()
}

/// The first byte that the elements occupy, the number of bytes they span, and the offset of
/// element `[0, 0, ...]` in them.
fn place(tensor: &DLTensor, layout: &Layout) -> Result<(NonNull<u8>, usize, usize)> {
    if layout.is_empty() {
        let nowhere = NonNull::new(without_provenance_mut(ALIGNMENT));
        return nowhere.map(|start| (start, 0, 0)).ok_or_else(|| refused("the address is null", 0));
    }
    if tensor.data.is_null() {
        return Err(refused("the data is null, but there are elements", layout.len() as i128));
    }
    let span = layout.span();
    let origin = tensor.data.addr() as i128 + i128::from(tensor.byte_offset);
    let (low, high) = (origin + span.start as i128, origin + span.end as i128);
    let past =
        || refused("the elements exceed the address space at byte offset", tensor.byte_offset);
    if low <= 0 || high > usize::MAX as i128 {
        return Err(past());
    }
    let offset = usize::try_from(tensor.byte_offset).map_err(|_| past())?;
    let start = tensor.data.cast::<u8>().wrapping_add(offset).wrapping_offset(span.start);
    let start = NonNull::new(start).ok_or_else(past)?;
    Ok((start, (span.end - span.start).unsigned_abs(), span.start.unsigned_abs()))
}
