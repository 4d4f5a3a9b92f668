//! Names of dtypes: the library's, and NumPy's.

use tensorferry::{ByteOrder, DType};

/// NumPy's other names, as on 64-bit Unix.
const OTHER: [(&str, DType); 34] = [
    ("float", DType::Float32),
    ("int", DType::Int32),
    ("complex", DType::Complex128),
    ("bool_", DType::Bool),
    ("half", DType::Float16),
    ("single", DType::Float32),
    ("double", DType::Float64),
    ("csingle", DType::Complex64),
    ("cdouble", DType::Complex128),
    ("byte", DType::Int8),
    ("short", DType::Int16),
    ("intc", DType::Int32),
    ("long", DType::Int64),
    ("longlong", DType::Int64),
    ("intp", DType::Int64),
    ("int_", DType::Int64),
    ("ubyte", DType::UInt8),
    ("ushort", DType::UInt16),
    ("uintc", DType::UInt32),
    ("uint", DType::UInt64),
    ("ulong", DType::UInt64),
    ("ulonglong", DType::UInt64),
    ("uintp", DType::UInt64),
    ("?", DType::Bool),
    ("b", DType::Int8),
    ("B", DType::UInt8),
    ("h", DType::Int16),
    ("H", DType::UInt16),
    ("i", DType::Int32),
    ("I", DType::UInt32),
    ("e", DType::Float16),
    ("f", DType::Float32),
    ("d", DType::Float64),
    ("bf16", DType::BFloat16),
];

/// NumPy's further one-letter codes.
const LETTERS: [(&str, DType); 6] = [
    ("l", DType::Int64),
    ("L", DType::UInt64),
    ("q", DType::Int64),
    ("Q", DType::UInt64),
    ("F", DType::Complex64),
    ("D", DType::Complex128),
];

/// The dtype of a name, and its byte order if the name has one.
pub(crate) fn stored(name: &str) -> Result<(DType, ByteOrder), String> {
    let native = |dtype| (dtype, ByteOrder::Native);
    let other = || {
        OTHER
            .iter()
            .chain(&LETTERS)
            .find(|(other, _)| *other == name)
            .map(|(_, dtype)| native(*dtype))
    };
    let found = DType::from_name(name)
        .map(native)
        .or_else(other)
        .or_else(|| DType::from_numpy_typestr(name));
    let ordered = || {
        let (order, letter) = name.split_at_checked(1)?;
        let (_, dtype) = OTHER.iter().chain(&LETTERS).find(|(other, _)| *other == letter)?;
        let (_, order) =
            DType::from_numpy_typestr(&format!("{order}i4")).filter(|_| "<>=|".contains(order))?;
        Some((*dtype, if dtype.size() == 1 { ByteOrder::Native } else { order }))
    };
    found.or_else(ordered).ok_or_else(|| {
        format!(
            "{name:?} is not one of {}, nor NumPy's name of one (i4, f8, <u2)",
            DType::ALL.map(DType::name).join(", ")
        )
    })
}

/// The dtype of a name, to convert to.
pub(crate) fn wanted(name: &str) -> Result<DType, String> {
    match stored(name)? {
        (dtype, ByteOrder::Native) => Ok(dtype),
        (dtype, ByteOrder::Swapped) => Err(format!(
            "{name:?} has another byte order than this machine's, which all files are written in. \
            Pass {dtype}."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numpys_and_float_and_int_are_tensorflows() {
        for (name, dtype) in [
            ("int32", DType::Int32),
            ("i4", DType::Int32),
            ("<i4", DType::Int32),
            ("=f8", DType::Float64),
            ("|u1", DType::UInt8),
            ("b1", DType::Bool),
            ("?", DType::Bool),
            ("<d", DType::Float64),
            ("float", DType::Float32),
            ("int", DType::Int32),
            ("c8", DType::Complex64),
            ("bfloat16", DType::BFloat16),
        ] {
            assert_eq!(wanted(name), Ok(dtype), "{name}");
        }
        for name in ["int4", "i3", "U4", "O", "float8", "", "<", "float80", "xi4", "f16"] {
            assert!(wanted(name).is_err(), "{name}");
        }
        assert!(wanted(">i4").is_err_and(|why| why.contains("Pass int32")));
        assert_eq!(stored(">i4"), Ok((DType::Int32, ByteOrder::Swapped)));
        assert_eq!(stored(">d"), Ok((DType::Float64, ByteOrder::Swapped)));
        assert_eq!(stored(">u1"), Ok((DType::UInt8, ByteOrder::Native)));
    }
}
