//! TensorFlow's tensors as views, and tensors handed over to TensorFlow.

use crate::api::{Api, TfTensor};
use crate::code::Code;
use crate::status::Failure;
use std::ffi::{c_int, c_void};
use tensorferry::{ByteOrder, Casting, DType, Dims, Layout, MAX_NDIM, Tensor, View};

/// A `TF_Tensor` that an op was given, freed when dropped.
pub(crate) struct Input {
    api: &'static Api,
    raw: *mut TfTensor,
}

impl Input {
    /// # Safety
    /// The caller owns `raw`, as returned by `TF_GetInput`, and passes ownership.
    pub(crate) unsafe fn new(api: &'static Api, raw: *mut TfTensor) -> Self {
        Self { api, raw }
    }

    fn shape(&self) -> Dims {
        // SAFETY: the tensor is live.
        let ndim = unsafe { (self.api.num_dims)(self.raw) };
        // SAFETY: the tensor is live and has the dimension asked for.
        (0..ndim)
            .map(|axis| unsafe { (self.api.dim)(self.raw, axis) })
            .map(|dim| usize::try_from(dim).unwrap_or(0))
            .collect()
    }

    /// The elements.
    pub(crate) fn view(&self) -> Result<View<'_>, Failure> {
        // SAFETY: the tensor is live.
        let code = unsafe { (self.api.tensor_type)(self.raw) };
        let Some(dtype) = DType::from_tensorflow(code) else {
            let message = format!("TensorFlow's dtype {code} is not supported");
            return Err(Failure::new(Code::UNIMPLEMENTED, message));
        };
        let layout = Layout::contiguous(&self.shape(), dtype.size())?;
        // SAFETY: the tensor is live.
        let len = unsafe { (self.api.byte_size)(self.raw) };
        if len < layout.nbytes() {
            return Err(Failure::new(
                Code::INVALID_ARGUMENT,
                format!("a tensor has {len} bytes, fewer than its shape needs"),
            ));
        }
        // SAFETY: the tensor is live.
        let data = unsafe { (self.api.data)(self.raw) };
        // SAFETY: TensorFlow's tensors are packed row-major in native byte order, immutable while
        // an op reads them, and this one lives as long as `self`; the length was compared.
        Ok(unsafe { View::from_raw(dtype, ByteOrder::Native, layout, data.cast_const().cast()) })
    }

    /// The first element of an int64 tensor.
    pub(crate) fn int64(&self) -> Result<i64, Failure> {
        let view = self.view()?;
        let bytes = view.as_bytes().and_then(|bytes| bytes.first_chunk::<8>());
        match (view.dtype(), bytes) {
            (DType::Int64, Some(bytes)) => Ok(i64::from_ne_bytes(*bytes)),
            _ => Err(Failure::new(Code::INVALID_ARGUMENT, "an int64 tensor was expected")),
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: `new` took ownership, and nothing uses the tensor any more.
        unsafe { (self.api.delete_tensor)(self.raw) };
    }
}

/// Drops the tensor whose memory was handed over.
unsafe extern "C" fn release(_data: *mut c_void, _len: usize, owner: *mut c_void) {
    // SAFETY: `hand_over` passed a boxed tensor, and TensorFlow calls this once.
    drop(unsafe { Box::from_raw(owner.cast::<Tensor>()) });
}

/// A `TF_Tensor` over the memory of a tensor, which it keeps alive; the caller frees it.
pub(crate) fn hand_over(api: &'static Api, tensor: &Tensor) -> Result<*mut TfTensor, Failure> {
    let packed = tensor.byte_order() == ByteOrder::Native
        && tensor.layout().is_c_contiguous()
        && tensor.as_view().has_normal_bools();
    let tensor = match packed {
        true => tensor.clone(),
        false => tensorferry::convert(&tensor.as_view(), tensor.dtype(), Casting::Checked)?,
    };
    let mut room = [0_i64; MAX_NDIM]; // a batch of many columns has as many shapes
    let dims = room.get_mut(..tensor.shape().len()).unwrap_or_default();
    for (to, dim) in dims.iter_mut().zip(tensor.shape()) {
        *to = i64::try_from(*dim).unwrap_or(i64::MAX);
    }
    let code = tensor.dtype().tensorflow();
    let ndim = c_int::try_from(dims.len()).unwrap_or(0);
    let (data, len) = (tensor.as_ptr().cast_mut().cast(), tensor.layout().nbytes());
    let owner = Box::into_raw(Box::new(tensor)).cast();
    // SAFETY: `dims` has `ndim` lengths; `len` bytes at `data` stay readable until `release` is
    // called, which happens once, also when TensorFlow copies because the memory is not aligned for
    // it. Ops do not write into tensors whose memory they do not own.
    let raw = unsafe { (api.new_tensor)(code, dims.as_ptr(), ndim, data, len, release, owner) };
    if raw.is_null() {
        // The sizes agree, so this does not happen. TensorFlow may have called `release`, so the
        // memory is leaked.
        return Err(Failure::new(
            Code::INVALID_ARGUMENT,
            "TensorFlow refused a tensor of this shape and size",
        ));
    }
    Ok(raw)
}
