//! Describes tensors for other libraries.

use super::abi::{
    DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
    Managed,
};
use crate::{ALIGNMENT, ByteOrder, Error, Result, Tensor};
use alloc::boxed::Box;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, without_provenance_mut};
use smallvec::SmallVec;

/// The heap block of an exported tensor. The managed structure comes first, and its `manager_ctx`
/// points to the block.
#[repr(C)]
struct Exported<M> {
    managed: MaybeUninit<M>,
    /// The shape, then the strides. Inline up to six dimensions.
    dims: SmallVec<[i64; 12]>,
    /// Keeps the memory alive.
    tensor: Tensor,
}

/// The tensor as a legacy `DLManagedTensor`, whose deleter drops it.
///
/// The byte offset is 0 and the strides are never null. The legacy structure cannot forbid writing,
/// so pass it only to consumers that do not write.
///
/// ```
/// use tensorferry_core::{Tensor, dlpack};
///
/// let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
/// let managed = dlpack::export(tensor)?;
/// // SAFETY: `managed` comes from `export` and is used only here.
/// let back = unsafe { dlpack::import(managed) }?;
/// assert_eq!(back.tensor.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::DLPack`] for what DLPack cannot describe: swapped bytes, and strides that are not whole
/// elements.
pub fn export(tensor: Tensor) -> Result<NonNull<DLManagedTensor>> {
    pack(tensor, |dl_tensor, manager_ctx| DLManagedTensor {
        dl_tensor,
        manager_ctx,
        deleter: Some(delete_exported),
    })
}

/// The tensor as a `DLManagedTensorVersioned` of DLPack 1.0 with these flags, whose deleter drops
/// it.
///
/// Tensors are immutable, so `flags` has to contain [`super::FLAG_READ_ONLY`] unless the consumer
/// is the only user of the memory.
///
/// # Errors
/// As [`export`].
pub fn export_versioned(tensor: Tensor, flags: u64) -> Result<NonNull<DLManagedTensorVersioned>> {
    let version = DLPackVersion { major: 1, minor: 0 };
    pack(tensor, |dl_tensor, manager_ctx| DLManagedTensorVersioned {
        version,
        manager_ctx,
        deleter: Some(delete_exported),
        flags,
        dl_tensor,
    })
}

/// Calls a managed tensor's deleter, if it has one.
///
/// # Safety
/// `managed` points to a valid structure that has not been freed and is not used any more.
pub unsafe fn delete(managed: NonNull<DLManagedTensor>) {
    // SAFETY: the caller's promise.
    unsafe { call_deleter(managed) };
}

/// Calls a versioned managed tensor's deleter, if it has one.
///
/// # Safety
/// As for [`delete`]. The version may be any, because every version has the deleter at one offset.
pub unsafe fn delete_versioned(managed: NonNull<DLManagedTensorVersioned>) {
    // SAFETY: the caller's promise.
    unsafe { call_deleter(managed) };
}

/// # Safety
/// As for [`delete`].
pub(super) unsafe fn call_deleter<M: Managed>(managed: NonNull<M>) {
    // SAFETY: the caller's promise.
    let deleter = unsafe { M::deleter(managed.as_ptr()) };
    if let Some(deleter) = deleter {
        // SAFETY: the caller's promise; a deleter takes its own structure.
        unsafe { deleter(managed.as_ptr()) };
    }
}

/// The deleter of exported tensors.
unsafe extern "C" fn delete_exported<M: Managed>(managed: *mut M) {
    // SAFETY: a deleter is called with its own structure, still valid.
    let context = unsafe { M::context(managed) };
    // SAFETY: `pack` made the structure with its block as context, and a deleter is called once.
    drop(unsafe { Box::from_raw(context.cast::<Exported<M>>()) });
}

/// The structure that `wrap` makes of a description and a context, in a block with the tensor.
fn pack<M>(tensor: Tensor, wrap: impl FnOnce(DLTensor, *mut c_void) -> M) -> Result<NonNull<M>> {
    let dims = dims(&tensor)?;
    let (ndim, (code, bits)) = (tensor.layout().ndim(), tensor.dtype().dlpack());
    // An empty tensor is not read, but consumers check the pointer.
    let data = if tensor.layout().is_empty() {
        without_provenance_mut(ALIGNMENT)
    } else {
        tensor.as_ptr().cast_mut()
    };
    let block =
        Box::into_raw(Box::new(Exported { managed: MaybeUninit::<M>::uninit(), dims, tensor }));
    // SAFETY: only this function has `block`. The dims keep their address, because neither the
    // block nor its dims are moved or changed until it is freed.
    let shape = unsafe { (*block).dims.as_mut_ptr() };
    let dl_tensor = DLTensor {
        data: data.cast(),
        device: DLDevice { device_type: super::CPU, device_id: 0 },
        ndim: i32::try_from(ndim).map_err(|_| Error::TooManyDimensions { ndim })?,
        dtype: DLDataType { code, bits, lanes: 1 },
        shape,
        strides: shape.wrapping_add(ndim),
        byte_offset: 0,
    };
    let managed = block.cast::<M>(); // the first field of a repr(C) structure
    // SAFETY: the place of `managed` in a block that only this function has.
    unsafe { managed.write(wrap(dl_tensor, block.cast())) };
    // SAFETY: a Box is never null.
    Ok(unsafe { NonNull::new_unchecked(managed) })
}

/// The shape, then the strides in elements.
fn dims(tensor: &Tensor) -> Result<SmallVec<[i64; 12]>> {
    if tensor.byte_order() == ByteOrder::Swapped {
        return Err(Error::DLPack {
            what: "convert the tensor first: DLPack cannot describe swapped elements of size",
            value: i128::try_from(tensor.dtype().size()).unwrap_or(0),
        });
    }
    let layout = tensor.layout();
    let itemsize = layout.itemsize().cast_signed();
    let mut dims = SmallVec::with_capacity(2 * layout.ndim());
    // The lengths of a layout fit in an `isize`.
    dims.extend(layout.shape().iter().map(|&dim| dim.cast_signed() as i64));
    for (&dim, &stride) in layout.shape().iter().zip(layout.strides()) {
        let unused = dim <= 1 || layout.is_empty();
        if stride % itemsize != 0 && !unused {
            return Err(Error::DLPack {
                what: "convert the tensor first: DLPack strides are in elements, this one in bytes",
                value: stride as i128,
            });
        }
        dims.push((stride / itemsize) as i64);
    }
    Ok(dims)
}
