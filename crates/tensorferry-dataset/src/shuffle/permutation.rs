//! The order of a shuffle: an exact permutation of `0..n`, computed index by index in constant
//! memory.
//!
//! # Rationale
//! Up to [`TABLE`] elements, the order is a table filled by the Fisher-Yates shuffle: all `n!`
//! orders are equally likely. Above, the indices form a grid of about sqrt(n) x sqrt(n). Columns
//! and rows are moved in turn, by distances that depend on the other coordinate and on keys (the
//! generalised Feistel network of Black and Rogaway, "Ciphers with arbitrary finite domains",
//! CT-RSA 2002). Each move is invertible, so the whole is a permutation of the grid for any
//! distances. The grid has less than one row more than `n`. An index that lands there is moved
//! again until it is inside (cycle walking), which keeps the result a permutation of `0..n`.
//!
//! These permutations never change: see `docs/guides/shuffle.md` and `golden/`.

use crate::shuffle::prng::{Purpose, Random};
use std::sync::Arc;
use tensorferry_core::convert::{Wide, widely};
use tensorferry_io::gather::request::RowRequest;

#[cfg(test)]
mod statistics;

/// Maximum elements of an order that is stored as a table, which takes at most 8 KiB.
pub(crate) const TABLE: u64 = 4096;
/// The longest permutation: columns and rows are 32-bit numbers.
pub(crate) const LONGEST: u64 = 1 << 63;
/// Number of moves, half of columns and half of rows: an even number. `statistics.rs` sees a flaw
/// with six moves, summed over 500 orders, and with four in a single order.
const MOVES: usize = 8;
/// Number of indices computed side by side, chosen to stay in registers and the first-level cache.
const LANES: usize = 64;

/// A permutation of `0..n`.
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    n: u64,
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    Table(Arc<[u16]>),
    Grid(Grid<MOVES>),
}

impl Permutation {
    /// The order for a seed and an epoch. `n` is at most [`LONGEST`].
    pub(crate) fn new(n: u64, seed: u64, epoch: u64) -> Self {
        Self::keyed(n, Random::new(Purpose::Permutation, seed, epoch))
    }

    /// The order that `random` determines.
    pub(crate) fn keyed(n: u64, random: Random) -> Self {
        let order = match u16::try_from(n) {
            Ok(len) if n <= TABLE => Order::Table(fisher_yates(len, random)),
            _ => Order::Grid(Grid::new(n, random)),
        };
        Self { n, order }
    }

    /// Index in the source of element `index` of the result. `index` is less than `n`.
    pub(crate) fn get(&self, index: u64) -> u64 {
        match &self.order {
            Order::Table(table) => usize::try_from(index)
                .ok()
                .and_then(|at| table.get(at))
                .map_or(index, |&to| u64::from(to)),
            Order::Grid(grid) => grid.walk(grid.forward(index), self.n),
        }
    }

    /// Index in the result of element `source`: `inverse(get(index)) == index`.
    pub(crate) fn inverse(&self, source: u64) -> u64 {
        match &self.order {
            Order::Table(table) => {
                let at = table.iter().position(|&to| u64::from(to) == source);
                at.map_or(source, |at| at as u64)
            }
            Order::Grid(grid) => {
                let mut index = grid.backward(source);
                while index >= self.n {
                    index = grid.backward(index);
                }
                index
            }
        }
    }

    /// [`Permutation::get`] of every request's index, in place.
    pub(crate) fn map(&self, requests: &mut [RowRequest]) {
        match &self.order {
            Order::Table(_) => {
                requests.iter_mut().for_each(|request| request.index = self.get(request.index))
            }
            Order::Grid(grid) => grid.map(requests, self.n),
        }
    }
}

/// The Fisher-Yates shuffle of `0..len` (Durstenfeld, CACM 1964).
fn fisher_yates(len: u16, random: Random) -> Arc<[u16]> {
    let mut table: Vec<u16> = (0..len).collect();
    for last in (1..table.len()).rev() {
        let at = random.below(last as u64, last as u64 + 1);
        table.swap(last, usize::try_from(at).unwrap_or(last));
    }
    table.into()
}

