//! DLPack: tensors handed over between libraries in one process, without a copy.
//!
//! # Rationale
//! [`export`] describes our own memory, which is known to be sound; [`import`] reads a description
//! written by somebody else, and checks everything in it that can be checked before believing it.
//! Both the legacy structure (which TensorFlow takes) and the versioned one of DLPack 1.0 (which
//! carries a read-only flag) are spoken. The layout is that of `dlpack.h`, version 1.0
//! (<https://github.com/dmlc/dlpack>).
//!
//! # Limitations
//! Only memory that the CPU can read. A legacy structure cannot say that its memory is read-only.

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
