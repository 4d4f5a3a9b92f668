//! Positions in a table: their bounds, and what is at them.

use crate::convert::dispatch::{Wide, widely};

/// Whether all values are in `0..len`.
#[must_use]
pub fn all_below(values: &[i64], len: usize) -> bool {
    match i64::try_from(len) {
        Ok(len) => widely(Within { values, len }),
        Err(_) => values.iter().all(|value| *value >= 0),
    }
}

struct Within<'a> {
    values: &'a [i64],
    len: i64,
}

impl Wide for Within<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        // The sign is set if a value is negative, or if it is not less than `len`.
        let last = self.len.wrapping_sub(1);
        let outside =
            self.values.iter().fold(0, |signs, value| signs | value | last.wrapping_sub(*value));
        outside >= 0 || self.values.is_empty()
    }
}

/// Copies row `positions[i]` of `table` to row `i` of `out`. Rows have `N` bytes. Returns false,
/// and leaves `out` unspecified, if a position is outside the table or `out` has too few rows.
#[must_use]
pub fn take<const N: usize>(table: &[u8], positions: &[i64], out: &mut [u8]) -> bool {
    let (table, out) = (table.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
    out.len() >= positions.len() && widely(Take { table, positions, out })
}

struct Take<'a, const N: usize> {
    table: &'a [[u8; N]],
    positions: &'a [i64],
    out: &'a mut [[u8; N]],
}

impl<const N: usize> Wide for Take<'_, N> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        for (out, position) in self.out.iter_mut().zip(self.positions) {
            let Some(row) = usize::try_from(*position).ok().and_then(|at| self.table.get(at))
            else {
                return false;
            };
            *out = *row;
        }
        true
    }
}

/// Writes `one`, an element of a dtype, to element `positions[i]` of row `i` of `out`, whose rows
/// have `depth` elements. A position outside its row is left out.
pub fn set_ones(positions: &[i64], depth: usize, one: &[u8], out: &mut [u8]) {
    fn sized<const N: usize>(positions: &[i64], depth: usize, one: &[u8], out: &mut [u8]) {
        let Some(one) = one.first_chunk::<N>() else { return };
        let rows = out.as_chunks_mut::<N>().0.chunks_exact_mut(depth.max(1));
        for (position, row) in positions.iter().zip(rows) {
            if let Some(place) = usize::try_from(*position).ok().and_then(|at| row.get_mut(at)) {
                *place = *one;
            }
        }
    }
    match one.len() {
        1 => sized::<1>(positions, depth, one, out),
        2 => sized::<2>(positions, depth, one, out),
        4 => sized::<4>(positions, depth, one, out),
        8 => sized::<8>(positions, depth, one, out),
        _ => sized::<16>(positions, depth, one, out),
    }
}
