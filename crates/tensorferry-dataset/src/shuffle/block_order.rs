//! The order of a block shuffle: an exact permutation of `0..n` that keeps the elements of each
//! block in one group.
//!
//! # Rationale
//! Blocks of consecutive elements are put in random order. A fixed number of blocks, consecutive in
//! that order, form a group. The elements of each group are put in random order. A reader of the
//! elements in this order needs one group in memory and reads whole blocks. Element `i` follows
//! from `i` alone: all groups have the same length, except the one with the last block, which may
//! be shorter, and the last group.
//!
//! These orders never change: see `docs/guides/shuffle.md` and `golden/`.

use crate::shuffle::permutation::Permutation;
use crate::shuffle::prng::{Purpose, Random};
use std::ops::Range;
use tensorferry_io::gather::request::RowRequest;

/// The order for a seed and an epoch.
#[derive(Clone, Debug)]
pub(crate) struct BlockOrder {
    /// Elements per block.
    block: u64,
    /// Blocks per group.
    group: u64,
    blocks: Permutation,
    /// Number of blocks.
    count: u64,
    /// Number of elements missing from the last block, and its index in the order of blocks.
    lacking: u64,
    last: u64,
    seeds: Random,
}

/// The elements of one group, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// Range of these elements in the whole order.
    pub(crate) elements: Range<u64>,
    /// Index of the first block in the order of blocks, and number of blocks.
    first: u64,
    pub(crate) blocks: u64,
    /// The order of the elements, which are numbered through the group's blocks.
    order: Permutation,
    /// Number of elements before those missing from the last block.
    gap: u64,
    /// Number of elements missing from the last block, if it is in this group; else 0.
    lacking: u64,
}

/// The position of an element in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the block in the group.
    pub(crate) block: u64,
    /// Index of the element in the block.
    pub(crate) element: u64,
}

impl BlockOrder {
    /// An order of `n` elements, at most [`crate::shuffle::permutation::LONGEST`], in blocks of
    /// `block` elements and groups of `group` blocks. Neither is 0.
    pub(crate) fn new(n: u64, block: u64, group: u64, seed: u64, epoch: u64) -> Self {
        // Clamp to one block of all elements and one group of all blocks, so that products stay
        // small.
        let block = block.min(n).max(1);
        let count = n.div_ceil(block);
        let group = group.min(count).max(1);
        let blocks = Permutation::keyed(count, Random::new(Purpose::Blocks, seed, epoch));
        let last = if count == 0 { 0 } else { blocks.inverse(count - 1) };
        Self {
            block,
            group,
            blocks,
            count,
            lacking: count * block - n,
            last,
            seeds: Random::new(Purpose::Groups, seed, epoch),
        }
    }

    /// Elements per block.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// Blocks per group, except the last.
    pub(crate) fn group_blocks(&self) -> u64 {
        self.group
    }

    /// Maximum elements of a group.
    pub(crate) fn group_len(&self) -> u64 {
        self.group * self.block
    }

    /// Number of the group that has element `index` of the order.
    pub(crate) fn number(&self, index: u64) -> u64 {
        let full = self.group_len();
        let lacking = if index < self.start(self.short() + 1) { 0 } else { self.lacking };
        (index + lacking) / full
    }

    /// Number of the group that has the last block.
    fn short(&self) -> u64 {
        self.last / self.group
    }

    /// Index of a group's first element in the order.
    fn start(&self, number: u64) -> u64 {
        number * self.group * self.block - if number > self.short() { self.lacking } else { 0 }
    }

    /// Range of a group's elements in the whole order. The group must not be empty.
    pub(crate) fn elements(&self, number: u64) -> Range<u64> {
        let blocks = self.group.min(self.count - number * self.group);
        let lacking = if number == self.short() { self.lacking } else { 0 };
        let start = self.start(number);
        start..start + blocks * self.block - lacking
    }

    /// The group `number`, which must not be empty.
    pub(crate) fn group(&self, number: u64) -> Group {
        let (first, elements) = (number * self.group, self.elements(number));
        let blocks = self.group.min(self.count - first);
        let lacking = if number == self.short() { self.lacking } else { 0 };
        let len = elements.end - elements.start;
        let order =
            Permutation::keyed(len, Random::new(Purpose::Rows, self.seeds.at(number), number));
        let gap = if lacking > 0 { (self.last - first + 1) * self.block - lacking } else { len };
        Group { number, elements, first, blocks, order, gap, lacking }
    }

    /// Range of a block of a group in the source.
    pub(crate) fn sources(&self, group: &Group, block: u64) -> Range<u64> {
        let at = self.blocks.get(group.first + block);
        let start = at * self.block;
        start..start + self.block - if at + 1 == self.count { self.lacking } else { 0 }
    }

    /// The position of element `index` of the order in its group.
    pub(crate) fn place(&self, group: &Group, index: u64) -> Place {
        self.placed(group, group.order.get(index - group.elements.start))
    }

    fn placed(&self, group: &Group, at: u64) -> Place {
        let at = at + if at >= group.gap { group.lacking } else { 0 };
        Place { block: at / self.block, element: at % self.block }
    }

