//! `tf.train.Example`: named lists of numbers or byte strings, as TFRecord files usually hold them.
//!
//! The messages (<https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto>) are read where they lie,
//! without a structure in between: what is wanted of a record goes straight into the row of an array.

use crate::dataset::{Shape, TensorSpec};
use crate::source::swap;
use crate::{DType, Error};

/// What is wrong with a record, and where in it.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) what: String,
}

fn wrong(at: usize, what: impl Into<String>) -> Wrong {
    Wrong { at, what: what.into() }
}

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Floats,
    Ints,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes_list",
            Self::Floats => "float_list",
            Self::Ints => "int64_list",
        }
    }
}

/// A feature that is the column of an array: it has as many values in every record.
#[derive(Clone, Debug)]
pub(crate) struct Feature {
    pub(crate) name: String,
    kind: Kind,
    /// How many values.
    count: usize,
    pub(crate) spec: TensorSpec,
}

/// A message, or the rest of one.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    bytes: &'a [u8],
    /// Where it starts in the record.
    at: usize,
}

/// One field of a message.
enum Field<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    /// A string, a message, or packed numbers.
    Bytes(Message<'a>),
    /// A 64-bit number: none of these messages has one.
    Fixed64,
}

impl<'a> Message<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        (self.bytes, self.at) = (rest, self.at + len);
        Some(taken)
    }

    fn varint(&mut self) -> std::result::Result<u64, Wrong> {
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
        Err(wrong(start, "a number does not end"))
    }

    /// The next field and its number; `None` at the end.
    fn field(&mut self) -> std::result::Result<Option<(u64, Field<'a>)>, Wrong> {
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
            5 => Field::Fixed32(self.take(4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?),
            _ => return Err(wrong(start, "no field of a protocol buffer")),
        };
        match tag >> 3 {
            0 => Err(wrong(start, "no field of a protocol buffer")),
            number => Ok(Some((number, field))),
        }
    }
}

/// Calls `each` with the name and the value of every feature.
fn features<'a>(
    record: &'a [u8],
    mut each: impl FnMut(&'a [u8], Message<'a>) -> std::result::Result<(), Wrong>,
) -> std::result::Result<(), Wrong> {
    let mut example = Message { bytes: record, at: 0 };
    while let Some((number, field)) = example.field()? {
        let (1, Field::Bytes(mut all)) = (number, field) else { continue };
        while let Some((number, field)) = all.field()? {
            let (1, Field::Bytes(mut entry)) = (number, field) else { continue };
            let (mut name, mut value) = (&[][..], Message { bytes: &[], at: entry.at });
            while let Some((number, field)) = entry.field()? {
                match (number, field) {
                    (1, Field::Bytes(key)) => name = key.bytes,
                    (2, Field::Bytes(feature)) => value = feature,
                    _ => {}
                }
            }
            each(name, value)?;
        }
    }
    Ok(())
}

/// One value of a feature.
enum Item<'a> {
    Bytes(&'a [u8]),
    Float([u8; 4]),
    Int(u64),
}

/// The kind of a feature, which the last of its lists decides; `None` if it has none.
fn kind(mut feature: Message<'_>) -> std::result::Result<Option<Kind>, Wrong> {
    let mut kind = None;
    while let Some((number, _)) = feature.field()? {
        kind = match number {
            1 => Some(Kind::Bytes),
            2 => Some(Kind::Floats),
            3 => Some(Kind::Ints),
            _ => kind,
        };
    }
    Ok(kind)
}

