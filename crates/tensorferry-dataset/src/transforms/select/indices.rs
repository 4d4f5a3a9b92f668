//! The indices of a [`select`](crate::stage::Dataset::select): in memory, or read from a file
//! together with the elements.

use crate::error::{Error, Result};
use crate::shuffle::prng;
use std::sync::Arc;
use tensorferry_core::{Casting, DType, Kind, Tensor};
use tensorferry_io::array::array::Array;
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::memory::room::Room;

/// Bytes of indices in a file that are read into memory when the dataset is made. More are read
/// with each batch.
const LOADED: usize = 64 << 20;

/// Indices of elements, all checked.
#[derive(Clone, Debug)]
pub(crate) struct Indices {
    place: Place,
    pub(crate) len: u64,
    /// One more than the largest index.
    pub(crate) end: u64,
    /// A hash of all indices, wherever they are.
    pub(crate) hash: u64,
}

#[derive(Clone, Debug)]
enum Place {
    /// Less than 2^32. Half the memory, and half the cache misses of a shuffle.
    Narrow(Arc<Vec<u32>>),
    Wide(Arc<Vec<u64>>),
    /// In a file.
    Opened(Array),
}

/// The element that an index means, counted from the end if it is negative, as in NumPy. Without
/// `n`, the dataset is infinite.
fn resolve(given: i128, position: u64, n: Option<u64>) -> Result<u64> {
    let from_start = if given < 0 { given + i128::from(n.unwrap_or(0)) } else { given };
    let index = u64::try_from(from_start).ok().filter(|&index| n.is_none_or(|n| index < n));
    index.ok_or(Error::NoElement { stage: "select", position, index: given, len: n })
}

/// Collects indices, in as little memory as they need.
#[derive(Default)]
struct Collected {
    narrow: Vec<u32>,
    /// All indices, once one of them needs 64 bits.
    wide: Vec<u64>,
    keeps: bool,
    len: u64,
    end: u64,
    hash: u64,
}

impl Collected {
    fn push(&mut self, index: u64) -> Result<()> {
        self.len += 1;
        self.end = self.end.max(index.saturating_add(1));
        self.hash = prng::hashed(self.hash, index);
        match u32::try_from(index) {
            _ if !self.keeps => {}
            Ok(index) if self.wide.is_empty() => self.narrow.push(index),
            _ => {
                self.wide.make_room(self.narrow.len() + 1)?;
                self.wide.extend(std::mem::take(&mut self.narrow).into_iter().map(u64::from));
                self.wide.push(index);
            }
        }
        Ok(())
    }

    fn make_room(&mut self, more: usize) -> Result<()> {
        let room = match (self.keeps, self.wide.is_empty()) {
            (false, _) => Ok(()),
            (true, true) => self.narrow.make_room(more),
            (true, false) => self.wide.make_room(more),
        };
        Ok(room?)
    }

    fn indices(self, opened: Option<Array>) -> Indices {
        let place = match opened {
            Some(array) => Place::Opened(array),
            None if self.wide.is_empty() => Place::Narrow(self.narrow.into()),
            None => Place::Wide(self.wide.into()),
        };
        Indices { place, len: self.len, end: self.end, hash: self.hash }
    }
}

impl Indices {
    /// The indices in an array of integers, or those of the true values of a mask, for a dataset of
    /// `n` elements; `None` if it is infinite.
    ///
    /// # Errors
    /// [`Error::NoElement`] for the first index without an element; [`Error::Argument`] for an
    /// array of another kind, or a mask of another length.
    pub(crate) fn new(array: &Array, n: Option<u64>) -> Result<Self> {
        Self::loading(array, n, LOADED)
    }

    /// As [`Indices::new`]. Indices of more than `loaded` bytes in a file stay there.
    fn loading(array: &Array, n: Option<u64>, loaded: usize) -> Result<Self> {
        let is_mask = check(array, n)?;
        let in_place = !is_mask && array.paths().len() > 0 && array.nbytes() > loaded;
        let mut all = Collected { keeps: !in_place, ..Collected::default() };
        let mut position = 0;
        for rows in array.chunks() {
            let rows = rows?;
            all.make_room(rows.shape()[0])?;
            each(&rows, |given| {
                match is_mask {
                    false => all.push(resolve(given, position, n)?)?,
                    true if given != 0 => all.push(position)?,
                    true => {}
                }
                position += 1;
                Ok(())
            })?;
        }
        Ok(all.indices(in_place.then(|| array.clone())))
    }

