//! Checked conversion between dtypes.
//!
//! # Examples
//! ```
//! use tensorferry_core::{Casting, DType, View, convert};
//!
//! let source = View::from_slice(&[1_i64, 2, 1 << 40], &[3])?;
//! let error = convert(&source, DType::Int32, Casting::Checked).unwrap_err();
//! assert!(error.to_string().contains("1 of 3 values does not fit (first: [2] = 1099511627776"));
//!
//! let tensor = convert(&source, DType::Int32, Casting::Saturate)?;
//! assert_eq!(tensor.view::<i32>()?.as_slice(), Some(&[1, 2, i32::MAX][..]));
//! # Ok::<(), tensorferry_core::Error>(())
//! ```
//!
//! # Rationale
//! [`scalar`] defines the right result, one value at a time. Kernels convert packed elements
//! without branches and only report whether all values fit. If some do not, a second pass with the
//! oracle finds them. So a successful conversion reads its source once, and the check costs nothing
//! where memory is the limit.
//!
//! # Limitations
//! This crate starts no threads. `tensorferry` has functions of the same names as [`convert`],
//! [`convert_into`], [`can_convert`], [`smallest_dtype`] and [`value_range`], which return the same
//! results and use all cores for large arrays.

mod casting;
mod dispatch;
mod float_lanes;
mod halves;
mod lanes;
mod loops;
#[cfg(target_arch = "x86_64")]
mod narrowing;
mod range;
#[doc(hidden)]
pub mod rows;
pub mod scalar;
mod stream;
mod strided;
#[cfg(test)]
mod tests;
mod transfer;
mod traversal;

pub use casting::Casting;
pub use dispatch::{CpuLevel, cpu_level};
#[doc(hidden)]
pub use dispatch::{Wide, widely};
pub use range::{narrowest, smallest_dtype, value_range};
pub use strided::{Conversion, can_convert, convert_into, diagnose};

use crate::{BufferMut, ByteOrder, DType, Layout, Result, Tensor, View, ViewMut};

/// A row-major tensor of the same values in another dtype, in native byte order.
///
/// `tensorferry::convert` returns the same tensor and uses all cores.
///
/// # Errors
/// Those of [`convert_into`]; [`crate::Error::Allocation`].
pub fn convert(src: &View<'_>, to: DType, casting: Casting) -> Result<Tensor> {
    let layout = Layout::contiguous(src.layout().shape(), to.size())?;
    let mut buffer = BufferMut::zeroed(layout.nbytes())?;
    // SAFETY: the buffer has the bytes of the layout, which is packed, and is accessed only through
    // `out` while `out` lives.
    let mut out = unsafe {
        ViewMut::from_raw(to, ByteOrder::Native, layout.clone(), buffer.as_mut_slice().as_mut_ptr())
    };
    convert_into(src, &mut out, casting)?;
    Tensor::new(to, ByteOrder::Native, layout, buffer.freeze(), 0)
}
