//! Our tensors, described for others.

use super::abi::{
    DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
};
use crate::{ALIGNMENT, ByteOrder, Error, Result, Tensor};
use alloc::boxed::Box;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, without_provenance_mut};
use smallvec::SmallVec;

/// The one heap block behind an exported tensor. The managed structure comes first, and its
/// `manager_ctx` points to the whole.
#[repr(C)]
struct Exported<M> {
    managed: MaybeUninit<M>,
    /// The shape, then the strides; in place up to six dimensions.
    dims: SmallVec<[i64; 12]>,
    /// Keeps the memory alive.
    tensor: Tensor,
}

/// The tensor as a legacy `DLManagedTensor`, whose deleter gives it up.
///
/// The data is at byte offset 0, and strides are always given. Nothing in the legacy structure
/// forbids a consumer to write: hand it only to those that do not.
///
/// ```
/// use tensorferry_core::{Tensor, dlpack};
///
/// let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
/// let managed = dlpack::export(tensor)?;
/// // SAFETY: `managed` comes from `export`, and goes nowhere else.
/// let back = unsafe { dlpack::import(managed) }?;
/// assert_eq!(back.tensor.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::DLPack`] for what DLPack cannot express: swapped bytes, strides that are not whole
/// elements.
pub fn export(tensor: Tensor) -> Result<NonNull<DLManagedTensor>> {
    pack(tensor, |dl_tensor, manager_ctx| DLManagedTensor {
        dl_tensor,
        manager_ctx,
        deleter: Some(delete_legacy),
    })
}

/// The tensor as a `DLManagedTensorVersioned` of DLPack 1.0, whose deleter gives it up. `flags` is
/// passed on; tensors are immutable, so [`super::FLAG_READ_ONLY`] belongs in it unless the memory
/// was made for this one consumer.
///
/// # Errors
/// As [`export`].
pub fn export_versioned(tensor: Tensor, flags: u64) -> Result<NonNull<DLManagedTensorVersioned>> {
    let version = DLPackVersion { major: 1, minor: 0 };
    pack(tensor, |dl_tensor, manager_ctx| DLManagedTensorVersioned {
        version,
        manager_ctx,
        deleter: Some(delete_ours_versioned),
        flags,
        dl_tensor,
    })
}

/// Calls a managed tensor's deleter, if it has one.
///
/// # Safety
/// `managed` points to a valid structure that nobody has freed and nobody uses any more.
pub unsafe fn delete(managed: NonNull<DLManagedTensor>) {
    // SAFETY: the caller's promise.
    let deleter = unsafe { (*managed.as_ptr()).deleter };
    if let Some(deleter) = deleter {
        // SAFETY: the caller's promise; the deleter wants its own structure.
        unsafe { deleter(managed.as_ptr()) };
    }
}

/// Calls a versioned managed tensor's deleter, if it has one.
///
/// # Safety
/// As for [`delete`]. (The version may be any: the deleter stands at the same place in all.)
pub unsafe fn delete_versioned(managed: NonNull<DLManagedTensorVersioned>) {
    // SAFETY: the caller's promise.
    let deleter = unsafe { (*managed.as_ptr()).deleter };
    if let Some(deleter) = deleter {
        // SAFETY: the caller's promise; the deleter wants its own structure.
        unsafe { deleter(managed.as_ptr()) };
    }
}

unsafe extern "C" fn delete_legacy(managed: *mut DLManagedTensor) {
    // SAFETY: a deleter is called with its own structure, still valid.
    let context = unsafe { (*managed).manager_ctx };
    // SAFETY: `export` made the structure with its block as context, and a deleter is called once.
    drop(unsafe { Box::from_raw(context.cast::<Exported<DLManagedTensor>>()) });
}

unsafe extern "C" fn delete_ours_versioned(managed: *mut DLManagedTensorVersioned) {
    // SAFETY: a deleter is called with its own structure, still valid.
    let context = unsafe { (*managed).manager_ctx };
    // SAFETY: `export_versioned` made the structure with its block as context, and a deleter is
    // called once.
    drop(unsafe { Box::from_raw(context.cast::<Exported<DLManagedTensorVersioned>>()) });
}

fn pack<M>(tensor: Tensor, wrap: impl FnOnce(DLTensor, *mut c_void) -> M) -> Result<NonNull<M>> {
    let dims = dims(&tensor)?;
    let (ndim, (code, bits)) = (tensor.layout().ndim(), tensor.dtype().dlpack());
    // Nothing is read of an empty tensor, but consumers look at the pointer.
    let data = if tensor.layout().is_empty() {
        without_provenance_mut(ALIGNMENT)
    } else {
        tensor.as_ptr().cast_mut()
    };
    let block =
        Box::into_raw(Box::new(Exported { managed: MaybeUninit::<M>::uninit(), dims, tensor }));
    // SAFETY: `block` is ours alone. The dims stay where they are: the block is not moved, and
    // nothing touches them until it is freed.
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
    // SAFETY: the place of `managed` in a block that is ours alone.
    unsafe { managed.write(wrap(dl_tensor, block.cast())) };
    // SAFETY: a Box is never null.
    Ok(unsafe { NonNull::new_unchecked(managed) })
}

/// The shape, then the strides in elements.
fn dims(tensor: &Tensor) -> Result<SmallVec<[i64; 12]>> {
    if tensor.byte_order() == ByteOrder::Swapped {
        return Err(Error::DLPack {
            what: "elements in the other byte order cannot be described; convert first. Bytes per \
                element",
            value: i128::try_from(tensor.dtype().size()).unwrap_or(0),
        });
    }
    let layout = tensor.layout();
    let itemsize = layout.itemsize().cast_signed();
    let mut dims = SmallVec::with_capacity(2 * layout.ndim());
    // a layout's lengths fit in an isize
    dims.extend(layout.shape().iter().map(|&dim| dim.cast_signed() as i64));
    for (&dim, &stride) in layout.shape().iter().zip(layout.strides()) {
        let unused = dim <= 1 || layout.is_empty();
        if stride % itemsize != 0 && !unused {
            return Err(Error::DLPack {
                what: "a stride is not a whole number of elements; convert first. Bytes",
                value: stride as i128,
            });
        }
        dims.push((stride / itemsize) as i64);
    }
    Ok(dims)
}