    /// Index in the source of the element at a place.
    fn source(&self, group: &Group, place: Place) -> u64 {
        self.blocks.get(group.first + place.block) * self.block + place.element
    }

    /// Index in the source of element `index` of the order.
    pub(crate) fn get(&self, group: &Group, index: u64) -> u64 {
        self.source(group, self.place(group, index))
    }

    /// [`BlockOrder::get`] of every request's index, in place. All requests are in `group`.
    pub(crate) fn map(&self, group: &Group, requests: &mut [RowRequest]) {
        requests.iter_mut().for_each(|request| request.index -= group.elements.start);
        group.order.map(requests);
        for request in requests {
            request.index = self.source(group, self.placed(group, request.index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(order: &BlockOrder, n: u64) -> Vec<u64> {
        (0..n).map(|index| order.get(&order.group(order.number(index)), index)).collect()
    }

    #[test]
    fn every_element_is_visited_once_whatever_blocks_and_groups_there_are() {
        for n in 0..60 {
            for block in 1..12 {
                for group in [1, 2, 3, 7, 100] {
                    for epoch in 0..3 {
                        let mut visited = all(&BlockOrder::new(n, block, group, 7, epoch), n);
                        visited.sort_unstable();
                        assert!(
                            visited.iter().copied().eq(0..n),
                            "{n} elements, blocks of {block}, groups of {group}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_group_is_whole_blocks_and_no_block_is_in_two() {
        let (n, block, group) = (1003, 10, 4);
        let order = BlockOrder::new(n, block, group, 1, 2);
        let all = all(&order, n);
        let mut start = 0;
        let mut blocks = Vec::new();
        while start < n {
            let group = order.group(order.number(start));
            assert_eq!(group.elements.start, start);
            let mut sources: Vec<u64> =
                (group.elements.clone()).map(|at| all[usize::try_from(at).unwrap()]).collect();
            sources.sort_unstable();
            let mut expected: Vec<u64> =
                (0..group.blocks).flat_map(|block| order.sources(&group, block)).collect();
            expected.sort_unstable();
            assert_eq!(sources, expected);
            blocks.extend((0..group.blocks).map(|block| order.sources(&group, block).start / 10));
            start = group.elements.end;
        }
        blocks.sort_unstable();
        assert!(blocks.into_iter().eq(0..101));
    }

    #[test]
    fn many_at_a_time_are_mapped_as_one_by_one() {
        for (n, block, group) in
            [(100_000, 7, 3), (100_000, 1000, 16), (1 << 62, 1 << 20, 64), (1 << 63, 1 << 63, 1)]
        {
            let order = BlockOrder::new(n, block, group, 5, 6);
            for start in [0, n / 3, n - 50] {
                let group = order.group(order.number(start));
                let indices =
                    (start..n.min(start + 40)).filter(|index| group.elements.contains(index));
                let mut requests: Vec<RowRequest> = indices
                    .clone()
                    .enumerate()
                    .map(|(slot, index)| RowRequest { index, slot })
                    .collect();
                order.map(&group, &mut requests);
                let one_by_one: Vec<u64> = indices.map(|index| order.get(&group, index)).collect();
                assert_eq!(
                    requests.iter().map(|request| request.index).collect::<Vec<_>>(),
                    one_by_one
                );
                assert!(one_by_one.iter().all(|source| *source < n));
            }
        }
    }

    /// Whether blocks and elements are equally likely everywhere: chi-square, over many orders, of
    /// the position of an element and of the blocks in its group.
    #[test]
    fn orders_look_as_if_drawn_from_all() {
        let (n, block, group) = (48, 4, 3);
        let seeds = 20_000_u32;
        let (mut places, mut neighbours) = (vec![0_u32; 48], vec![0_u32; 12]);
        for seed in 0..seeds {
            let order = BlockOrder::new(n, block, group, u64::from(seed), 0);
            let all = all(&order, n);
            let place = all.iter().position(|source| *source == 13).unwrap();
            places[place] += 1;
            for other in order.group(order.number(place as u64)).elements {
                neighbours
                    [usize::try_from(all[usize::try_from(other).unwrap()] / block).unwrap()] += 1;
            }
        }
        let chi = |counts: &[u32], expected: f64| {
            counts
                .iter()
                .map(|count| (f64::from(*count) - expected).powi(2) / expected)
                .sum::<f64>()
        };
        // 47 degrees of freedom: mean 47, deviation 9.7.
        let found = chi(&places, f64::from(seeds) / 48.0);
        assert!((found - 47.0).abs() < 4.5 * 9.7, "{found}");
        // A group has two of the eleven other blocks, whole: each block is in 2/11 of the orders.
        assert_eq!(neighbours[3], seeds * 4);
        neighbours.remove(3);
        let blocks: Vec<u32> = neighbours.iter().map(|count| count / 4).collect();
        let found = chi(&blocks, f64::from(seeds) * 2.0 / 11.0);
        assert!(found < 10.0 + 4.5 * 4.5, "{found}");
    }
}
