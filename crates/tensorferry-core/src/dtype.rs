//! Every fixed-width NumPy dtype that tensors share, and what each system calls it.

use core::fmt;
use half::{bf16, f16};
use num_complex::Complex;

/// The dtype of a tensor's elements, in native byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are NumPy's")]
pub enum DType {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float16,
    BFloat16,
    Float32,
    Float64,
    Complex64,
    Complex128,
}

/// What sort of number a dtype holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Complex,
}

/// Whether the bytes of an element are in this machine's order or reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ByteOrder {
    /// The order of this machine.
    #[default]
    Native,
    /// The other one. One-byte elements are never `Swapped`.
    Swapped,
}

/// What each system calls a dtype: one row per dtype, in the order of the enum.
struct Row {
    dtype: DType,
    name: &'static str,
    size: usize,
    kind: Kind,
    /// NumPy's array-interface typestr without the byte order. NumPy has no code for bfloat16.
    numpy: Option<&'static str>,
    /// `DLDataTypeCode` (dlpack.h, version 1.0); the bits are `8 * size`.
    dlpack: u8,
    /// `tensorflow.DataType` (types.proto).
    tensorflow: i32,
}

const fn row(
    dtype: DType,
    name: &'static str,
    size: usize,
    kind: Kind,
    numpy: Option<&'static str>,
    dlpack: u8,
    tensorflow: i32,
) -> Row {
    Row { dtype, name, size, kind, numpy, dlpack, tensorflow }
}

#[rustfmt::skip]
static TABLE: [Row; 15] = [
    row(DType::Bool,       "bool",       1,  Kind::Bool,     Some("b1"),  6, 10),
    row(DType::Int8,       "int8",       1,  Kind::Signed,   Some("i1"),  0, 6),
    row(DType::Int16,      "int16",      2,  Kind::Signed,   Some("i2"),  0, 5),
    row(DType::Int32,      "int32",      4,  Kind::Signed,   Some("i4"),  0, 3),
    row(DType::Int64,      "int64",      8,  Kind::Signed,   Some("i8"),  0, 9),
    row(DType::UInt8,      "uint8",      1,  Kind::Unsigned, Some("u1"),  1, 4),
    row(DType::UInt16,     "uint16",     2,  Kind::Unsigned, Some("u2"),  1, 17),
    row(DType::UInt32,     "uint32",     4,  Kind::Unsigned, Some("u4"),  1, 22),
    row(DType::UInt64,     "uint64",     8,  Kind::Unsigned, Some("u8"),  1, 23),
    row(DType::Float16,    "float16",    2,  Kind::Float,    Some("f2"),  2, 19),
    row(DType::BFloat16,   "bfloat16",   2,  Kind::Float,    None,        4, 14),
    row(DType::Float32,    "float32",    4,  Kind::Float,    Some("f4"),  2, 1),
    row(DType::Float64,    "float64",    8,  Kind::Float,    Some("f8"),  2, 2),
    row(DType::Complex64,  "complex64",  8,  Kind::Complex,  Some("c8"),  5, 8),
    row(DType::Complex128, "complex128", 16, Kind::Complex,  Some("c16"), 5, 18),
];