/// A permutation of a grid: index `row * columns + column`.
#[derive(Clone, Debug)]
struct Grid<const MOVES: usize> {
    /// At most 3,037,000,500.
    columns: u32,
    /// At most `columns`.
    rows: u32,
    keys: [Key; MOVES],
}

/// The keys of one move.
#[derive(Clone, Copy, Debug, Default)]
struct Key(u32, u32);

/// The two halves of a 64-bit number, combined with XOR.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
fn folded(product: u64) -> u32 {
    (product as u32) ^ ((product >> 32) as u32)
}

/// The distance by which columns move in the row `line`, or rows in the column `line`: less than
/// `bound`.
///
/// Multiplies 32-bit numbers, which the oldest vectors support, and folds the products. After the
/// second time, every bit has reached every other. The multipliers are the fractions of sqrt(2) and
/// sqrt(3), made odd.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "less than bound")]
fn distance(line: u32, key: Key, bound: u32) -> u32 {
    let once = folded(u64::from(line ^ key.0) * 0x6a09_e667);
    let twice = folded(u64::from(once ^ key.1) * 0xbb67_ae85);
    ((u64::from(twice) * u64::from(bound)) >> 32) as u32
}

/// `(at + by) % bound` for two numbers less than `bound`.
fn moved(at: u32, by: u32, bound: u32) -> u32 {
    let gap = bound - by;
    if at >= gap { at - gap } else { at + by }
}

/// [`distance`] for 32-bit numbers in 64-bit lanes, which vectors multiply without rearranging
/// them.
#[inline(always)]
fn distance_in_lane(line: u64, key: Key, bound: u64) -> u64 {
    let low = |value: u64| value & 0xffff_ffff;
    // Both factors are less than 2^32. If the compiler knew, it would split the lanes again.
    let once = (line ^ u64::from(key.0)).wrapping_mul(0x6a09_e667);
    let twice = low(once ^ (once >> 32) ^ u64::from(key.1)) * 0xbb67_ae85;
    (low(twice ^ (twice >> 32)) * bound) >> 32
}

/// [`moved`] without a branch.
#[inline(always)]
fn moved_in_lane(at: u64, by: u64, bound: u64) -> u64 {
    let sum = (at + by).wrapping_sub(bound);
    // All ones if the sum was less than `bound`.
    let short = (sum.cast_signed() >> 63).cast_unsigned();
    sum.wrapping_add(bound & short)
}

