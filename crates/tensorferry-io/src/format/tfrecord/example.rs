//! `tf.train.Example`: named lists of numbers or byte strings, as in most TFRecord files.
//!
//! The messages
//! (<https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto>)
//! are parsed in place: wanted values are written directly into the rows of arrays.

use crate::error::{Error, Hint};
use crate::format::file_format::FeatureSpec;
use crate::format::tfrecord::asked::{default_bytes, lists};
use crate::format::tfrecord::wire::{Field, List, Message, SHAPES, Wrong, wrong};
use crate::gather::byte_order::swap;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{Shape, TensorSpec};

/// A feature that is an array: it has the same number of values in every record.
#[derive(Clone, Debug)]
pub(crate) struct Feature {
    pub(crate) name: String,
    kind: List,
    /// Number of values.
    count: usize,
    pub(crate) spec: TensorSpec,
    /// The row of a record without the feature.
    default: Option<Vec<u8>>,
}

/// The other fields of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Besides<'a> {
    /// `feature_lists`, the second field of a `tf.train.SequenceExample`.
    pub(super) lists: Option<Message<'a>>,
    /// Contents of the field [`SHAPES`].
    shapes: Option<Message<'a>>,
}

/// Calls `each` with the name and the value of every feature.
pub(super) fn features<'a>(
    record: &'a [u8],
    mut each: impl FnMut(&'a [u8], Message<'a>) -> std::result::Result<(), Wrong>,
) -> std::result::Result<Besides<'a>, Wrong> {
    let mut example = Message { bytes: record, at: 0 };
    let mut besides = Besides::default();
    while let Some((number, field)) = example.field()? {
        match (number, field) {
            (1, Field::Bytes(mut all)) => {
                while let Some((number, field)) = all.field()? {
                    let (1, Field::Bytes(entry)) = (number, field) else { continue };
                    let (name, value) = self::entry(entry)?;
                    each(name, value)?;
                }
            }
            (2, Field::Bytes(lists)) => besides.lists = Some(lists),
            (SHAPES, Field::Bytes(shapes)) => besides.shapes = Some(shapes),
            _ => {}
        }
    }
    Ok(besides)
}

