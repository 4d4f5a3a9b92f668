//! [`DType`]: the fifteen dtypes, with their NumPy, DLPack and TensorFlow codes in one table.

use core::fmt;
use half::{bf16, f16};
use num_complex::Complex;

/// The kind of number a dtype holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Complex,
}

/// The order of the bytes within an element, relative to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ByteOrder {
    /// This machine's order.
    #[default]
    Native,
    /// The reverse of this machine's order. One-byte elements are never `Swapped`.
    Swapped,
}

/// A dtype's names in NumPy, DLPack and TensorFlow.
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

/// Declares [`DType`], [`DType::ALL`], `TABLE` and the [`Element`] types from one row per dtype.
macro_rules! dtypes {
    ($(
        $dtype:ident $rust:ty: $name:literal $kind:ident $numpy:expr, $dlpack:literal $tf:literal;
    )*) => {
        /// The dtype of a tensor's elements, in native byte order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names are NumPy's")]
        #[non_exhaustive]
        pub enum DType {
            $($dtype,)*
        }

        impl DType {
            /// Every dtype, in the order of the enum.
            pub const ALL: [Self; 15] = [$(Self::$dtype),*];
        }

        /// One row per dtype, in the order of the enum.
        static TABLE: [Row; DType::ALL.len()] = [$(Row {
            dtype: DType::$dtype,
            name: $name,
            size: size_of::<$rust>(),
            kind: Kind::$kind,
            numpy: $numpy,
            dlpack: $dlpack,
            tensorflow: $tf,
        }),*];

        $(
            impl sealed::Sealed for $rust {}
            impl Element for $rust {
                const DTYPE: DType = DType::$dtype;
            }
        )*
    };
}

// The columns: NumPy's name, kind, NumPy's typestr, DLPack's type code, TensorFlow's number.
dtypes! {
    Bool       bool:         "bool"       Bool     Some("b1"),  6 10;
    Int8       i8:           "int8"       Signed   Some("i1"),  0 6;
    Int16      i16:          "int16"      Signed   Some("i2"),  0 5;
    Int32      i32:          "int32"      Signed   Some("i4"),  0 3;
    Int64      i64:          "int64"      Signed   Some("i8"),  0 9;
    UInt8      u8:           "uint8"      Unsigned Some("u1"),  1 4;
    UInt16     u16:          "uint16"     Unsigned Some("u2"),  1 17;
    UInt32     u32:          "uint32"     Unsigned Some("u4"),  1 22;
    UInt64     u64:          "uint64"     Unsigned Some("u8"),  1 23;
    Float16    f16:          "float16"    Float    Some("f2"),  2 19;
    BFloat16   bf16:         "bfloat16"   Float    None,        4 14;
    Float32    f32:          "float32"    Float    Some("f4"),  2 1;
    Float64    f64:          "float64"    Float    Some("f8"),  2 2;
    Complex64  Complex<f32>: "complex64"  Complex  Some("c8"),  5 8;
    Complex128 Complex<f64>: "complex128" Complex  Some("c16"), 5 18;
}

impl ByteOrder {
    /// The order that elements of `dtype` are in: one-byte elements are never `Swapped`.
    pub(crate) fn of(self, dtype: DType) -> Self {
        if dtype.size() == 1 { Self::Native } else { self }
    }
}

impl DType {
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

    /// The kind of number it holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// Whether it is one of the eight integer dtypes. `Bool` is not.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self.kind(), Kind::Signed | Kind::Unsigned)
    }

    /// The least and greatest value of an integer dtype, 0 and 1 for `Bool`, else `None`.
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

    /// The dtype of a complex number's parts; a real dtype itself.
    pub(crate) fn part(self) -> Self {
        match self {
            Self::Complex64 => Self::Float32,
            Self::Complex128 => Self::Float64,
            real => real,
        }
    }

    /// For a float dtype, the greatest `n` such that every integer from `-n` to `n` is exactly
    /// representable, else `None`.
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

    /// The dtype with this name: `"int32"`.
    ///
    /// ```
    /// # use tensorferry_core::DType;
    /// assert_eq!(DType::from_name("bfloat16"), Some(DType::BFloat16));
    /// assert_eq!(DType::from_name("object"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.dtype)
    }

    /// The typestr of NumPy's array interface, padded with zero bytes: `"<i4"`, `"|u1"`. `None` for
    /// bfloat16, for which NumPy has no code.
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

    /// Parses a NumPy typestr: a byte order (`<`, `>`, `=`, `|` or none) and a code (`i4`, `?`).
    /// `None` if no dtype has the code.
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
        let order = if swapped { ByteOrder::Swapped } else { ByteOrder::Native };
        Some((row.dtype, order.of(row.dtype)))
    }

    /// DLPack's type code and bits (`DLDataType` with one lane, dlpack.h version 1.0).
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "sizes are 1 to 16 bytes")]
    pub fn dlpack(self) -> (u8, u8) {
        (self.row().dlpack, (8 * self.size()) as u8)
    }

    /// The dtype with this DLPack type code and bits, one lane; `None` if there is none.
    #[must_use]
    pub fn from_dlpack(code: u8, bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.dlpack() == (code, bits))
    }

    /// TensorFlow's `DataType` number (types.proto).
    #[must_use]
    pub fn tensorflow(self) -> i32 {
        self.row().tensorflow
    }

    /// The dtype with this TensorFlow `DataType` number; `None` if there is none.
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

/// The Rust types of tensor elements: `bool`, the integers up to 64 bits, `half::f16`,
/// `half::bf16`, `f32`, `f64`, `num_complex::Complex` of either. Sealed.
pub trait Element: Copy + PartialEq + Send + Sync + fmt::Debug + 'static + sealed::Sealed {
    /// The dtype of elements of this type.
    const DTYPE: DType;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_the_table_is_in_the_order_of_the_enum() {
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
