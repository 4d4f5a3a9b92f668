//! [`Fragment`]: a part of a row in a window.

use crate::error::Error;

/// A row, or a part of it, in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Index of the row's element.
    pub(crate) row: u64,
    /// The first token of the row that belongs to the window.
    pub(crate) start: usize,
    /// Number of tokens of the row.
    pub(crate) len: usize,
    /// Whether the end-of-sequence token follows.
    pub(crate) ends: bool,
    /// The first token's place in the window.
    pub(crate) at: usize,
}

impl Fragment {
    /// Number of tokens in the window, with the end-of-sequence token.
    pub(crate) fn total(&self) -> usize {
        self.len + usize::from(self.ends)
    }
}

/// The place in a sequence of rows at which a window begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the row.
    pub(crate) row: u64,
    /// Tokens of it, end-of-sequence token included, that belong to earlier windows.
    pub(crate) offset: usize,
}

/// Windows of `length` tokens. With `eos`, a token is appended to each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) length: usize,
    pub(crate) eos: bool,
}

impl Window {
    /// Number of tokens that a row of `len` tokens adds.
    pub(crate) fn tokens(self, len: usize) -> usize {
        len.saturating_add(usize::from(self.eos))
    }

    /// Adds the next part of the row at `place`, of `len` tokens, to a window with `filled` tokens.
    /// Moves `place`. Returns `None` for an empty row.
    pub(crate) fn add(self, place: &mut Place, len: usize, filled: usize) -> Option<Fragment> {
        let total = self.tokens(len);
        let taken = (total - place.offset.min(total)).min(self.length - filled);
        let (row, start) = (place.row, place.offset.min(len));
        let tokens = (len - start).min(taken);
        place.offset += taken;
        if place.offset >= total {
            *place = Place { row: place.row.saturating_add(1), offset: 0 };
        }
        (taken > 0).then_some(Fragment {
            row,
            start,
            len: tokens,
            ends: taken > tokens,
            at: filled,
        })
    }
}

/// The error for component `at` of a row, whose length is not that of the first.
pub(crate) fn unequal(first: usize, at: usize, len: usize) -> Error {
    let parts = Box::new([(0.into(), first), (at.into(), len)]);
    Error::UnequalLengths { stage: "pack", axis: None, parts }
}

/// Writes the numbers of the segments, from 1 on, and 0 where the window is empty.
pub(crate) fn write_segments(fragments: &[Fragment], out: &mut [u8]) {
    let (tokens, _) = out.as_chunks_mut::<4>();
    let mut end = 0;
    for (number, fragment) in (1_i32..).zip(fragments) {
        end = fragment.at + fragment.total();
        tokens[fragment.at..end].fill(number.to_ne_bytes());
    }
    tokens[end..].fill([0; 4]);
}

/// Writes the position of each token in its segment, and 0 where the window is empty.
pub(crate) fn write_positions(fragments: &[Fragment], out: &mut [u8]) {
    let (tokens, _) = out.as_chunks_mut::<4>();
    let mut end = 0;
    for fragment in fragments {
        end = fragment.at + fragment.total();
        for (position, token) in (0_i32..).zip(&mut tokens[fragment.at..end]) {
            *token = position.to_ne_bytes();
        }
    }
    tokens[end..].fill([0; 4]);
}

/// Writes the end-of-sequence tokens, and fills the end of the window with the same or with 0.
pub(crate) fn write_ends(fragments: &[Fragment], eos: Option<&[u8]>, size: usize, out: &mut [u8]) {
    let mut end = 0;
    for fragment in fragments {
        end = fragment.at + fragment.total();
        if let Some(eos) = eos.filter(|_| fragment.ends) {
            out[(end - 1) * size..end * size].copy_from_slice(eos);
        }
    }
    let rest = &mut out[end * size..];
    match eos {
        Some(eos) => rest.chunks_exact_mut(size).for_each(|token| token.copy_from_slice(eos)),
        None => rest.fill(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_at_the_end_of_a_window() {
        let window = Window { length: 4, eos: true };
        let lens = [2_usize, 0, 6];
        let mut place = Place::default();
        let mut windows = Vec::new();
        while place.row < 3 {
            let (mut filled, mut all) = (0, Vec::new());
            while filled < 4 && place.row < 3 {
                let len = lens[usize::try_from(place.row).unwrap()];
                let fragment = window.add(&mut place, len, filled).unwrap();
                filled += fragment.total();
                all.push(fragment);
            }
            windows.push(all);
        }
        let of = |row, start, len, ends, at| Fragment { row, start, len, ends, at };
        assert_eq!(
            windows,
            [
                vec![of(0, 0, 2, true, 0), of(1, 0, 0, true, 3)],
                vec![of(2, 0, 4, false, 0)],
                vec![of(2, 4, 2, true, 0)],
            ]
        );
        let ints = |bytes: &[u8]| -> Vec<i32> {
            bytes.as_chunks().0.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect()
        };
        let mut bytes = [9; 16];
        write_segments(&windows[0], &mut bytes);
        assert_eq!(ints(&bytes), [1, 1, 1, 2]);
        write_positions(&windows[2], &mut bytes);
        assert_eq!(ints(&bytes), [0, 1, 2, 0]);
        let mut tokens = [5_u8; 4];
        write_ends(&windows[2], Some(&[7]), 1, &mut tokens);
        assert_eq!(tokens, [5, 5, 7, 7]);
    }
}
