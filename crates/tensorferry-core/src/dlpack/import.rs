//! Others' tensors, checked before they are believed.

use super::abi::{
    DLManagedTensor, DLManagedTensorVersioned, DLTensor, FLAG_IS_COPIED, FLAG_READ_ONLY,
};
use super::export::{delete, delete_versioned};
use crate::{
    ALIGNMENT, Buffer, ByteOrder, DType, Dims, Error, Layout, MAX_NDIM, Result, Strides, Tensor,
};
use alloc::format;
use alloc::sync::Arc;
use core::any::Any;
use core::ptr::{NonNull, without_provenance_mut};

/// A tensor over the producer's memory, and what the producer said of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The tensor. The producer's deleter runs when the last clone of its buffer drops, on whatever
    /// thread that is.
    pub tensor: Tensor,
    /// The producer forbids writing. Always false for a legacy structure, which cannot say so.
    pub read_only: bool,
    /// The producer made a copy for us, so that nobody else writes it. Always false for a legacy
    /// structure.
    pub copied: bool,
}

/// Memory that the CPU reads like its own: ordinary, and host memory pinned for CUDA and ROCm
/// (`kDLCPU`, `kDLCUDAHost`, `kDLROCMHost`). Managed memory (`kDLCUDAManaged`) is left out: a
/// kernel may be writing it.
const READABLE: [i32; 3] = [super::CPU, 3, 11];

/// Takes over a legacy `DLManagedTensor`.
///
/// The structure is ours from the call on: its deleter runs when the last clone of the tensor's
/// buffer drops, or before this returns if there is an error.
///
/// # Errors
/// [`Error::DLPack`] for a description that is wrong or of memory out of reach, with the offending
/// number; [`Error::UnsupportedDType`]; those of [`Layout::strided`].
///
/// # Safety
/// `managed` points to a valid structure that nobody else will free. If its numbers pass the
/// checks, then `shape` and `strides` really have `ndim` entries, the elements they describe are
/// readable, initialised and not written while the tensor lives, and the deleter may be called on
/// any thread.
pub unsafe fn import(managed: NonNull<DLManagedTensor>) -> Result<Imported> {
    let owner = Owner::Legacy(managed);
    // SAFETY: the caller's promise: a valid structure.
    let tensor = unsafe { (*managed.as_ptr()).dl_tensor };
    // SAFETY: the caller's promise, passed on.
    let tensor = unsafe { read(tensor, owner) }?;
    Ok(Imported { tensor, read_only: false, copied: false })
}

/// Takes over a `DLManagedTensorVersioned`.
///
/// # Errors
/// As [`import`]; [`Error::DLPack`] also for a major version other than 1.
///
/// # Safety
/// As for [`import`].
pub unsafe fn import_versioned(managed: NonNull<DLManagedTensorVersioned>) -> Result<Imported> {
    let owner = Owner::Versioned(managed);
    // SAFETY: the caller's promise: a valid structure. Every version begins with its version.
    let version = unsafe { (*managed.as_ptr()).version };
    if version.major != 1 {
        return Err(refused("the structure is of another major version than 1", version.major));
    }
    // SAFETY: the caller's promise, and the version is the one that has this field.
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
enum Owner {
    Legacy(NonNull<DLManagedTensor>),
    Versioned(NonNull<DLManagedTensorVersioned>),
}

// SAFETY: an Owner is only dropped, and DLPack's deleters may be called on any thread, as `import`
// makes its caller promise.
unsafe impl Send for Owner {}
// SAFETY: a shared Owner does nothing.
unsafe impl Sync for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        match *self {
            // SAFETY: `import` took over a valid structure, whose deleter nobody else calls; its
            // memory is no longer used.
            Self::Legacy(managed) => unsafe { delete(managed) },
            // SAFETY: as above.
            Self::Versioned(managed) => unsafe { delete_versioned(managed) },
        }
    }
}

fn refused(what: &'static str, value: impl Into<i128>) -> Error {
    Error::DLPack { what, value: value.into() }
}

/// # Safety
/// As for [`import`], of a structure of which `tensor` is the description and `owner` the owner.
unsafe fn read(tensor: DLTensor, owner: Owner) -> Result<Tensor> {
    if !READABLE.contains(&tensor.device.device_type) {
        return Err(refused(
            "the memory is on a device the CPU cannot read; copy it to the CPU first. Device type",
            tensor.device.device_type,
        ));
    }
    let dtype = dtype(&tensor)?;
    let ndim = usize::try_from(tensor.ndim)
        .map_err(|_| refused("a negative number of dimensions", tensor.ndim))?;
    if ndim > MAX_NDIM {
        return Err(Error::TooManyDimensions { ndim });
    }
    // SAFETY: the caller's promise: `ndim` entries.
    let shape = unsafe { entries(tensor.shape, ndim) }
        .ok_or_else(|| refused("the shape is null though there are dimensions", tensor.ndim))?;
    let shape: Dims = shape
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| refused("a negative length", dim)))
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
    // SAFETY: these are the bytes that the layout spans, which the caller promises are readable,
    // initialised and not written until the deleter, now in `owner`, runs.
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

/// `None` if the pointer is null though entries are expected.
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
        None if empty || dim == 1 => Ok(0), // a stride that is never taken
        None => Err(refused("a stride reaches past any memory", stride)),
    };
    strides.iter().zip(shape).map(bytes).collect()
}

/// The first byte that the elements reach, how many bytes they reach, and where in these element
/// `[0, 0, ...]` is.
fn place(tensor: &DLTensor, layout: &Layout) -> Result<(NonNull<u8>, usize, usize)> {
    if layout.is_empty() {
        let nowhere = NonNull::new(without_provenance_mut(ALIGNMENT));
        return nowhere.map(|start| (start, 0, 0)).ok_or_else(|| refused("no address", 0));
    }
    if tensor.data.is_null() {
        return Err(refused(
            "the data is null though there are elements. Elements",
            layout.len() as i128,
        ));
    }
    let span = layout.span();
    let origin = tensor.data.addr() as i128 + i128::from(tensor.byte_offset);
    let (low, high) = (origin + span.start as i128, origin + span.end as i128);
    let past = || refused("the elements reach past any memory. Byte offset", tensor.byte_offset);
    if low <= 0 || high > usize::MAX as i128 {
        return Err(past());
    }
    let offset = usize::try_from(tensor.byte_offset).map_err(|_| past())?;
    let start = tensor.data.cast::<u8>().wrapping_add(offset).wrapping_offset(span.start);
    let start = NonNull::new(start).ok_or_else(past)?;
    Ok((start, (span.end - span.start).unsigned_abs(), span.start.unsigned_abs()))
}