impl<const MOVES: usize> Grid<MOVES> {
    /// A grid for `n` elements, at most [`LONGEST`].
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the halves of a key; the side of a square of at most 2^63"
    )]
    fn new(n: u64, random: Random) -> Self {
        let columns = n.saturating_sub(1).isqrt() + 1;
        let key = |at: usize| {
            let drawn = random.at(at as u64);
            Key(drawn as u32, (drawn >> 32) as u32)
        };
        Self {
            columns: columns as u32,
            rows: n.div_ceil(columns) as u32,
            keys: std::array::from_fn(key),
        }
    }

    /// Row and column of an index inside the grid.
    #[allow(clippy::cast_possible_truncation, reason = "inside the grid")]
    fn split(&self, index: u64) -> (u32, u32) {
        let columns = u64::from(self.columns);
        ((index / columns) as u32, (index % columns) as u32)
    }

    fn join(&self, row: u32, column: u32) -> u64 {
        u64::from(row) * u64::from(self.columns) + u64::from(column)
    }

    fn forward(&self, index: u64) -> u64 {
        let (mut row, mut column) = self.split(index);
        for pair in self.keys.chunks_exact(2) {
            column = moved(column, distance(row, pair[0], self.columns), self.columns);
            row = moved(row, distance(column, pair[1], self.rows), self.rows);
        }
        self.join(row, column)
    }

    fn backward(&self, index: u64) -> u64 {
        let back =
            |at: u32, by: u32, bound: u32| if at >= by { at - by } else { at + (bound - by) };
        let (mut row, mut column) = self.split(index);
        for pair in self.keys.chunks_exact(2).rev() {
            row = back(row, distance(column, pair[1], self.rows), self.rows);
            column = back(column, distance(row, pair[0], self.columns), self.columns);
        }
        self.join(row, column)
    }

    /// Moves an index again until it is inside `0..n`. One that came from inside always returns
    /// there.
    fn walk(&self, mut index: u64, n: u64) -> u64 {
        while index >= n {
            index = self.forward(index);
        }
        index
    }

    fn map(&self, requests: &mut [RowRequest], n: u64) {
        if self.columns >= 1 << 31 {
            requests
                .iter_mut()
                .for_each(|request| request.index = self.walk(self.forward(request.index), n));
            return;
        }
        let (mut rows, mut columns) = ([0; LANES], [0; LANES]);
        for chunk in requests.chunks_mut(LANES) {
            self.enter(chunk, &mut rows, &mut columns);
            widely(Moves { grid: self, rows: &mut rows, columns: &mut columns });
            for (request, index) in chunk.iter_mut().zip(&columns) {
                request.index = self.walk(*index, n);
            }
        }
    }

    /// Row and column of each request. Most are in the row of the one before, which saves a
    /// division.
    fn enter(&self, requests: &[RowRequest], rows: &mut [u64; LANES], columns: &mut [u64; LANES]) {
        let width = u64::from(self.columns);
        let (mut row, mut start) = (0, 0);
        for ((request, to_row), to_column) in requests.iter().zip(rows).zip(columns) {
            if request.index.wrapping_sub(start) >= width {
                row = request.index / width;
                start = row * width;
            }
            *to_row = row;
            *to_column = request.index - start;
        }
    }
}

/// All moves of a chunk of indices. At the end, `columns` holds indices.
struct Moves<'a, const MOVES: usize> {
    grid: &'a Grid<MOVES>,
    rows: &'a mut [u64; LANES],
    columns: &'a mut [u64; LANES],
}

impl<const MOVES: usize> Wide for Moves<'_, MOVES> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { grid, rows, columns } = self;
        let (width, height) = (u64::from(grid.columns), u64::from(grid.rows));
        // Move by move and not index by index, so that enough operations are independent.
        for pair in grid.keys.chunks_exact(2) {
            move_each(columns, rows, pair[0], width);
            move_each(rows, columns, pair[1], height);
        }
        for (column, row) in columns.iter_mut().zip(rows) {
            *column += *row * width;
        }
    }
}

