//! Tensors and checked dtype conversion, without I/O, threads or `std`.
//!
//! Most programs depend on `tensorferry`, which adds recycled memory, files, datasets and
//! conversion on several cores. Its `convert`, `convert_into`, `can_convert`, `smallest_dtype` and
//! `value_range` return the same results as the functions of these names here.
//!
//! * [`DType`]: the fifteen dtypes, with their NumPy, DLPack and TensorFlow codes in one table.
//! * [`Layout`]: shape and strides, overflow-checked.
//! * [`Buffer`]: memory and the owner that keeps it alive.
//! * [`View`], [`ViewMut`]: borrowed arrays in any layout, byte order and alignment.
//! * [`Tensor`]: an immutable array that keeps its memory alive.
//! * [`convert`](mod@convert), [`dlpack`], [`npy_header`]: conversion, DLPack and the `.npy`
//!   header.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod accessors;
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
pub use convert::{
    Casting, CpuLevel, can_convert, convert, convert_into, cpu_level, smallest_dtype, value_range,
};
pub use dims::{Dims, MAX_NDIM, Strides};
pub use dtype::{ByteOrder, DType, Element, Kind};
pub use error::{Advice, Error, ErrorKind, InRust, Misfits, Result, Scalar};
pub use layout::{Index, Layout};
pub use spec::{Shape, TensorSpec};
pub use tensor::{Tensor, TensorView};
pub use view::{View, ViewMut};
