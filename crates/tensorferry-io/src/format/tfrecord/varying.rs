//! A feature whose number of values differs between records.

use crate::format::file_format::{FeatureSpec, Strings};
use crate::format::tfrecord::asked::{default_bytes, lists};
use crate::format::tfrecord::example::{Item, entry, features, items, kind};
use crate::format::tfrecord::wire::{Field, List, Message, Wrong, wrong};
use crate::gather::byte_order::swap;
use std::ops::Range;
use tensorferry_core::{DType, Shape, TensorSpec};

/// The feature, and the items of its rows: one number, or a tensor of fixed shape.
#[derive(Clone, Debug)]
pub(super) struct Varying {
    /// Name of the array.
    pub(crate) array: String,
    /// Name of the feature.
    name: String,
    /// dtype and shape of an item.
    pub(crate) item: TensorSpec,
    /// Values of an item, and their bytes. For byte strings, both are the item's bytes.
    count: usize,
    size: usize,
    /// The lists that may hold the values.
    lists: Vec<List>,
    /// Items of a row without the feature, in native byte order.
    default: Option<Vec<u8>>,
    /// Whether the items are the entries of a feature list.
    is_sequence: bool,
    /// What the row of byte strings is, if it is not the items that one of them holds.
    strings: Option<Strings>,
}

