//! The parts of the protocol buffer encoding that `tf.train.Example` uses.

use tensorferry_core::DType;

/// An error in a record, and its offset.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) what: String,
    /// Whether the way out is to choose features.
    pub(crate) choose: bool,
}

pub(super) fn wrong(at: usize, what: impl Into<String>) -> Wrong {
    Wrong { at, what: what.into(), choose: false }
}

/// The list that holds a feature's values. The discriminant is its field number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Byte strings.
    Bytes = 1,
    Floats = 2,
    Ints = 3,
}

impl List {
    /// The list with this field number.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        [Self::Bytes, Self::Floats, Self::Ints].into_iter().find(|list| *list as u64 == number)
    }

    /// Name of the field.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes_list",
            Self::Floats => "float_list",
            Self::Ints => "int64_list",
        }
    }

    /// Dtype of the values.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Bytes => DType::UInt8,
            Self::Floats => DType::Float32,
            Self::Ints => DType::Int64,
        }
    }
}

/// The number of an extra field of an Example with the shapes of its features: entries of a name
/// and the lengths of the dimensions. TensorFlow's parsers skip it, as protocol buffers skip all
/// unknown fields.
pub(crate) const SHAPES: u64 = 1991;

/// A message, or the rest of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    /// Offset of `bytes` in the record.
    pub(super) at: usize,
}

/// One field of a message.
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    /// A string, a message, or packed numbers.
    Bytes(Message<'a>),
    /// A 64-bit number, which these messages do not use.
    Fixed64,
}

impl<'a> Message<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        (self.bytes, self.at) = (rest, self.at + len);
        Some(taken)
    }

    pub(super) fn varint(&mut self) -> std::result::Result<u64, Wrong> {
        let start = self.at;
        let mut value = 0_u64;
        for (at, byte) in self.bytes.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.take(at + 1);
                return Ok(value);
            }
        }
        Err(wrong(start, "a number has no end"))
    }

    /// The next field and its number; `None` at the end.
    pub(super) fn field(&mut self) -> std::result::Result<Option<(u64, Field<'a>)>, Wrong> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let short = || wrong(start, "a field is longer than what it is part of");
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed64).ok_or_else(short)?,
            2 => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let at = self.at;
                Field::Bytes(Message { bytes: self.take(len).ok_or_else(short)?, at })
            }
            5 => Field::Fixed32(
                self.take(4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?,
            ),
            _ => return Err(wrong(start, "not a field of a protocol buffer")),
        };
        match tag >> 3 {
            0 => Err(wrong(start, "not a field of a protocol buffer")),
            number => Ok(Some((number, field))),
        }
    }
}

/// Writes a length-delimited field with the contents that `fill` writes.
pub(super) fn reserve(out: &mut Vec<u8>, number: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(number << 3 | 2);
    let start = out.len();
    fill(out);
    let mut len = Vec::with_capacity(10);
    varint((out.len() - start) as u64, &mut len);
    out.splice(start..start, len);
}

pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
