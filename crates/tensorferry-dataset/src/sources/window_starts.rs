//! [`WindowStarts`]: where each window of tokens begins.

use crate::error::{Error, Result};
use crate::shuffle::prng;
use crate::sources::row_splits::Numbers;
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::memory::room::Room;

/// Where each window begins.
#[derive(Clone, Debug)]
pub(crate) struct WindowStarts {
    pub(crate) stride: usize,
    /// Number of windows.
    pub(crate) count: u64,
    documents: Option<Arc<Documents>>,
}

/// The documents that hold a window.
#[derive(Debug)]
struct Documents {
    /// The first token of each.
    first: Vec<u64>,
    /// Windows before each.
    before: Vec<u64>,
    boundaries: Tensor,
}

/// Number of windows that need `span` tokens among `len`.
fn windows(len: u64, span: u64, stride: u64) -> u64 {
    len.checked_sub(span).map_or(0, |room| room / stride + 1)
}

fn wrong(what: String) -> Error {
    Error::Argument { stage: "token_windows", what }
}

impl WindowStarts {
    /// All windows that need `span` tokens, among `len` tokens.
    pub(crate) fn everywhere(len: usize, span: usize, stride: usize) -> Self {
        let count = windows(len as u64, span as u64, stride as u64);
        Self { stride, count, documents: None }
    }

    /// The windows between boundaries.
    ///
    /// # Errors
    /// [`Error::Argument`] if the boundaries do not ascend from 0 to `len`.
    pub(crate) fn between(
        boundaries: &Tensor,
        len: usize,
        span: usize,
        stride: usize,
    ) -> Result<Self> {
        let numbers = Numbers::new(boundaries, ("token_windows", "boundaries"))?;
        let all = numbers.slice()?;
        let (mut first, mut before) = (Vec::new(), Vec::new());
        let (mut count, mut start) = (0_u64, 0_u64);
        for at in 0..=all.len() {
            let end = match all.get(at) {
                Some(end) => u64::try_from(end).unwrap_or(u64::MAX),
                None => len as u64,
            };
            if end < start || end > len as u64 {
                return Err(wrong(format!(
                    "boundaries[{at}] is {} after {start}; they have to rise from 0 to the number \
                    of tokens, {len}",
                    all.get(at).unwrap_or(0)
                )));
            }
            let here = windows(end - start, span as u64, stride as u64);
            if here > 0 {
                first.make_room(1)?;
                before.make_room(1)?;
                first.push(start);
                before.push(count);
                count = count.saturating_add(here);
            }
            start = end;
        }
        let documents = Documents { first, before, boundaries: boundaries.clone() };
        Ok(Self { stride, count, documents: Some(Arc::new(documents)) })
    }

    /// The first token of an existing window.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> u64 {
        let stride = self.stride as u64;
        let Some(documents) = &self.documents else { return index.saturating_mul(stride) };
        let document = documents.before.partition_point(|before| *before <= index) - 1;
        documents.first[document] + (index - documents.before[document]) * stride
    }

    /// The boundaries.
    pub(crate) fn boundaries(&self) -> Option<&Tensor> {
        self.documents.as_ref().map(|documents| &documents.boundaries)
    }

    /// The boundaries, as in a description.
    pub(crate) fn describe(&self) -> String {
        let Some(documents) = &self.documents else { return String::new() };
        let hash = |numbers: &[u64]| {
            numbers.iter().fold(0, |all, number| prng::mix(all ^ prng::mix(number.wrapping_add(1))))
        };
        let hash = prng::mix(hash(&documents.first) ^ hash(&documents.before));
        format!(", boundaries={hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(boundaries: &[i64], len: usize, span: usize, stride: usize) -> Result<Vec<u64>> {
        let boundaries = Tensor::from_vec(boundaries.to_vec(), &[boundaries.len()]).unwrap();
        let starts = WindowStarts::between(&boundaries, len, span, stride)?;
        Ok((0..starts.count).map(|index| starts.get(index)).collect())
    }

    #[test]
    fn a_window_begins_wherever_it_fits_between_boundaries() {
        for boundaries in [&[][..], &[0, 20], &[5, 5, 12], &[0, 1, 2, 3], &[0, 4, 8, 20], &[20, 20]]
        {
            for span in 1..8 {
                for stride in 1..5 {
                    let mut cuts: Vec<u64> =
                        boundaries.iter().map(|cut: &i64| cut.unsigned_abs()).collect();
                    cuts.extend([0, 20]);
                    cuts.sort_unstable();
                    let expected: Vec<u64> = cuts
                        .windows(2)
                        .flat_map(|cut| {
                            (cut[0]..cut[1])
                                .step_by(stride)
                                .filter(move |start| start + span as u64 <= cut[1])
                        })
                        .collect();
                    assert_eq!(starts(boundaries, 20, span, stride).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn boundaries_that_fall_or_lie_outside_are_refused() {
        for boundaries in [&[3, 2][..], &[-1], &[21], &[0, 25]] {
            assert!(starts(boundaries, 20, 1, 1).is_err(), "{boundaries:?}");
        }
    }
}
