//! The structures of `dlpack.h`, version 1.0, field by field.

use core::ffi::c_void;

/// Writing to the memory is not allowed (`DLPACK_FLAG_BITMASK_READ_ONLY`).
pub const FLAG_READ_ONLY: u64 = 1;
/// The producer made a copy for this consumer (`DLPACK_FLAG_BITMASK_IS_COPIED`).
pub const FLAG_IS_COPIED: u64 = 2;

/// The version of the structure that follows it. Another major version means another structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLPackVersion {
    /// Changes when the structure does.
    pub major: u32,
    /// Changes when values are added.
    pub minor: u32,
}

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLDevice {
    /// `DLDeviceType`; 1 is the CPU.
    pub device_type: i32,
    /// Which device of that type.
    pub device_id: i32,
}

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DLDataType {
    /// `DLDataTypeCode`: 0 signed, 1 unsigned, 2 float, 4 bfloat, 5 complex, 6 bool.
    pub code: u8,
    /// Bits per lane.
    pub bits: u8,
    /// Values per element: 1 unless it is a vector type.
    pub lanes: u16,
}

/// A strided array in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DLTensor {
    /// Element `[0, 0, ...]` is `byte_offset` bytes from here.
    pub data: *mut c_void,
    /// Where the memory is.
    pub device: DLDevice,
    /// Number of dimensions.
    pub ndim: i32,
    /// What an element is.
    pub dtype: DLDataType,
    /// `ndim` lengths.
    pub shape: *mut i64,
    /// `ndim` strides, in elements; null means packed in row-major order.
    pub strides: *mut i64,
    /// Bytes from `data` to element `[0, 0, ...]`.
    pub byte_offset: u64,
}

/// A tensor and the function that frees it.
#[derive(Debug)]
#[repr(C)]
pub struct DLManagedTensor {
    /// The tensor.
    pub dl_tensor: DLTensor,
    /// The producer's own.
    pub manager_ctx: *mut c_void,
    /// Frees everything, this structure included. Called once, on any thread. Null: nothing to
    /// free.
    pub deleter: Option<unsafe extern "C" fn(*mut Self)>,
}

/// A tensor, the function that frees it, and what the legacy structure could not say.
#[derive(Debug)]
#[repr(C)]
pub struct DLManagedTensorVersioned {
    /// What follows is known only if `major` is 1.
    pub version: DLPackVersion,
    /// The producer's own.
    pub manager_ctx: *mut c_void,
    /// Frees everything, this structure included. Called once, on any thread. Null: nothing to
    /// free.
    pub deleter: Option<unsafe extern "C" fn(*mut Self)>,
    /// [`FLAG_READ_ONLY`], [`FLAG_IS_COPIED`].
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DLTensor,
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use core::mem::offset_of;

    /// Figures from a C compiler's `sizeof` and `offsetof` on dlpack.h.
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