/// What a record has under the name of a feature.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    Nothing,
    Feature(Message<'a>),
    /// A feature for each item.
    List(Message<'a>),
}

impl Varying {
    /// The feature of a specification whose first length is unknown; `None` for any other.
    ///
    /// # Errors
    /// Why the specification is not possible.
    pub(super) fn of_spec(name: &str, asked: &FeatureSpec) -> Result<Option<Self>, String> {
        if let Some(strings) = asked.strings {
            return Self::of_strings(name, asked, strings).map(Some);
        }
        let dtype = asked.spec.dtype;
        let inner = match asked.spec.shape.dims() {
            Some([None, inner @ ..]) => inner,
            _ => return Ok(None),
        };
        let Some(inner) = inner.iter().copied().collect::<Option<Vec<usize>>>() else {
            return Err(format!(
                "feature {name:?} cannot be {}: only the first length may be unknown",
                asked.spec
            ));
        };
        let item = TensorSpec::new(dtype, Shape::fixed(&inner));
        let Some((_, size)) = item.fixed().filter(|(_, size)| *size > 0) else {
            return Err(format!(
                "feature {name:?} cannot be {}: its rows hold nothing",
                asked.spec
            ));
        };
        let count = size / dtype.size();
        let lists = lists(name, asked)?;
        if asked.sequence && lists.first() == Some(&List::Bytes) {
            return Err(format!(
                "feature {name:?} cannot be a list of byte strings, which are rows of rows"
            ));
        }
        let default = default_bytes(name, asked)?;
        if default.as_ref().is_some_and(|default| default.len() % size != 0) {
            return Err(format!(
                "feature {name:?}: its default is not a whole number of items of {item}"
            ));
        }
        Ok(Some(Self {
            array: name.to_owned(),
            name: asked.key.as_deref().unwrap_or(name).to_owned(),
            item,
            count,
            size,
            lists,
            default,
            is_sequence: asked.sequence,
            strings: None,
        }))
    }

    /// The feature of byte strings, or of where they begin.
    fn of_strings(name: &str, asked: &FeatureSpec, strings: Strings) -> Result<Self, String> {
        let (dtype, shape) = match strings {
            Strings::Joined(_) => (DType::UInt8, Shape::fixed(&[])),
            Strings::Splits(None) => (DType::Int64, Shape::fixed(&[])),
            Strings::Splits(Some(count)) => {
                (DType::Int64, Shape::fixed(&[count.saturating_add(1)]))
            }
        };
        let item = TensorSpec::new(dtype, shape);
        let (count, size) = match item.fixed() {
            Some((_, size)) => (size / dtype.size(), size),
            None => return Err(format!("feature {name:?}: too many strings in a row")),
        };
        let default = default_bytes(name, asked)?;
        if default.as_ref().is_some_and(|default| default.len() % size != 0) {
            return Err(format!("feature {name:?}: its default is not {item}"));
        }
        Ok(Self {
            array: name.to_owned(),
            name: asked.key.as_deref().unwrap_or(name).to_owned(),
            item,
            count,
            size,
            lists: vec![List::Bytes],
            default,
            is_sequence: asked.sequence,
            strings: Some(strings),
        })
    }

    /// Number of items in a record.
    ///
    /// # Errors
    /// Why the record is not an Example, or its feature is not a row.
    pub(super) fn len(&self, found: Found<'_>) -> Result<usize, Wrong> {
        if let Some(strings) = self.strings {
            return self.len_of_strings(found, strings);
        }
        if let Found::List(list) = found {
            return self.entries(list, |_| Ok(()));
        }
        let Some((value, list)) = self.list(found)? else {
            return Ok(self.default.as_ref().map_or(0, |default| default.len() / self.size));
        };
        let (mut values, mut bytes) = (0_usize, 0);
        items(value, list, |item| {
            values += 1;
            if let Item::Bytes(string) = item {
                bytes = string.len();
            }
            Ok(())
        })?;
        if list != List::Bytes {
            return self.whole(values, self.count, "values", value);
        }
        match values {
            0 => Ok(0),
            1 => self.whole(bytes, self.size, "bytes", value),
            _ => Err(self.wrong(
                value,
                &format!("{values} byte strings, which are rows of rows: a row is one byte string"),
            )),
        }
    }

    fn len_of_strings(&self, found: Found<'_>, strings: Strings) -> Result<usize, Wrong> {
        let mut bytes = 0_usize;
        let Some(count) = self.strings(found, strings, |string| {
            bytes = bytes.saturating_add(string.len());
        })?
        else {
            return Ok(self.default.as_ref().map_or(0, |default| default.len() / self.size));
        };
        Ok(match strings {
            Strings::Joined(_) => bytes,
            Strings::Splits(Some(_)) => 1,
            Strings::Splits(None) => count.saturating_add(1),
        })
    }

    /// Calls `each` with every byte string of a record. Returns their number; `None` if the record
    /// lacks the feature, which has a default.
    ///
    /// # Errors
    /// If they are not as many as were asked for, or no byte strings.
    fn strings<'a>(
        &self,
        found: Found<'a>,
        strings: Strings,
        mut each: impl FnMut(&'a [u8]),
    ) -> Result<Option<usize>, Wrong> {
        let (Strings::Joined(asked) | Strings::Splits(asked)) = strings;
        let (mut count, mut at) = (0_usize, 0);
        if let Found::List(mut list) = found {
            while let Some((number, field)) = list.field()? {
                let (1, Field::Bytes(entry)) = (number, field) else { continue };
                let value = self.list(Found::Feature(entry))?;
                let inside = match value {
                    Some((value, _)) => self.byte_strings(value, &mut each)?,
                    None => 0,
                };
                if inside != 1 {
                    let what = format!("{inside} byte strings at {count} of its list, not 1");
                    return Err(self.wrong(entry, &what));
                }
                (count, at) = (count + 1, entry.at);
            }
        } else {
            let Some((value, _)) = self.list(found)? else { return Ok(None) };
            (count, at) = (self.byte_strings(value, &mut each)?, value.at);
        }
        if let Some(asked) = asked.filter(|asked| *asked != count) {
            let what = format!("{count} byte strings, where {asked} were asked for");
            return Err(self.wrong(Message { bytes: &[], at }, &what));
        }
        Ok(Some(count))
    }

    /// Calls `each` with every byte string of a list. Returns their number.
    fn byte_strings<'a>(
        &self,
        value: Message<'a>,
        each: &mut impl FnMut(&'a [u8]),
    ) -> Result<usize, Wrong> {
        let mut count = 0;
        items(value, List::Bytes, |item| {
            if let Item::Bytes(string) = item {
                each(string);
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn whole(
        &self,
        found: usize,
        one: usize,
        unit: &str,
        value: Message<'_>,
    ) -> Result<usize, Wrong> {
        if found.is_multiple_of(one) {
            return Ok(found / one);
        }
        let what = format!("{found} {unit}, not a whole number of {} (each {one})", self.item);
        Err(self.wrong(value, &what))
    }

    fn wrong(&self, value: Message<'_>, has: &str) -> Wrong {
        wrong(value.at, format!("feature {:?} has {has}", self.name))
    }

    /// The feature's message and list. `None` if it is missing and has a default.
    fn list<'a>(&self, found: Found<'a>) -> Result<Option<(Message<'a>, List)>, Wrong> {
        // A feature without a list counts as missing, as in TensorFlow.
        let found = match found {
            Found::Feature(value) | Found::List(value) => kind(value)?.map(|list| (value, list)),
            Found::Nothing => None,
        };
        match found {
            Some((value, list)) if !self.lists.contains(&list) => {
                let lists: Vec<&str> = self.lists.iter().map(|list| list.name()).collect();
                let what = format!("a {}, where {} was asked for", list.name(), lists.join(" or "));
                Err(self.wrong(value, &what))
            }
            None if self.default.is_none() => Err(missing(&self.name)),
            found => Ok(found),
        }
    }

    /// Calls `each` with every entry of a feature list. Returns their number.
    ///
    /// # Errors
    /// Those of `each`; if an entry is not an item.
    fn entries<'a>(
        &self,
        mut list: Message<'a>,
        mut each: impl FnMut(Message<'a>) -> Result<(), Wrong>,
    ) -> Result<usize, Wrong> {
        let mut entries = 0;
        while let Some((number, field)) = list.field()? {
            let (1, Field::Bytes(entry)) = (number, field) else { continue };
            let values = match self.list(Found::Feature(entry))? {
                Some((value, list)) if list != List::Bytes => number_of(value, list)?,
                Some(_) => {
                    return Err(
                        self.wrong(entry, "byte strings in its list, which are rows of rows")
                    );
                }
                None => 0,
            };
            if values != self.count {
                let what = format!("{values} values at {entries} of its list, not {}", self.count);
                return Err(self.wrong(entry, &what));
            }
            each(entry)?;
            entries += 1;
        }
        Ok(entries)
    }

    /// Writes items of the row of a record, which must have as many as when they were counted.
    ///
    /// # Errors
    /// As [`Varying::len`]; if there are fewer items.
    pub(super) fn read(
        &self,
        record: &[u8],
        wanted: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), Wrong> {
        let found = find(record, std::slice::from_ref(self))?;
        let mut bytes = Window { out, start: wanted.start * self.size, at: 0 };
        let mut swapped = false;
        match (found.first().copied().unwrap_or(Found::Nothing), self.strings) {
            (found, Some(strings)) => self.read_strings(found, strings, &mut bytes)?,
            (Found::List(list), None) => {
                self.entries(list, |entry| values(entry, self.lists[0], &mut bytes))?;
            }
            (found, None) => match self.list(found)? {
                Some((value, list)) => {
                    values(value, list, &mut bytes)?;
                    swapped = list == List::Bytes && cfg!(target_endian = "big");
                }
                None => bytes.take(self.default.as_deref().unwrap_or_default()),
            },
        }
        if bytes.at < wanted.end * self.size {
            return Err(wrong(0, format!("feature {:?} has fewer values than before", self.name)));
        }
        if swapped {
            swap(self.item.dtype, bytes.out);
        }
        Ok(())
    }

    fn read_strings(
        &self,
        found: Found<'_>,
        strings: Strings,
        bytes: &mut Window<'_>,
    ) -> Result<(), Wrong> {
        let splits = matches!(strings, Strings::Splits(_));
        let mut end = 0_i64;
        let mut begun = false;
        let count = self.strings(found, strings, |string| {
            if !splits {
                return bytes.take(string);
            }
            if !std::mem::replace(&mut begun, true) {
                bytes.take(&end.to_ne_bytes());
            }
            end = end.saturating_add_unsigned(string.len() as u64);
            bytes.take(&end.to_ne_bytes());
        })?;
        match count {
            None => bytes.take(self.default.as_deref().unwrap_or_default()),
            Some(0) if splits => bytes.take(&end.to_ne_bytes()),
            Some(_) => {}
        }
        Ok(())
    }
}

/// The bytes of a row from `start` on, of which the first `at` have been seen.
struct Window<'a> {
    out: &'a mut [u8],
    start: usize,
    at: usize,
}

impl Window<'_> {
    /// Writes those of the next bytes that are wanted.
    fn take(&mut self, bytes: &[u8]) {
        let before = self.at;
        self.at += bytes.len();
        let from = before.max(self.start);
        let to = self.at.min(self.start + self.out.len());
        if from < to {
            self.out[from - self.start..to - self.start]
                .copy_from_slice(&bytes[from - before..to - before]);
        }
    }
}

/// Passes the values of a feature to `out`.
fn values(feature: Message<'_>, list: List, out: &mut Window<'_>) -> Result<(), Wrong> {
    items(feature, list, |item| {
        match item {
            Item::Bytes(string) => out.take(string),
            Item::Float(value) => out.take(&f32::from_le_bytes(value).to_ne_bytes()),
            Item::Int(value) => out.take(&value.to_ne_bytes()),
        }
        Ok(())
    })
}

fn number_of(feature: Message<'_>, list: List) -> Result<usize, Wrong> {
    let mut count = 0;
    items(feature, list, |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What a record has under the name of each feature. If a name occurs twice, the last one counts.
///
/// # Errors
/// If the record is not an Example.
pub(super) fn find<'a>(record: &'a [u8], asked: &[Varying]) -> Result<Vec<Found<'a>>, Wrong> {
    let mut found = vec![Found::Nothing; asked.len()];
    let besides = features(record, |name, value| {
        for (feature, found) in asked.iter().zip(&mut found) {
            if feature.name.as_bytes() == name {
                *found = Found::Feature(value);
            }
        }
        Ok(())
    })?;
    for (feature, found) in asked.iter().zip(&mut found).filter(|(asked, _)| asked.is_sequence) {
        // Without feature lists, the record may be an Example.
        if besides.lists.is_some() || feature.default.is_none() {
            *found = Found::Nothing;
        }
    }
    let mut lists = besides.lists.unwrap_or(Message { bytes: &[], at: 0 });
    while let Some((number, field)) = lists.field()? {
        let (1, Field::Bytes(pair)) = (number, field) else { continue };
        let (name, list) = entry(pair)?;
        for (feature, found) in asked.iter().zip(&mut found) {
            if feature.is_sequence && feature.name.as_bytes() == name {
                *found = Found::List(list);
            }
        }
    }
    Ok(found)
}

/// The error of a record without a feature that has no default.
fn missing(name: &str) -> Wrong {
    wrong(0, format!("feature {name:?} is missing, and has no default"))
}
