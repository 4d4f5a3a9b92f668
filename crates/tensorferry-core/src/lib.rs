//! What a tensor is and how a value changes dtype.
//!
//! This crate has no I/O and no threads and builds without `std`. Most programs depend on
//! `tensorferry`, which re-exports all of it and adds recycled memory, files and work on several
//! cores.
//!
//! * [`DType`]: the fifteen dtypes, with their NumPy, DLPack and TensorFlow codes in one table.
//! * [`Layout`]: shape and strides, overflow-checked.
//! * [`Buffer`]: memory and the owner that keeps it alive.
//! * [`View`], [`ViewMut`]: someone else's array, in any layout, byte order and alignment.
//! * [`Tensor`]: an immutable array that keeps its memory alive.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod buffer;
pub mod convert;
mod dims;
pub mod dlpack;
mod dtype;
mod error;
mod layout;
#[cfg(feature = "ndarray")]
mod ndarray;
pub mod npy_header;
mod spec;
mod tensor;
mod view;

pub use buffer::{ALIGNMENT, Buffer, BufferMut};
pub use convert::{Casting, can_convert, convert, convert_into, smallest_dtype, value_range};
pub use dims::{Dims, MAX_NDIM, Strides};
pub use dtype::{ByteOrder, DType, Element, Kind};
pub use error::{ComponentId, Error, Misfits, Result, Scalar};
pub use layout::{Index, Layout};
pub use spec::{Shape, TensorSpec};
pub use tensor::{Tensor, TensorView};
pub use view::{View, ViewMut};