/// Key and value of a map entry.
pub(super) fn entry(mut entry: Message<'_>) -> std::result::Result<(&[u8], Message<'_>), Wrong> {
    let (mut name, mut value) = (&[][..], Message { bytes: &[], at: entry.at });
    while let Some((number, field)) = entry.field()? {
        match (number, field) {
            (1, Field::Bytes(key)) => name = key.bytes,
            (2, Field::Bytes(feature)) => value = feature,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Whether a message is a valid [`Besides::lists`]: lists of features by name.
fn are_lists(mut lists: Message<'_>) -> std::result::Result<bool, Wrong> {
    while let Some((number, field)) = lists.field()? {
        let (1, Field::Bytes(entry)) = (number, field) else { return Ok(false) };
        let (name, mut list) = self::entry(entry)?;
        if std::str::from_utf8(name).is_err() {
            return Ok(false);
        }
        while let Some((number, field)) = list.field()? {
            let (1, Field::Bytes(feature)) = (number, field) else { return Ok(false) };
            kind(feature)?;
        }
    }
    Ok(true)
}

/// The shape of a feature in the record's [`SHAPES`].
fn shape_of(mut shapes: Message<'_>, name: &str) -> std::result::Result<Option<Vec<usize>>, Wrong> {
    while let Some((number, field)) = shapes.field()? {
        let (1, Field::Bytes(mut entry)) = (number, field) else { continue };
        let (mut named, mut dims) = (false, Vec::new());
        while let Some((number, field)) = entry.field()? {
            match (number, field) {
                (1, Field::Bytes(key)) => named = key.bytes == name.as_bytes(),
                (2, Field::Varint(dim)) => dims.push(usize::try_from(dim).unwrap_or(usize::MAX)),
                (2, Field::Bytes(mut packed)) => {
                    while !packed.bytes.is_empty() {
                        dims.push(usize::try_from(packed.varint()?).unwrap_or(usize::MAX));
                    }
                }
                _ => {}
            }
        }
        if named {
            return Ok(Some(dims));
        }
    }
    Ok(None)
}

/// One value of a feature.
pub(super) enum Item<'a> {
    Bytes(&'a [u8]),
    Float([u8; 4]),
    Int(u64),
}

/// The list that a feature uses: its last one. `None` if it has none.
pub(super) fn kind(mut feature: Message<'_>) -> std::result::Result<Option<List>, Wrong> {
    let mut kind = None;
    while let Some((number, _)) = feature.field()? {
        kind = List::of_number(number).or(kind);
    }
    Ok(kind)
}

/// Calls `each` with the values of a feature's lists of that kind, packed or not.
pub(super) fn items<'a>(
    mut feature: Message<'a>,
    kind: List,
    mut each: impl FnMut(Item<'a>) -> std::result::Result<(), Wrong>,
) -> std::result::Result<(), Wrong> {
    while let Some((number, field)) = feature.field()? {
        let (Field::Bytes(mut list), true) = (field, number == kind as u64) else { continue };
        while let Some((number, field)) = list.field()? {
            match (kind, number, field) {
                (List::Bytes, 1, Field::Bytes(value)) => each(Item::Bytes(value.bytes))?,
                (List::Floats, 1, Field::Fixed32(value)) => each(Item::Float(value))?,
                (List::Floats, 1, Field::Bytes(mut packed)) => {
                    while let Some(value) = packed.take(4) {
                        each(Item::Float(value.try_into().unwrap_or_default()))?;
                    }
                    if !packed.bytes.is_empty() {
                        return Err(wrong(packed.at, "not a whole number of floats of 4 bytes"));
                    }
                }
                (List::Ints, 1, Field::Varint(value)) => each(Item::Int(value))?,
                (List::Ints, 1, Field::Bytes(mut packed)) => {
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

/// The features of the first record, which all records must have.
#[derive(Debug, Default)]
pub(crate) struct First {
    /// Features that are arrays, sorted by name.
    pub(crate) features: Vec<Feature>,
    /// The other features, and why they are not arrays.
    pub(crate) left_out: Vec<(String, String)>,
    /// Whether it is a `tf.train.SequenceExample`, which also has lists of features.
    pub(crate) is_sequence: bool,
    /// Contents of the field [`SHAPES`].
    shapes: Vec<u8>,
}

/// Infers the features of a record. `None` if it is not an Example.
pub(crate) fn infer(record: &[u8]) -> Option<First> {
    let mut found: Vec<Feature> = Vec::new();
    let mut left_out: Vec<(String, String)> = Vec::new();
    let inferred = features(record, |name, value| {
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| wrong(0, "a name"))?;
        // If a name occurs twice, the last one counts.
        found.retain(|other| other.name != name);
        left_out.retain(|(other, _)| other != name);
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
        // Only byte strings have a length.
        let dims = several.into_iter().chain(len).collect::<Vec<_>>();
        if equal {
            found.push(Feature {
                name: name.to_owned(),
                kind,
                count,
                spec: TensorSpec::new(kind.dtype(), Shape::fixed(&dims)),
                default: None,
            });
        } else {
            left_out.push((
                name.to_owned(),
                "byte strings of several lengths, which are not an array".into(),
            ));
        }
        Ok(())
    });
    let besides = inferred.ok()?;
    let is_sequence = besides.lists.is_some_and(|lists| are_lists(lists).unwrap_or(false));
    if found.is_empty()
        && left_out.is_empty()
        && !(is_sequence && besides.lists.is_some_and(|lists| !lists.bytes.is_empty()))
    {
        return None;
    }
    if let Some(shapes) = besides.shapes {
        for feature in &mut found {
            let said = shape_of(shapes, &feature.name).ok()?;
            let spec = said.map(|dims| TensorSpec::new(feature.spec.dtype, Shape::fixed(&dims)));
            // A shape that does not match the values is ignored.
            if let Some(spec) = spec.filter(|spec| same_bytes(spec, &feature.spec)) {
                feature.spec = spec;
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let shapes = besides.shapes.map(|shapes| shapes.bytes.to_vec()).unwrap_or_default();
    Some(First { features: found, left_out, is_sequence, shapes })
}

fn same_bytes(one: &TensorSpec, other: &TensorSpec) -> bool {
    let bytes = |spec: &TensorSpec| spec.fixed().map(|(_, bytes)| bytes);
    bytes(one).is_some() && bytes(one) == bytes(other)
}

impl First {
    /// Checks that the first record has a feature of another record.
    ///
    /// # Errors
    /// If it has not, because the feature would be ignored.
    fn check(&self, name: &[u8]) -> std::result::Result<(), Wrong> {
        let known = self.features.iter().map(|feature| feature.name.as_str());
        let known = known
            .chain(self.left_out.iter().map(|(name, _)| name.as_str()))
            .any(|known| known.as_bytes() == name);
        if known {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let what = format!(
            "feature {name:?} is in this record and not in the first, and would be left out."
        );
        Err(Wrong { choose: true, ..wrong(0, what) })
    }

    fn check_besides(&self, besides: Besides<'_>) -> std::result::Result<(), Wrong> {
        if let Some(lists) = besides.lists.filter(|_| !self.is_sequence)
            && !lists.bytes.is_empty()
            && are_lists(lists).unwrap_or(false)
        {
            let what = "it is a tf.train.SequenceExample, and its feature_lists would be left out.";
            return Err(Wrong { choose: true, ..wrong(lists.at, what) });
        }
        match besides.shapes {
            Some(shapes) if !self.shapes.is_empty() && shapes.bytes != self.shapes.as_slice() => {
                let what = "its features have other shapes than those of the first record.";
                Err(Wrong { choose: true, ..wrong(shapes.at, what) })
            }
            _ => Ok(()),
        }
    }
}

impl Feature {
    /// The same feature as rows of another shape. Byte strings can be little-endian elements of
    /// another dtype.
    ///
    /// # Errors
    /// Why the feature does not match.
    pub(crate) fn of_spec(&self, asked: &FeatureSpec) -> std::result::Result<Self, String> {
        let spec = &asked.spec;
        if same_bytes(spec, &self.spec) && lists(&self.name, asked)?.contains(&self.kind) {
            let default = default_bytes(&self.name, asked)?;
            return Ok(Self { spec: spec.clone(), default, ..self.clone() });
        }
        Err(format!(
            "feature {:?} is not {spec}: the first record has {}, which are {}",
            self.name,
            self.describe(),
            self.spec
        ))
    }

    /// A feature that the first record lacks, if it has a default.
    ///
    /// # Errors
    /// Why the specification is not possible.
    pub(crate) fn absent(
        name: &str,
        asked: &FeatureSpec,
    ) -> std::result::Result<Option<Self>, String> {
        let (Some((shape, _)), Some(default)) = (asked.spec.fixed(), default_bytes(name, asked)?)
        else {
            return Ok(None);
        };
        let kind = lists(name, asked)?.first().copied().unwrap_or(List::Bytes);
        let count = if kind == List::Bytes { 1 } else { shape.iter().product() };
        let (name, spec) = (name.to_owned(), asked.spec.clone());
        Ok(Some(Self { name, kind, count, spec, default: Some(default) }))
    }

    fn describe(&self) -> String {
        let values = if self.count == 1 { "value" } else { "values" };
        let bytes = self.spec.fixed().and_then(|(_, bytes)| bytes.checked_div(self.count));
        let len = bytes
            .filter(|_| self.kind == List::Bytes)
            .map_or_else(String::new, |len| format!(" of length {len}"));
        format!("{} {values}{len} in its {}", self.count, self.kind.name())
    }
}

/// Writes the values of the `wanted` features of a record into buffers of exactly their size, in
/// native byte order. If `first` is given, unknown features are errors.
///
/// # Errors
/// If the record is not an Example, or its features differ from the first record's.
pub(crate) fn read<'a>(
    record: &[u8],
    wanted: impl ExactSizeIterator<Item = (&'a Feature, &'a mut [u8])>,
    first: Option<&First>,
) -> std::result::Result<(), Wrong> {
    let mut wanted: Vec<(&Feature, &mut [u8], Option<Message<'_>>)> =
        wanted.map(|(feature, out)| (feature, out, None)).collect();
    let besides = features(record, |name, value| {
        match wanted.iter_mut().find(|(feature, ..)| feature.name.as_bytes() == name) {
            Some((_, _, found)) => *found = Some(value),
            // A feature without values counts as missing.
            None if kind(value)?.is_none() => {}
            None => first.map_or(Ok(()), |first| first.check(name))?,
        }
        Ok(())
    })?;
    first.map_or(Ok(()), |first| first.check_besides(besides))?;
    for (feature, out, found) in wanted {
        // With a default, a feature without a list counts as missing, as in TensorFlow.
        let found = match found {
            Some(value) if feature.default.is_some() && kind(value)?.is_none() => None,
            found => found,
        };
        match (found, &feature.default) {
            (Some(value), _) => read_feature(feature, value, out)?,
            (None, Some(default)) => out.copy_from_slice(default),
            (None, None) => {
                return Err(wrong(0, format!("feature {:?} is missing", feature.name)));
            }
        }
    }
    Ok(())
}

fn read_feature(
    feature: &Feature,
    value: Message<'_>,
    out: &mut [u8],
) -> std::result::Result<(), Wrong> {
    let found = kind(value)?;
    let as_first = |what: String| {
        let first =
            if feature.default.is_some() { "other records have" } else { "the first record has" };
        let what =
            format!("feature {:?} has {what}, where {first} {}", feature.name, feature.describe());
        wrong(
            value.at,
            format!(
                "{what}. A feature that is an array is the same in every record. For rows of \
                different lengths, give it a TensorSpec whose first length is unknown"
            ),
        )
    };
    if found != Some(feature.kind) {
        return Err(as_first(found.map_or("no list", List::name).to_owned()));
    }
    let size = out.len().checked_div(feature.count).unwrap_or(0);
    let mut rest = &mut *out;
    let mut count = 0;
    items(value, feature.kind, |item| {
        count += 1;
        let Some((slot, later)) =
            std::mem::take(&mut rest).split_at_mut_checked(size).filter(|_| count <= feature.count)
        else {
            return Ok(()); // too many values: only count the rest
        };
        rest = later;
        match item {
            Item::Bytes(bytes) if bytes.len() == size => slot.copy_from_slice(bytes),
            Item::Bytes(bytes) => {
                return Err(as_first(format!("a byte string of length {}", bytes.len())));
            }
            Item::Float(bytes) => slot.copy_from_slice(&f32::from_le_bytes(bytes).to_ne_bytes()),
            Item::Int(value) => slot.copy_from_slice(&value.to_ne_bytes()),
        }
        Ok(())
    })?;
    if count != feature.count {
        return Err(as_first(format!("{count} values")));
    }
    if feature.kind == List::Bytes && cfg!(target_endian = "big") {
        swap(feature.spec.dtype, out);
    }
    Ok(())
}

/// The error of a record, whose bytes start at `start` of the file.
pub(crate) fn in_record(wrong: Wrong, record: u64, start: u64) -> Error {
    let error = Error::Core(CoreError::Malformed {
        format: "tf.train.Example",
        offset: start.saturating_add(wrong.at as u64),
        what: format!("record {record}: {}", wrong.what),
    });
    if wrong.choose { error.with_hint(Hint::Features) } else { error }
}