/// Calls `each` with the values of a feature's lists of that kind, packed or not.
fn items<'a>(
    mut feature: Message<'a>,
    kind: Kind,
    mut each: impl FnMut(Item<'a>) -> std::result::Result<(), Wrong>,
) -> std::result::Result<(), Wrong> {
    while let Some((number, field)) = feature.field()? {
        let (Field::Bytes(mut list), true) = (field, number == kind as u64 + 1) else { continue };
        while let Some((number, field)) = list.field()? {
            match (kind, number, field) {
                (Kind::Bytes, 1, Field::Bytes(value)) => each(Item::Bytes(value.bytes))?,
                (Kind::Floats, 1, Field::Fixed32(value)) => each(Item::Float(value))?,
                (Kind::Floats, 1, Field::Bytes(mut packed)) => {
                    while let Some(value) = packed.take(4) {
                        each(Item::Float(value.try_into().unwrap_or_default()))?;
                    }
                    if !packed.bytes.is_empty() {
                        return Err(wrong(packed.at, "floats of 4 bytes that do not come out even"));
                    }
                }
                (Kind::Ints, 1, Field::Varint(value)) => each(Item::Int(value))?,
                (Kind::Ints, 1, Field::Bytes(mut packed)) => {
                    while !packed.bytes.is_empty() {
                        each(Item::Int(packed.varint()?))?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The features of a record, in the order of their names: as they are in it they are to be in all. `None` if it is no Example.
pub(crate) fn infer(record: &[u8]) -> Option<Vec<Feature>> {
    let mut found: Vec<Feature> = Vec::new();
    let inferred = features(record, |name, value| {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).ok_or_else(|| wrong(0, "a name"))?;
        found.retain(|other| other.name != name); // the last of a name counts
        let Some(kind) = kind(value)? else { return Ok(()) };
        let (mut count, mut len, mut equal) = (0, None, true);
        items(value, kind, |item| {
            count += 1;
            if let Item::Bytes(bytes) = item {
                equal &= *len.get_or_insert(bytes.len()) == bytes.len();
            }
            Ok(())
        })?;
        let several = (count != 1).then_some(count);
        let (dtype, dims) = match kind {
            Kind::Bytes => (DType::UInt8, several.into_iter().chain(len).collect::<Vec<_>>()),
            Kind::Floats => (DType::Float32, several.into_iter().collect()),
            Kind::Ints => (DType::Int64, several.into_iter().collect()),
        };
        // Byte strings of several lengths are no array; what is left out is said to be missing when it is asked for.
        if equal {
            found.push(Feature { name: name.to_owned(), kind, count, spec: TensorSpec::new(dtype, Shape::fixed(&dims)) });
        }
        Ok(())
    });
    found.sort_by(|a, b| a.name.cmp(&b.name));
    (inferred.is_ok() && !found.is_empty()).then_some(found)
}

impl Feature {
    /// The same feature as rows of another shape; of byte strings, also of another dtype, whose little-endian elements they are.
    ///
    /// # Errors
    /// Why the feature is none such.
    pub(crate) fn of_spec(&self, spec: &TensorSpec) -> std::result::Result<Self, String> {
        let bytes = |spec: &TensorSpec| spec.fixed().map(|(_, bytes)| bytes);
        let fits = bytes(spec).is_some() && bytes(spec) == bytes(&self.spec);
        if fits && (spec.dtype == self.spec.dtype || self.kind == Kind::Bytes) {
            return Ok(Self { spec: spec.clone(), ..self.clone() });
        }
        Err(format!(
            "feature {:?} is no {spec}: the first record has {} of it, which are {}",
            self.name,
            self.describe(),
            self.spec
        ))
    }

    fn describe(&self) -> String {
        let values = if self.count == 1 { "value" } else { "values" };
        let bytes = self.spec.fixed().and_then(|(_, bytes)| bytes.checked_div(self.count));
        let len = bytes.filter(|_| self.kind == Kind::Bytes).map_or_else(String::new, |len| format!(" of length {len}"));
        format!("{} {values}{len} in its {}", self.count, self.kind.name())
    }
}

/// Writes the values of `wanted` features of a record, each into bytes that have room for just them, in this machine's byte order.
///
/// # Errors
/// A record that is no Example, lacks a feature, or has other values of it than the first record.
pub(crate) fn read<'a>(
    record: &[u8],
    wanted: impl ExactSizeIterator<Item = (&'a Feature, &'a mut [u8])>,
) -> std::result::Result<(), Wrong> {
    let mut wanted: Vec<(&Feature, &mut [u8], Option<Message<'_>>)> = wanted.map(|(feature, out)| (feature, out, None)).collect();
    features(record, |name, value| {
        if let Some((_, _, found)) = wanted.iter_mut().find(|(feature, ..)| feature.name.as_bytes() == name) {
            *found = Some(value);
        }
        Ok(())
    })?;
    for (feature, out, found) in wanted {
        let Some(value) = found else { return Err(wrong(0, format!("feature {:?} is missing", feature.name))) };
        read_feature(feature, value, out)?;
    }
    Ok(())
}

fn read_feature(feature: &Feature, value: Message<'_>, out: &mut [u8]) -> std::result::Result<(), Wrong> {
    let found = kind(value)?;
    let as_first = |what: String| {
        let what = format!("feature {:?} has {what}, where the first record has {}", feature.name, feature.describe());
        wrong(value.at, format!("{what}: features that are arrays are alike in every record"))
    };
    if found != Some(feature.kind) {
        return Err(as_first(found.map_or("no list", Kind::name).to_owned()));
    }
    let size = out.len().checked_div(feature.count).unwrap_or(0);
    let mut rest = &mut *out;
    let mut count = 0;
    items(value, feature.kind, |item| {
        count += 1;
        let Some((slot, later)) = std::mem::take(&mut rest).split_at_mut_checked(size).filter(|_| count <= feature.count) else {
            return Ok(()); // more than there should be: they are still to be counted
        };
        rest = later;
        match item {
            Item::Bytes(bytes) if bytes.len() == size => slot.copy_from_slice(bytes),
            Item::Bytes(bytes) => return Err(as_first(format!("a byte string of length {}", bytes.len()))),
            Item::Float(bytes) => slot.copy_from_slice(&f32::from_le_bytes(bytes).to_ne_bytes()),
            Item::Int(value) => slot.copy_from_slice(&value.to_ne_bytes()),
        }
        Ok(())
    })?;
    if count != feature.count {
        return Err(as_first(format!("{count} values")));
    }
    if feature.kind == Kind::Bytes && cfg!(target_endian = "big") {
        swap(feature.spec.dtype, out);
    }
    Ok(())
}

/// The error of a record, whose bytes start at `start` of the file.
pub(crate) fn in_record(wrong: Wrong, record: u64, start: u64) -> Error {
    let what = format!("record {record}: {}", wrong.what);
    Error::Malformed { format: "tf.train.Example", offset: start.saturating_add(wrong.at as u64), what }
}
