//! Strings in elements: rows of bytes, and where each string begins in them.
//!
//! One string is a component of uint8. Several are two components: the bytes of all, and int64
//! splits, one more along the last dimension than there are strings.

use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::Element;
use tensorferry_core::{DType, Index, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::rows_out::{filled, packed, write_row};

/// How [`Dataset::padded_batch`](crate::Dataset::padded_batch) batches the strings of elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringPadding {
    /// The component of their bytes.
    pub component: usize,
    /// Whether an element holds several strings, of which the next component is the splits. One
    /// string is not padded: a batch has its bytes and row splits.
    pub several: bool,
    /// The number of strings to pad several to; `None` for the most in the batch.
    pub len: Option<usize>,
    /// The string to pad several with.
    pub value: Vec<u8>,
}

/// The splits of the strings of an element, of one dimension.
fn splits_of(element: &Element, at: usize) -> Result<Tensor> {
    let splits = packed(element[at + 1].tensor()?)?;
    if splits.shape().len() == 1 && !splits.shape().contains(&0) {
        return Ok(splits);
    }
    let what = format!("row splits of shape {:?}, where strings have one", splits.shape());
    Err(Error::ElementMismatch { what }.in_component(at))
}

fn numbers(splits: &Tensor) -> Result<&[i64]> {
    let damaged = || Error::ElementMismatch { what: "row splits that are not int64".into() };
    splits.view::<i64>()?.as_slice().ok_or_else(damaged)
}

