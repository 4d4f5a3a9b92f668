//! DLPack: exchanges tensors with other libraries in the same process, without a copy.
//!
//! # Rationale
//! [`export`] describes the memory of a [`Tensor`](crate::Tensor), which is known to be sound.
//! [`import`] reads a foreign description and checks all that can be checked before it uses it.
//! Both support the legacy structure, which TensorFlow takes, and the versioned structure of DLPack
//! 1.0, which has a read-only flag. The structures are those of `dlpack.h`, version 1.0
//! (<https://github.com/dmlc/dlpack>).
//!
//! # Limitations
//! Only memory that the CPU can read is supported. A legacy structure has no read-only flag.

mod abi;
mod export;
mod import;
#[cfg(test)]
mod tests;

pub use abi::{
    DLDataType, DLDevice, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
    FLAG_IS_COPIED, FLAG_READ_ONLY,
};
pub use export::{delete, delete_versioned, export, export_versioned};
pub use import::{Imported, import, import_versioned};

/// `DLDeviceType::kDLCPU`: ordinary memory.
pub const CPU: i32 = 1;
