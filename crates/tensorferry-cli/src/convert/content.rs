//! The arrays of a converted file.

use crate::arguments::select::Named;
use crate::outcome::{Outcome, wrong};
use tensorferry::{Array, Casting, DType, Format};

/// The arrays of one file.
#[derive(Debug)]
pub(super) enum Content {
    One(Array),
    ByName(Vec<(String, Array)>),
}

impl Content {
    pub(super) fn new(mut arrays: Vec<Named>, format: Format, name: Option<&str>) -> Outcome<Self> {
        let alone = arrays.len() == 1;
        if let Some(name) = name {
            match arrays.as_mut_slice() {
                [array] => array.name = Some(name.to_owned()),
                _ => {
                    return Err(wrong(format!(
                        "--name {name}: there are {} arrays, which have names of their own",
                        arrays.len()
                    )));
                }
            }
        }
        let by_name = match format {
            // Records of bytes, without shape and dtype, are tfrecord_bytes.
            Format::Npz | Format::SafeTensors | Format::TfRecord => true,
            _ => false,
        };
        if by_name {
            let named = |Named { name, array }: Named| {
                Ok((name.unwrap_or_else(|| "arr_0".into()), for_format(array, format)?))
            };
            return arrays.into_iter().map(named).collect::<Outcome<_>>().map(Self::ByName);
        }
        match (arrays.pop(), alone, name) {
            (Some(array), true, None) => Ok(Self::One(array.array)),
            (_, true, Some(name)) => {
                Err(wrong(format!("--name {name}: {format} files have no names")))
            }
            (last, ..) => {
                let names: Vec<String> = arrays
                    .into_iter()
                    .chain(last)
                    .filter_map(|array| array.name)
                    .take(20)
                    .collect();
                Err(wrong(format!(
                    "a {format} file holds one array. Choose one with --array: {}",
                    names.join(", ")
                )))
            }
        }
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (Option<&str>, &Array)> {
        let (one, many) = match self {
            Self::One(array) => (Some((None, array)), &[][..]),
            Self::ByName(arrays) => (None, arrays.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(name, array)| (Some(name.as_str()), array)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Array> {
        self.named().map(|(_, array)| array)
    }

    pub(super) fn map(
        &self,
        change: impl Fn(&Array) -> tensorferry::Result<Array>,
    ) -> tensorferry::Result<Self> {
        Ok(match self {
            Self::One(array) => Self::One(change(array)?),
            Self::ByName(arrays) => Self::ByName(
                arrays
                    .iter()
                    .map(|(name, array)| Ok((name.clone(), change(array)?)))
                    .collect::<tensorferry::Result<_>>()?,
            ),
        })
    }

    /// The number of rows, the same of all arrays.
    pub(super) fn rows(&self) -> Outcome<usize> {
        let mut rows = None;
        for (name, array) in self.named() {
            let name = name.unwrap_or("the array");
            let Some(&len) = array.shape().first() else {
                return Err(wrong(format!(
                    "--shard-rows: {name} has no dimension, and so no rows"
                )));
            };
            match rows {
                Some((other, first)) if first != len => {
                    let what = format!("--shard-rows: {other} has {first} rows, {name} has {len}");
                    return Err(wrong(format!(
                        "{what}. Each shard has the same rows of all arrays."
                    )));
                }
                _ => rows = Some((name, len)),
            }
        }
        rows.map(|(_, rows)| rows).ok_or_else(|| wrong("there are no arrays"))
    }
}

/// The array in the dtype that the format stores it in.
fn for_format(array: Array, format: Format) -> Outcome<Array> {
    // Converted here, an error names a value by its place in the source.
    if format == Format::TfRecord && array.dtype() == DType::UInt64 {
        return Ok(array.cast(DType::Int64, Casting::Checked)?);
    }
    let wide = matches!(array.dtype(), DType::Float64 | DType::Complex64 | DType::Complex128);
    if format == Format::TfRecord && wide {
        let dtype = array.dtype();
        let what = format!("a tf.train.Example holds float32, int64 and bytes, not {dtype}");
        return Err(wrong(format!(
            "{what}. Convert with --dtype float32, or write records of bytes with --to \
            tfrecord_bytes."
        )));
    }
    Ok(array)
}