    /// Replaces the index of each request by the one at that place, for a dataset of `n` elements.
    pub(crate) fn locate_all(
        &self,
        requests: &mut [RowRequest],
        n: Option<u64>,
        cancel: &CancelToken,
    ) -> Result<()> {
        match &self.place {
            Place::Narrow(all) => requests
                .iter_mut()
                .for_each(|request| request.index = u64::from(all[place(request.index)])),
            Place::Wide(all) => {
                requests.iter_mut().for_each(|request| request.index = all[place(request.index)]);
            }
            Place::Opened(array) => {
                let positions: Vec<usize> =
                    requests.iter().map(|request| place(request.index)).collect();
                let mut requests = requests.iter_mut();
                each(&array.cancelled_by(cancel).rows(&positions)?, |given| {
                    if let Some(request) = requests.next() {
                        // Checked again: the file may have changed.
                        request.index = resolve(given, request.index, n)?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The first of `len` consecutive indices at `start`; `None` if they are not, or in a file.
    pub(crate) fn run(&self, start: u64, len: usize) -> Option<u64> {
        fn first<T: Copy + Into<u64>>(all: &[T], start: u64, len: usize) -> Option<u64> {
            let all = all.get(place(start)..)?.get(..len)?;
            let (first, last): (u64, u64) = ((*all.first()?).into(), (*all.last()?).into());
            let follows = |pair: &[T]| pair[0].into().checked_add(1) == Some(pair[1].into());
            (last.wrapping_sub(first) == len as u64 - 1 && all.windows(2).all(follows))
                .then_some(first)
        }
        match &self.place {
            Place::Narrow(all) => first(all, start, len),
            Place::Wide(all) => first(all, start, len),
            Place::Opened(_) => None,
        }
    }

    /// The array that indices are read from with the elements.
    pub(crate) fn opened(&self) -> Option<&Array> {
        match &self.place {
            Place::Opened(array) => Some(array),
            _ => None,
        }
    }
}

/// Whether an array of indices is a mask, if it is one that `select` takes.
fn check(array: &Array, n: Option<u64>) -> Result<bool> {
    let (dtype, shape) = (array.dtype(), array.shape());
    let what = match (dtype, n) {
        _ if shape.len() != 1 || !(dtype.is_integer() || dtype == DType::Bool) => format!(
            "indices have to be integers or bools in one dimension, not {dtype} of shape {shape:?}"
        ),
        (DType::Bool, None) => {
            "an infinite dataset cannot have a mask. Take a part of it with take(n).".into()
        }
        (DType::Bool, Some(n)) if shape[0] as u64 != n => format!(
            "the mask has {} values and the dataset {n} elements. Give one bool for each.",
            shape[0]
        ),
        _ => return Ok(dtype == DType::Bool),
    };
    Err(Error::Argument { stage: "select", what })
}

/// A position in memory. One that is too large is in no array.
fn place(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Calls `work` with each integer of a tensor of one dimension; bools are 0 and 1.
fn each(rows: &Tensor, mut work: impl FnMut(i128) -> Result<()>) -> Result<()> {
    let wide = if rows.dtype().kind() == Kind::Unsigned { DType::UInt64 } else { DType::Int64 };
    let rows = tensorferry_io::convert(&rows.as_view(), wide, Casting::Checked)?;
    if wide == DType::UInt64 {
        return rows.view::<u64>()?.iter().try_for_each(|given| work(given.into()));
    }
    rows.view::<i64>()?.iter().try_for_each(|given| work(given.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::noise;
    use tensorferry_io::format::npy::save_npy;
    use tensorferry_io::open::open_with;
    use tensorferry_io::storage::mode::Mode;

    fn located(indices: &Indices, n: u64) -> Result<Vec<u64>> {
        let mut requests: Vec<RowRequest> =
            (0..indices.len).zip(0..).map(|(index, slot)| RowRequest { index, slot }).collect();
        indices.locate_all(&mut requests, Some(n), &CancelToken::default())?;
        Ok(requests.iter().map(|request| request.index).collect())
    }

    fn array(indices: &[i64]) -> Array {
        Array::try_from(Tensor::from_vec(indices.to_vec(), &[indices.len()]).unwrap()).unwrap()
    }

    #[test]
    fn indices_in_memory_and_in_files_are_the_same() -> Result<()> {
        let n = 1_i64 << 33;
        let directory = tempfile::tempdir().unwrap();
        for (at, most) in [(0, 100_u64), (1, 1 << 33)] {
            let given: Vec<i64> = noise(at)
                .take(3000)
                .map(|bits| (bits % most).cast_signed() - if bits % 3 == 0 { 100 } else { 0 })
                .collect();
            let n = n.max(0).cast_unsigned().min(most.max(100));
            let expected: Vec<u64> = given
                .iter()
                .map(|&index| if index < 0 { index + n.cast_signed() } else { index })
                .map(i64::cast_unsigned)
                .collect();
            let path = directory.path().join(format!("{at}.npy"));
            save_npy(&path, &Tensor::from_vec(given.clone(), &[3000])?.as_view())?;
            let memory = Indices::new(&array(&given), Some(n))?;
            assert_eq!(located(&memory, n)?, expected);
            assert_eq!(memory.end, expected.iter().max().unwrap() + 1);
            for mode in [Mode::Map, Mode::Read] {
                let file = open_with(&[&path], &mode.into())?.array()?;
                for loaded in [0, 1 << 20] {
                    let file = Indices::loading(&file, Some(n), loaded)?;
                    assert_eq!(file.opened().is_some(), loaded == 0);
                    assert_eq!(located(&file, n)?, expected);
                    assert_eq!((file.len, file.hash), (memory.len, memory.hash));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_run_is_found_where_indices_follow_one_another() -> Result<()> {
        for base in [0, 1 << 32] {
            let given = [5, 6, 7, 9, 8, 10].map(|index| index + base);
            let indices = Indices::new(&array(&given), Some(1 << 40))?;
            for start in 0..6_usize {
                for len in 1..=6 - start {
                    let rows = &given[start..start + len];
                    let expected = rows.windows(2).all(|pair| pair[0] + 1 == pair[1]);
                    let run = indices.run(start as u64, len);
                    assert_eq!(run, expected.then(|| rows[0].cast_unsigned()), "{start} {len}");
                }
            }
        }
        Ok(())
    }
}
