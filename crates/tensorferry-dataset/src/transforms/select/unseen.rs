//! [`Unseen`]: the elements that a run with another number of shards has left.

use crate::checkpoint::change::Resharded;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::transforms::select::parts::Parts;
use std::fmt;

/// The elements that a run of several shards has not returned, in the order of the input.
#[derive(Clone)]
pub(crate) struct Unseen {
    pub(crate) origin: Resharded,
    left: Left,
    /// Number of elements that were returned.
    pub(crate) seen: u64,
}

#[derive(Clone)]
enum Left {
    /// Think of the input as rows with one column per shard. Before the row of the foremost shard,
    /// each shard has left the rest of its column. After it, all elements are unseen.
    ///
    /// These are the positions in ascending order: between two of them, as many shards have
    /// elements left as there are positions before.
    Strided(Vec<u64>),
    /// Each shard has left the end of its part.
    Contiguous { pieces: Vec<Piece>, n: u64 },
}

/// Consecutive elements that are unseen.
#[derive(Clone, Copy)]
struct Piece {
    /// The first one's number among the unseen elements, and its index in the input.
    number: u64,
    index: u64,
}

/// The first element and the length of the contiguous part of one of `shards` shards.
pub(crate) fn part_of(n: u64, shards: u64, index: u64) -> (u64, u64) {
    let (each, longer) = (n / shards, n % shards);
    (index * each + index.min(longer), each + u64::from(index < longer))
}

impl Unseen {
    pub(crate) fn new(origin: Resharded, cardinality: Cardinality) -> Result<Self> {
        let positions = &origin.positions;
        let shards = positions.len() as u64;
        if shards == 0 {
            return Err(Error::State { what: "the state has no shards; it is damaged".into() });
        }
        if let Cardinality::Finite(n) = cardinality {
            for (shard, &position) in (0_u64..).zip(positions) {
                let had = n.saturating_sub(shard).div_ceil(shards);
                if position > had {
                    let what = format!(
                        "shard {shard} of {shards} handed out {position} of its {had} elements; \
                            the state is damaged"
                    );
                    return Err(Error::State { what });
                }
            }
        }
        let left = match (origin.parts, cardinality) {
            (Parts::Contiguous, Cardinality::Finite(n)) => Left::contiguous(positions, n),
            (Parts::Contiguous, _) => {
                let what = "the state is of contiguous parts, and the dataset has no known length; \
                    it is of another plan, or damaged";
                return Err(Error::State { what: what.into() });
            }
            (Parts::Strided, _) => {
                let mut sorted = positions.clone();
                sorted.sort_unstable();
                Left::Strided(sorted)
            }
        };
        let seen = positions.iter().fold(0_u64, |all, position| all.saturating_add(*position));
        Ok(Self { origin, left, seen })
    }

    /// The input's index of the `nth` unseen element.
    pub(crate) fn locate(&self, nth: u64) -> u64 {
        match &self.left {
            Left::Strided(sorted) => located_in_rows(&self.origin.positions, sorted, nth),
            Left::Contiguous { pieces, n } => {
                let after = pieces.partition_point(|piece| piece.number <= nth);
                // Without pieces, everything was returned.
                after.checked_sub(1).map_or(*n, |at| {
                    let Piece { number, index } = pieces[at];
                    index.saturating_add(nth - number)
                })
            }
        }
    }

    /// Whether the element at this index of the input is unseen.
    pub(crate) fn contains(&self, index: u64) -> bool {
        let positions = &self.origin.positions;
        let shards = positions.len() as u64;
        let (shard, at) = match &self.left {
            Left::Strided(_) => (index % shards, index / shards),
            Left::Contiguous { n, .. } => {
                let (each, longer) = (n / shards, n % shards);
                let longer_end = longer * (each + 1);
                if index < longer_end {
                    (index / (each + 1), index % (each + 1))
                } else {
                    let beyond = index - longer_end;
                    (longer + beyond / each.max(1), beyond % each.max(1))
                }
            }
        };
        let shard = usize::try_from(shard).unwrap_or(usize::MAX);
        positions.get(shard).is_some_and(|position| at >= *position)
    }
}

impl Left {
    fn contiguous(positions: &[u64], n: u64) -> Self {
        let (shards, mut number, mut pieces) = (positions.len() as u64, 0, Vec::new());
        for (shard, position) in (0_u64..).zip(positions) {
            let (first, len) = part_of(n, shards, shard);
            if *position < len {
                pieces.push(Piece { number, index: first + position });
                number += len - position;
            }
        }
        Self::Contiguous { pieces, n }
    }
}

/// The input's index of the `nth` unseen element, of strided parts.
fn located_in_rows(positions: &[u64], sorted: &[u64], mut nth: u64) -> u64 {
    let shards = positions.len() as u64;
    for (behind, pair) in (1_u64..).zip(sorted.windows(2)) {
        let left = (pair[1] - pair[0]).saturating_mul(behind);
        if nth < left {
            let row = pair[0] + nth / behind;
            let mut columns = (0_u64..).zip(positions).filter(|(_, position)| **position <= row);
            let column = columns
                .nth(usize::try_from(nth % behind).unwrap_or(usize::MAX))
                .map_or(0, |(column, _)| column);
            return row.saturating_mul(shards).saturating_add(column);
        }
        nth -= left;
    }
    let foremost = sorted.last().copied().unwrap_or(0);
    foremost.saturating_mul(shards).saturating_add(nth)
}

impl fmt::Display for Unseen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contiguous = match self.origin.parts {
            Parts::Strided => "",
            Parts::Contiguous => "contiguous ",
        };
        write!(out, "{contiguous}{:?}", self.origin.positions)
    }
}