impl DType {
    /// Every dtype, in the order of the enum.
    pub const ALL: [Self; 15] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Float16,
        Self::BFloat16,
        Self::Float32,
        Self::Float64,
        Self::Complex64,
        Self::Complex128,
    ];

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// NumPy's and TensorFlow's name: `"int32"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        self.row().size
    }

    /// What sort of number it holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// Whether it is one of the eight integer dtypes (bool is not).
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self.kind(), Kind::Signed | Kind::Unsigned)
    }

    /// The least and greatest value of an integer dtype; 0 and 1 for bool; `None` for the others.
    ///
    /// ```
    /// # use tensorferry_core::DType;
    /// assert_eq!(DType::Int8.integer_range(), Some((-128, 127)));
    /// ```
    #[must_use]
    pub fn integer_range(self) -> Option<(i128, i128)> {
        let bits = 8 * self.size();
        match self.kind() {
            Kind::Bool => Some((0, 1)),
            Kind::Signed => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            Kind::Unsigned => Some((0, (1 << bits) - 1)),
            Kind::Float | Kind::Complex => None,
        }
    }

    /// For a float dtype, the greatest n such that every integer from -n to n is exactly
    /// representable; `None` for the others.
    #[must_use]
    pub fn exact_integers(self) -> Option<u64> {
        match self {
            Self::Float16 => Some(1 << 11),
            Self::BFloat16 => Some(1 << 8),
            Self::Float32 => Some(1 << 24),
            Self::Float64 => Some(1 << 53),
            _ => None,
        }
    }

    /// The dtype of that name: `"int32"`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.dtype)
    }

    /// The typestr of NumPy's array interface: `"<i4"`, `"|u1"`. `None` for bfloat16, which NumPy
    /// does not have.
    #[must_use]
    pub fn numpy_typestr(self, order: ByteOrder) -> Option<[u8; 4]> {
        let code = self.row().numpy?.as_bytes();
        let mut out = [0; 4];
        let swapped = order == ByteOrder::Swapped;
        out[0] = match (self.size(), cfg!(target_endian = "little") != swapped) {
            (1, _) => b'|',
            (_, true) => b'<',
            (_, false) => b'>',
        };
        out[1..=code.len()].copy_from_slice(code);
        Some(out)
    }

    /// Reads a NumPy typestr: a byte order (`<`, `>`, `=`, `|` or none) and a code (`i4`, `?`).
    ///
    /// ```
    /// # use tensorferry_core::{ByteOrder, DType};
    /// assert_eq!(DType::from_numpy_typestr("<f8"), Some((DType::Float64, ByteOrder::Native)));
    /// assert_eq!(DType::from_numpy_typestr("<M8[s]"), None);
    /// ```
    #[must_use]
    pub fn from_numpy_typestr(typestr: &str) -> Option<(Self, ByteOrder)> {
        let little = cfg!(target_endian = "little");
        let (swapped, code) = match typestr.as_bytes().first()? {
            b'<' => (!little, &typestr[1..]),
            b'>' => (little, &typestr[1..]),
            b'=' | b'|' => (false, &typestr[1..]),
            _ => (false, typestr),
        };
        let code = if code == "?" { "b1" } else { code };
        let row = TABLE.iter().find(|row| row.numpy == Some(code))?;
        let order = if swapped && row.size > 1 { ByteOrder::Swapped } else { ByteOrder::Native };
        Some((row.dtype, order))
    }

    /// DLPack's type code and bits (`DLDataType` with one lane, dlpack.h version 1.0).
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "sizes are 1 to 16 bytes")]
    pub fn dlpack(self) -> (u8, u8) {
        (self.row().dlpack, (8 * self.size()) as u8)
    }

    /// The dtype with DLPack's type code and bits, one lane.
    #[must_use]
    pub fn from_dlpack(code: u8, bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.dlpack() == (code, bits))
    }

    /// TensorFlow's `DataType` number (types.proto).
    #[must_use]
    pub fn tensorflow(self) -> i32 {
        self.row().tensorflow
    }

    /// The dtype with TensorFlow's `DataType` number.
    #[must_use]
    pub fn from_tensorflow(number: i32) -> Option<Self> {
        TABLE.iter().find(|row| row.tensorflow == number).map(|row| row.dtype)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is the element of a tensor: `bool`, the integers, `half::f16`, `half::bf16`,
/// floats, `num_complex::Complex`.
pub trait Element: Copy + PartialEq + Send + Sync + fmt::Debug + 'static + sealed::Sealed {
    /// The dtype of which this is the Rust type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    bool => Bool, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    f16 => Float16, bf16 => BFloat16, f32 => Float32, f64 => Float64,
    Complex<f32> => Complex64, Complex<f64> => Complex128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum_and_codes_are_unique() {
        for (i, dtype) in DType::ALL.into_iter().enumerate() {
            assert_eq!(dtype as usize, i);
            assert_eq!(TABLE[i].dtype, dtype);
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            let (code, bits) = dtype.dlpack();
            assert_eq!(DType::from_dlpack(code, bits), Some(dtype));
            assert_eq!(DType::from_tensorflow(dtype.tensorflow()), Some(dtype));
        }
    }

    #[test]
    fn typestrs_round_trip_in_both_byte_orders() {
        for dtype in DType::ALL {
            for order in [ByteOrder::Native, ByteOrder::Swapped] {
                let Some(bytes) = dtype.numpy_typestr(order) else { continue };
                let text = core::str::from_utf8(&bytes).unwrap().trim_end_matches('\0');
                let order = if dtype.size() == 1 { ByteOrder::Native } else { order };
                assert_eq!(DType::from_numpy_typestr(text), Some((dtype, order)), "{text}");
            }
        }
    }
}
