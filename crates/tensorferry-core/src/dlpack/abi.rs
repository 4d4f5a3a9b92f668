//! The structures of `dlpack.h`, version 1.0.

use core::ffi::c_void;

/// The memory must not be written (`DLPACK_FLAG_BITMASK_READ_ONLY`).
pub const FLAG_READ_ONLY: u64 = 1;
/// The producer made a copy for this consumer (`DLPACK_FLAG_BITMASK_IS_COPIED`).
pub const FLAG_IS_COPIED: u64 = 2;

/// The version of the structure that starts with it. Another major version is another structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLPackVersion {
    /// Changes when the structure changes.
    pub major: u32,
    /// Changes when values are added.
    pub minor: u32,
}

/// The device of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLDevice {
    /// `DLDeviceType`; 1 is the CPU.
    pub device_type: i32,
    /// The index of the device among those of its type.
    pub device_id: i32,
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLDataType {
    /// `DLDataTypeCode`: 0 signed, 1 unsigned, 2 float, 4 bfloat, 5 complex, 6 bool.
    pub code: u8,
    /// Bits per lane.
    pub bits: u8,
    /// Values per element: 1 except for vector types.
    pub lanes: u16,
}

/// A strided array in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DLTensor {
    /// The memory. Element `[0, 0, ...]` is `byte_offset` bytes after it.
    pub data: *mut c_void,
    /// The device of the memory.
    pub device: DLDevice,
    /// The number of dimensions.
    pub ndim: i32,
    /// The type of an element.
    pub dtype: DLDataType,
    /// `ndim` lengths.
    pub shape: *mut i64,
    /// `ndim` strides in elements, or null for row-major order.
    pub strides: *mut i64,
    /// The bytes from `data` to element `[0, 0, ...]`.
    pub byte_offset: u64,
}

/// A tensor and its deleter: the legacy structure.
#[derive(Debug)]
#[repr(C)]
pub struct DLManagedTensor {
    /// The tensor.
    pub dl_tensor: DLTensor,
    /// The producer's context.
    pub manager_ctx: *mut c_void,
    /// Frees the memory and this structure. Called once, on any thread. May be null.
    pub deleter: Option<unsafe extern "C" fn(*mut Self)>,
}

/// A tensor, its deleter, its version and its flags: the structure of DLPack 1.0.
#[derive(Debug)]
#[repr(C)]
pub struct DLManagedTensorVersioned {
    /// The fields after `deleter` have this meaning only if `major` is 1.
    pub version: DLPackVersion,
    /// The producer's context.
    pub manager_ctx: *mut c_void,
    /// Frees the memory and this structure. Called once, on any thread. May be null.
    pub deleter: Option<unsafe extern "C" fn(*mut Self)>,
    /// [`FLAG_READ_ONLY`], [`FLAG_IS_COPIED`].
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DLTensor,
}

/// What the two managed structures have in common.
pub(super) trait Managed: Sized {
    /// The deleter of a structure.
    ///
    /// # Safety
    /// `managed` points to a valid structure, of any version.
    unsafe fn deleter(managed: *mut Self) -> Option<unsafe extern "C" fn(*mut Self)>;

    /// The producer's context.
    ///
    /// # Safety
    /// As [`Managed::deleter`].
    unsafe fn context(managed: *mut Self) -> *mut c_void;
}

macro_rules! managed {
    ($($managed:ty),*) => {$(impl Managed for $managed {
        unsafe fn deleter(managed: *mut Self) -> Option<unsafe extern "C" fn(*mut Self)> {
            // SAFETY: the caller's promise. Every version has the field at this offset.
            unsafe { (*managed).deleter }
        }

        unsafe fn context(managed: *mut Self) -> *mut c_void {
            // SAFETY: as in `deleter`.
            unsafe { (*managed).manager_ctx }
        }
    })*};
}
managed!(DLManagedTensor, DLManagedTensorVersioned);

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use core::mem::offset_of;

    /// The figures of a C compiler's `sizeof` and `offsetof` on dlpack.h.
    #[test]
    fn structures_have_the_sizes_and_offsets_of_dlpack_h() {
        assert_eq!(
            (size_of::<DLPackVersion>(), size_of::<DLDevice>(), size_of::<DLDataType>()),
            (8, 8, 4)
        );
        assert_eq!(
            (
                size_of::<DLTensor>(),
                size_of::<DLManagedTensor>(),
                size_of::<DLManagedTensorVersioned>()
            ),
            (48, 64, 80)
        );
        assert_eq!(
            (
                offset_of!(DLDataType, code),
                offset_of!(DLDataType, bits),
                offset_of!(DLDataType, lanes)
            ),
            (0, 1, 2)
        );
        assert_eq!(
            (offset_of!(DLTensor, data), offset_of!(DLTensor, device), offset_of!(DLTensor, ndim)),
            (0, 8, 16)
        );
        assert_eq!(
            (
                offset_of!(DLTensor, dtype),
                offset_of!(DLTensor, shape),
                offset_of!(DLTensor, strides)
            ),
            (20, 24, 32)
        );
        assert_eq!(
            (offset_of!(DLTensor, byte_offset), offset_of!(DLManagedTensor, dl_tensor)),
            (40, 0)
        );
        assert_eq!(
            (offset_of!(DLManagedTensor, manager_ctx), offset_of!(DLManagedTensor, deleter)),
            (48, 56)
        );
        assert_eq!(
            (
                offset_of!(DLManagedTensorVersioned, version),
                offset_of!(DLManagedTensorVersioned, manager_ctx)
            ),
            (0, 8)
        );
        assert_eq!(
            (
                offset_of!(DLManagedTensorVersioned, deleter),
                offset_of!(DLManagedTensorVersioned, flags)
            ),
            (16, 24)
        );
        assert_eq!(offset_of!(DLManagedTensorVersioned, dl_tensor), 32);
    }
}
