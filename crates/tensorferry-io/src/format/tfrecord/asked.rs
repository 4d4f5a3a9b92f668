//! What a [`FeatureSpec`] asks of a feature of `tf.train.Example`s.

use crate::format::file_format::FeatureSpec;
use crate::format::tfrecord::wire::List;
use tensorferry_core::DType;

/// The lists that may hold the feature, the usual one first.
///
/// # Errors
/// Why there is none.
pub(super) fn lists(name: &str, asked: &FeatureSpec) -> Result<Vec<List>, String> {
    let dtype = asked.spec.dtype;
    let numbers = match dtype {
        DType::Int64 => Some(List::Ints),
        DType::Float32 => Some(List::Floats),
        _ => None,
    };
    match (numbers, asked.exact) {
        (Some(numbers), true) => Ok(vec![numbers]),
        (Some(numbers), false) => Ok(vec![numbers, List::Bytes]),
        (None, true) if dtype != DType::UInt8 => Err(format!(
            "feature {name:?} cannot be {dtype}: Examples hold int64, float32 and byte strings"
        )),
        (None, _) => Ok(vec![List::Bytes]),
    }
}

/// The bytes of the default, in native byte order.
///
/// # Errors
/// Why it is not one.
pub(super) fn default_bytes(name: &str, asked: &FeatureSpec) -> Result<Option<Vec<u8>>, String> {
    let Some(default) = &asked.default else { return Ok(None) };
    let bytes = default.as_view().as_bytes().map(<[u8]>::to_vec);
    let fits = |bytes: &Vec<u8>| match asked.spec.fixed() {
        Some((_, size)) => bytes.len() == size,
        None => true,
    };
    match bytes.filter(fits).filter(|_| default.dtype() == asked.spec.dtype) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(format!(
            "feature {name:?} is {}, and its default cannot be {} of shape {:?}",
            asked.spec,
            default.dtype(),
            default.shape()
        )),
    }
}