/// The bytes of several strings of each element, padded to one number, and their splits.
pub(crate) fn padded(elements: &[Element], padding: &StringPadding) -> Result<Element> {
    let at = padding.component;
    let all: Vec<Tensor> =
        elements.iter().map(|element| splits_of(element, at)).collect::<Result<_>>()?;
    let counts = all.iter().map(|splits| splits.shape()[0] - 1);
    let most = counts.clone().max().unwrap_or(0);
    let len = padding.len.unwrap_or(most);
    if most > len {
        let what = format!("{most} strings do not fit into the padded shape [{len}]");
        return Err(Error::ElementMismatch { what }.in_component(at));
    }
    let bytes: usize = elements
        .iter()
        .zip(counts)
        .map(|(element, count)| {
            Ok(element[at].tensor()?.layout().len() + (len - count) * padding.value.len())
        })
        .sum::<Result<usize>>()?;
    let mut ends: Vec<i64> = Vec::with_capacity(elements.len() * (len + 1));
    let values = filled(DType::UInt8, &[bytes], |out| {
        let mut done = 0;
        for (element, splits) in elements.iter().zip(&all) {
            let (row, splits) = (element[at].tensor()?, numbers(splits)?);
            let size = row.layout().len();
            write_row(row, &mut out[done..done + size])?;
            ends.extend(splits.iter().map(|end| end.saturating_add_unsigned(done as u64)));
            done += size;
            for _ in splits.len()..=len {
                out[done..done + padding.value.len()].copy_from_slice(&padding.value);
                done += padding.value.len();
                ends.push(i64::try_from(done).unwrap_or(i64::MAX));
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok(vec![values.into(), Tensor::from_vec(ends, &[elements.len(), len + 1])?.into()])
}

/// Whether two components are the bytes of several strings and their splits.
pub(crate) fn are_several(bytes: &TensorSpec, splits: Option<&TensorSpec>) -> bool {
    let rank = splits.and_then(|splits| splits.shape.dims()).map(<[_]>::len);
    bytes.dtype == DType::UInt8
        && splits.is_some_and(|splits| splits.dtype == DType::Int64)
        && matches!(rank, Some(1 | 2))
}

/// The components of rows: `row` of each that holds no strings.
pub(crate) fn rows_spec(
    parts: &[&TensorSpec],
    strings: &[usize],
    row: impl Fn(&&TensorSpec) -> Component,
) -> Vec<Component> {
    let mut spec = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if strings.contains(&at) {
            let bytes = TensorSpec::new(DType::UInt8, Shape::new([None]));
            spec.push(Component::Tensor(bytes));
        } else if at.checked_sub(1).is_none_or(|before| !strings.contains(&before))
            || part.shape.dims().is_some_and(|dims| dims.len() == 2)
        {
            spec.push(row(part));
        }
    }
    spec
}

/// Number of rows of an element's strings, whose bytes are component `at`.
pub(crate) fn rows(element: &Element, at: usize) -> Result<Option<usize>> {
    let shape = element[at + 1].tensor()?.shape();
    Ok(match shape {
        [splits] => splits.checked_sub(1),
        [rows, _] => Some(*rows),
        _ => None,
    })
}

/// Row `index` of an element's strings: one string, or the bytes and splits of several.
pub(crate) fn row(element: &Element, at: usize, index: usize) -> Result<Element> {
    let damaged = || {
        let what = "row splits of strings that do not lie in their bytes".into();
        Error::ElementMismatch { what }.in_component(at)
    };
    let values = element[at].tensor()?;
    let all = packed(element[at + 1].tensor()?)?;
    let width = if let [_, width] = all.shape() { *width } else { 2 };
    let step = if all.shape().len() == 2 { width } else { 1 };
    let ends = numbers(&all)?;
    let ends = ends.get(index * step..index * step + width).ok_or_else(damaged)?;
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Err(damaged()) };
    let range = usize::try_from(*first).ok().zip(usize::try_from(*last).ok());
    let (start, end) = range
        .filter(|(start, end)| start <= end && *end <= values.layout().len())
        .ok_or_else(damaged)?;
    let bytes = values.index(&[Index::Slice { start, step: 1, len: end - start }])?;
    if all.shape().len() == 1 {
        return Ok(vec![bytes.into()]);
    }
    let own: Vec<i64> = ends.iter().map(|end| end - first).collect();
    Ok(vec![bytes.into(), Tensor::from_vec(own, &[width])?.into()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::streamed;
    use crate::sources::ragged::Ragged;
    use crate::stage::Dataset;
    use crate::testing::{
        assert_goes_on_after_a_stop, assert_rebuilds, assert_rejects_damage, assert_resumes, range,
        rest, stream,
    };
    use crate::{BatchOptions, PaddedBatchOptions};

    const WORDS: [&str; 5] = ["ab", "", "cde", "f", ""];

    fn words() -> Dataset {
        let lengths: Vec<i64> = WORDS.iter().map(|word| word.len().try_into().unwrap()).collect();
        let values = WORDS.concat().into_bytes();
        let count = values.len();
        let values = Tensor::from_vec(values, &[count]).unwrap();
        let lengths = Tensor::from_vec(lengths, &[5]).unwrap();
        Dataset::from_ragged([Ragged::from_row_lengths(values, &lengths).unwrap()]).unwrap()
    }

    /// A number and a string.
    fn pairs() -> Dataset {
        Dataset::zip(vec![range(5), words()]).unwrap()
    }

    fn options(strings: Vec<StringPadding>) -> PaddedBatchOptions {
        PaddedBatchOptions { strings, ..PaddedBatchOptions::default() }
    }

    fn check(plan: &Dataset) {
        assert_resumes(plan);
        assert_rejects_damage(plan);
        assert_goes_on_after_a_stop(plan);
    }

    #[test]
    fn one_string_of_each_element_is_batched_as_without_padding() {
        let one = vec![StringPadding { component: 1, ..StringPadding::default() }];
        for input in [pairs(), streamed(&pairs())] {
            let padded = input.padded_batch(2, options(one.clone())).unwrap();
            let plain = input.batch_ragged(2, &[1], BatchOptions::default()).unwrap();
            assert_eq!(padded.spec(), plain.spec());
            assert_eq!(rest(&mut stream(&padded)), rest(&mut stream(&plain)));
            check(&padded);
        }
        assert_rebuilds(&pairs().padded_batch(2, options(one)).unwrap());
        let wrong = vec![StringPadding::default()];
        let error = pairs().padded_batch(2, options(wrong)).unwrap_err().to_string();
        assert!(error.contains("holds no strings"), "{error}");
    }

    #[test]
    fn rows_of_batches_are_the_strings() {
        for size in [1, 2, 5, 7] {
            for input in [pairs(), streamed(&pairs())] {
                let batches = input.batch_ragged(size, &[1], BatchOptions::default()).unwrap();
                let rows = batches.unbatch_strings(&[1]).unwrap();
                assert_eq!(rows.spec(), pairs().spec());
                assert_eq!(rest(&mut stream(&rows)), rest(&mut stream(&pairs())));
                check(&rows);
            }
        }
        let rows = pairs().batch_ragged(2, &[1], BatchOptions::default()).unwrap();
        assert_rebuilds(&rows.unbatch_strings(&[1]).unwrap());
        assert!(pairs().unbatch_strings(&[0]).is_err());
        assert!(pairs().unbatch_strings(&[1]).is_err());
    }

    #[test]
    fn several_strings_are_padded_and_their_rows_are_several() {
        let several =
            StringPadding { several: true, value: b"-".to_vec(), ..StringPadding::default() };
        let batches = pairs().batch_ragged(3, &[1], BatchOptions::default()).unwrap();
        for input in [batches.clone(), streamed(&batches)] {
            let input = input.components(&[1, 2]).unwrap();
            let strings = vec![several.clone()];
            let padded = input.padded_batch(2, options(strings)).unwrap();
            let batch = padded.iter().next().unwrap().unwrap();
            let bytes = batch[0].tensor().unwrap().view::<u8>().unwrap();
            assert_eq!(bytes.as_slice(), Some(&b"abcdef-"[..]));
            let splits = batch[1].tensor().unwrap();
            assert_eq!(splits.shape(), [2, 4]);
            let ends: Vec<i64> = splits.view::<i64>().unwrap().iter().collect();
            assert_eq!(ends, [0, 2, 2, 5, 5, 6, 6, 7]);
            check(&padded);
            let rows = padded.unbatch_strings(&[0]).unwrap();
            assert_eq!(rows.spec().len(), 2);
            check(&rows);
            let row = row(&batch, 0, 1).unwrap();
            let ends: Vec<i64> = row[1].tensor().unwrap().view::<i64>().unwrap().iter().collect();
            assert_eq!(ends, [0, 1, 1, 2]);
            let short = StringPadding { len: Some(2), ..several.clone() };
            let short = input.padded_batch(2, options(vec![short])).unwrap();
            let error = short.iter().next().unwrap().unwrap_err().to_string();
            assert!(error.contains("3 strings do not fit"), "{error}");
        }
    }

    #[test]
    fn damaged_splits_are_an_error() {
        let element = |splits: Vec<i64>| {
            let count = splits.len();
            vec![
                Tensor::from_vec(b"abc".to_vec(), &[3]).unwrap().into(),
                Tensor::from_vec(splits, &[count]).unwrap().into(),
            ]
        };
        for splits in [vec![0, 4], vec![2, 1], vec![-1, 2], vec![0]] {
            assert!(row(&element(splits), 0, 0).is_err());
        }
        assert!(row(&element(vec![0, 3]), 0, 1).is_err());
    }
}
