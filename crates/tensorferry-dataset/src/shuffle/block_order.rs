//! The order of a shuffle of blocks: an exact permutation of `0..n` that keeps apart what lies far
//! apart in the source.
//!
//! # Rationale
//! Blocks of consecutive elements are put in a random order; a fixed number of them, consecutive in
//! that order, make a group; and the elements of each group are put in a random order. A reader of
//! the elements in this order needs one group in memory and reads it in whole blocks. Element `i`
//! follows from `i`: all groups have the same number of elements, except the one that has the last
//! block, which may be shorter, and the last group.
//!
//! These orders never change: see `docs/shuffle.md` and `golden/`.

use crate::shuffle::permutation::Permutation;
use crate::shuffle::prng::{Purpose, Random};
use std::ops::Range;
use tensorferry_io::gather::request::RowRequest;

/// The order of a seed in an epoch.
#[derive(Clone, Debug)]
pub(crate) struct BlockOrder {
    /// Elements of a block.
    block: u64,
    /// Blocks of a group.
    group: u64,
    blocks: Permutation,
    /// How many there are.
    count: u64,
    /// Elements that the last block lacks, and where in the order of blocks it stands.
    lacking: u64,
    last: u64,
    seeds: Random,
}

/// The elements of one group, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// Where in the whole order it stands.
    pub(crate) elements: Range<u64>,
    /// Its first block, in the order of blocks, and how many it has.
    first: u64,
    pub(crate) blocks: u64,
    /// The order of its elements, which are counted through its blocks.
    order: Permutation,
    /// The number of elements before those that the last block lacks.
    gap: u64,
    /// The number of elements that the last block lacks, if it is in this group.
    lacking: u64,
}

/// Where an element of a group lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the group's blocks.
    pub(crate) block: u64,
    /// Which element of the block.
    pub(crate) element: u64,
}

impl BlockOrder {
    /// Of at most [`crate::shuffle::permutation::LONGEST`] elements, in blocks of `block`
    /// elements, `group` of them to a group; neither is 0.
    pub(crate) fn new(n: u64, block: u64, group: u64, seed: u64, epoch: u64) -> Self {
        // Longer blocks than there are elements, and larger groups than there are blocks, make no
        // difference: products stay small.
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

    /// Elements of a block.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// Blocks of a group, but for the last one.
    pub(crate) fn group_blocks(&self) -> u64 {
        self.group
    }

    /// Elements of a group, at most.
    pub(crate) fn group_len(&self) -> u64 {
        self.group * self.block
    }

    /// The group that has element `index` of the order.
    pub(crate) fn number(&self, index: u64) -> u64 {
        let full = self.group_len();
        let lacking = if index < self.start(self.short() + 1) { 0 } else { self.lacking };
        (index + lacking) / full
    }

    /// The group that has the last block.
    fn short(&self) -> u64 {
        self.last / self.group
    }

    /// Where a group begins.
    fn start(&self, number: u64) -> u64 {
        number * self.group * self.block - if number > self.short() { self.lacking } else { 0 }
    }

    /// Where in the whole order the elements of a group stand, of which there is one.
    pub(crate) fn elements(&self, number: u64) -> Range<u64> {
        let blocks = self.group.min(self.count - number * self.group);
        let lacking = if number == self.short() { self.lacking } else { 0 };
        let start = self.start(number);
        start..start + blocks * self.block - lacking
    }

    /// A group of which there is an element.
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

    /// The elements that a block of a group has in the source.
    pub(crate) fn sources(&self, group: &Group, block: u64) -> Range<u64> {
        let at = self.blocks.get(group.first + block);
        let start = at * self.block;
        start..start + self.block - if at + 1 == self.count { self.lacking } else { 0 }
    }

    /// Where element `index` of the order lies in its group.
    pub(crate) fn place(&self, group: &Group, index: u64) -> Place {
        self.placed(group, group.order.get(index - group.elements.start))
    }

    fn placed(&self, group: &Group, at: u64) -> Place {
        let at = at + if at >= group.gap { group.lacking } else { 0 };
        Place { block: at / self.block, element: at % self.block }
    }

    /// Which element of the source lies there.
    fn source(&self, group: &Group, place: Place) -> u64 {
        self.blocks.get(group.first + place.block) * self.block + place.element
    }

    /// Where element `index` of the result comes from.
    pub(crate) fn get(&self, group: &Group, index: u64) -> u64 {
        self.source(group, self.place(group, index))
    }

    /// The same of every request's index, in place; all are of one group.
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

    /// Whether blocks and elements go anywhere: of many orders, chi-square of where an element goes
    /// to, and with whom it shares a group.
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
        // Two of the eleven other blocks, all of their elements: each comes in 2/11 of the orders.
        assert_eq!(neighbours[3], seeds * 4);
        neighbours.remove(3);
        let blocks: Vec<u32> = neighbours.iter().map(|count| count / 4).collect();
        let found = chi(&blocks, f64::from(seeds) * 2.0 / 11.0);
        assert!(found < 10.0 + 4.5 * 4.5, "{found}");
    }
}