#[inline(always)]
fn move_each(moving: &mut [u64; LANES], lines: &[u64; LANES], key: Key, bound: u64) {
    for (to, line) in moving.iter_mut().zip(lines) {
        *to = moved_in_lane(*to, distance_in_lane(*line, key, bound), bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(indices: impl Iterator<Item = u64>) -> Vec<RowRequest> {
        indices.enumerate().map(|(slot, index)| RowRequest { index, slot }).collect()
    }

    /// Whether batches, as `gather` requests them, visit every number less than `n` once.
    fn visits_each_once(n: u64, map: impl Fn(&mut [RowRequest])) -> bool {
        let mut seen = vec![0_u64; usize::try_from(n.div_ceil(64)).unwrap()];
        let mut start = 0;
        while start < n {
            let end = n.min(start + 1000);
            let mut batch = requests(start..end);
            map(&mut batch);
            for request in &batch {
                let (word, bit) =
                    (usize::try_from(request.index / 64).unwrap(), 1 << (request.index % 64));
                if request.index >= n || seen[word] & bit != 0 {
                    return false;
                }
                seen[word] |= bit;
            }
            start = end;
        }
        true
    }

    #[test]
    fn every_index_is_visited_once_for_every_small_n() {
        for n in 0..=TABLE {
            let order = Permutation::new(n, n, 3);
            assert!(visits_each_once(n, |batch| order.map(batch)), "{n}");
            let grid = Grid::<MOVES>::new(n, Random::new(Purpose::Permutation, n, 3));
            assert!(visits_each_once(n, |batch| grid.map(batch, n)), "grid of {n}");
        }
    }

    #[test]
    fn every_index_is_visited_once_around_every_power_of_two() {
        for n in (12..=24).flat_map(|k| [(1 << k) - 1, 1 << k, (1 << k) + 1]) {
            let order = Permutation::new(n, 7, n);
            assert!(visits_each_once(n, |batch| order.map(batch)), "{n}");
        }
    }

    #[test]
    fn the_inverse_undoes_the_order_up_to_the_longest() {
        let random = Random::new(Purpose::Values, 5, 5);
        for k in 1..=63 {
            for n in [(1_u64 << k) - 1, 1 << k, (1 << k) + 1, random.below(k, 1 << k) + 1] {
                let n = n.min(LONGEST);
                let order = Permutation::new(n, k, n);
                let sampled = (0..200).map(|at| random.below(1000 * k + at, n));
                for index in sampled.chain([0, n - 1]) {
                    let to = order.get(index);
                    assert!(to < n);
                    assert_eq!(order.inverse(to), index, "n = {n}");
                }
            }
        }
    }

    #[test]
    fn a_batch_is_the_same_as_its_indices_one_by_one() {
        let random = Random::new(Purpose::Values, 6, 6);
        for n in [
            1,
            100,
            4097,
            5000,
            65_537,
            1_000_000,
            1 << 40,
            (1 << 62) - (1 << 33),
            1 << 62,
            LONGEST,
        ] {
            let order = Permutation::new(n, 11, 12);
            let stride = |by: u64| move |at: u64| at.saturating_mul(by) % n;
            let kinds: [Vec<u64>; 5] = [
                (0..n.min(333)).collect(),
                (n.saturating_sub(333)..n).rev().collect(),
                (0..333).map(stride(3)).collect(),
                (0..333).map(stride(n / 100 + 1)).collect(),
                (0..333).map(|at| random.below(at, n)).collect(),
            ];
            for indices in kinds {
                let mut batch = requests(indices.iter().copied());
                order.map(&mut batch);
                let one_by_one: Vec<u64> = indices.iter().map(|&index| order.get(index)).collect();
                assert_eq!(batch, requests(one_by_one.into_iter()), "n = {n}");
            }
        }
    }

    /// `cargo test --release -p tensorferry-dataset --lib -- --ignored --nocapture
    /// how_fast_an_order_is_computed`
    #[test]
    #[ignore = "a benchmark"]
    #[allow(
        clippy::print_stderr,
        clippy::cast_precision_loss,
        reason = "a benchmark prints, and its figures are rough"
    )]
    fn how_fast_an_order_is_computed() {
        for n in [4096_u64, 100_000, 10_000_000, 1_000_000_000] {
            let order = Permutation::new(n, 7, 0);
            for size in [32, 1024] {
                let mut batch = requests(0..size);
                let mut best = f64::MAX;
                for _ in 0..20 {
                    let began = std::time::Instant::now();
                    let batches = 200_000 / size;
                    for at in 0..batches {
                        let start = at * size % (n - size);
                        batch
                            .iter_mut()
                            .zip(start..)
                            .for_each(|(request, index)| request.index = index);
                        order.map(&mut batch);
                        std::hint::black_box(&mut batch);
                    }
                    best = best.min(began.elapsed().as_secs_f64() / (batches * size) as f64);
                }
                eprintln!("{n}, {size} at a time: {:.2} ns", best * 1e9);
            }
        }
    }

    #[test]
    fn moving_wraps_around_at_the_longest_lines() {
        for bound in [1_u32, 2, (1 << 31) - 1, 1 << 31, 3_037_000_499, 3_037_000_500] {
            for (at, by) in [
                (0, 0),
                (0, bound - 1),
                (bound - 1, bound - 1),
                (bound / 2, bound - 1 - bound / 2),
                (bound - 1, 0),
            ] {
                let expected = (u64::from(at) + u64::from(by)) % u64::from(bound);
                assert_eq!(u64::from(moved(at, by, bound)), expected);
                assert_eq!(moved_in_lane(at.into(), by.into(), bound.into()), expected);
            }
        }
    }
}
