//! Block shuffle: a different order in each epoch that keeps the elements of a block together.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::execute::memory_budget::MemoryBudget;
use crate::gather::get_by_gather;
use crate::request::{Columns, RowPart};
use crate::shuffle::block_order::{BlockOrder, Group};
use crate::shuffle::group_buffer::{GroupBuffer, Input, Kind, PART_BYTES, REMOTE_PART_BYTES};
use crate::shuffle::orders::Orders;
use crate::shuffle::permutation::LONGEST;
use crate::shuffle::prng::Seed;
use crate::shuffle::shuffle::ShuffleOptions;
use crate::spec::Cardinality;
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Epoch, Hints, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::room::copied;
use tensorferry_io::sync::fork_safe::ForkSafe;

/// Default number of blocks per group.
const GROUP: u64 = 64;
/// Maximum bytes of a default group, unless one block is larger. Up to three groups are in memory
/// at a time, within the default memory of an iteration.
const GROUP_BYTES: u64 = 64 << 20;
/// Bytes of a block of rows that are read over a network, of which each is a request.
const REMOTE_BLOCK: u64 = 1 << 20;
/// As [`READ_ALONG`], over a network.
const READ_ALONG_REMOTE: u64 = 1 << 20;
/// Number of recent requests whose ends are remembered, for threads that take turns.
const REMEMBERED: usize = 8;
/// A request continues an earlier one if the gap between them is at most this many times its
/// length. Other threads request the gap.
const BETWEEN: u64 = 16;
/// Bytes that a block shuffle reads in the time of one row read. By W5's figures: 11.0 us for a
/// row, and 4.87 M rows of 400 bytes a second in blocks.
const READ_ALONG: u64 = 21 << 10;

/// Number of block shuffles so far. An iteration identifies groups by the number of their shuffle.
static NUMBER: AtomicU64 = AtomicU64::new(0);

struct BlockShuffle {
    number: u64,
    input: Dataset,
    n: u64,
    block: u64,
    group: u64,
    seed: Seed,
    reshuffle_each_iteration: bool,
    /// Whether blocks are the default, as for rows that are read over a network.
    is_default: bool,
    orders: Orders<u64, Arc<BlockOrder>>,
    groups: Orders<(u64, u64), Arc<Group>>,
    /// Bytes of a row of each component, if the rows come from files that are read.
    file_rows: Option<Vec<usize>>,
    /// Ends of the last requests.
    ends: ForkSafe<[u64; REMEMBERED]>,
}

impl Dataset {
    /// As [`Dataset::shuffle`], for sources that are slow to read element by element. The elements
    /// of a block, `block` consecutive ones, stay near each other: blocks are put in random order,
    /// consecutive blocks in that order form a group, and the elements of each group are put in
    /// random order. A group has as many blocks as fit in `buffer_size` elements. If that is
    /// `None`, it has 64 blocks, or fewer (at least one) if they exceed 64 MiB. The order is an
    /// exact permutation that follows from `seed` and the epoch, and any element can be computed by
    /// index.
    ///
    /// If the elements come from files that are read
    /// ([`tensorferry_io::storage::mode::Mode::Direct`],
    /// [`tensorferry_io::storage::mode::Mode::Read`]), an iteration reads whole blocks. It keeps up
    /// to three groups in memory: the current one, the next, and for a short time the previous one.
    /// With a small [`Options::memory_limit`](crate::execute::options::Options), it keeps fewer.
    /// For other sources, it keeps none.
    ///
    /// If not even one group fits in the memory limit, the iteration fails with
    /// [`Error::Argument`].
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let options = ShuffleOptions { buffer_size: Some(6), ..ShuffleOptions::seeded(7) };
    /// let shuffled = Dataset::range(0, 12, 1, DType::Int64)?.shuffle_blocks(3, options)?;
    /// let mut numbers = Vec::new();
    /// for element in &shuffled {
    ///     numbers.extend(element?[0].tensor()?.view::<i64>()?.get(&[]));
    /// }
    /// assert_eq!(numbers, [6, 5, 4, 3, 8, 7, 9, 1, 10, 2, 11, 0]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `block` is 0 or larger than `buffer_size`, if the dataset is infinite
    /// or has no random access (filter, from_generator and the like), or if there are more than
    /// 2^63 elements.
    pub fn shuffle_blocks(&self, block: u64, options: ShuffleOptions) -> Result<Self> {
        self.shuffle_by_blocks(block, options, false)
    }

    fn shuffle_by_blocks(
        &self,
        block: u64,
        options: ShuffleOptions,
        is_default: bool,
    ) -> Result<Self> {
        let ShuffleOptions { buffer_size, seed, reshuffle_each_iteration } = options;
        let wrong = |what: String| Error::Argument { stage: "shuffle", what };
        let group = match buffer_size {
            _ if block == 0 => return Err(wrong("a block has at least 1 element".into())),
            None => default_group(self, block),
            Some(size) if size < block => {
                let what = format!(
                    "a block of {block} elements does not fit in a buffer_size of {size}. Give a \
                    multiple of block."
                );
                return Err(wrong(what));
            }
            Some(size) => size / block,
        };
        let seed = Seed::new(seed);
        BlockShuffle::over(self, (block, group), seed, reshuffle_each_iteration, is_default)
    }
}

impl Dataset {
    /// The default shuffle of rows that are read over a network: in blocks. `None` for other rows,
    /// and for large ones.
    pub(crate) fn shuffle_remote(&self, options: &ShuffleOptions) -> Result<Option<Self>> {
        let rows = self.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1));
        let row = rows.sum::<Option<usize>>().filter(|row| *row > 0);
        let (Some(row), true) = (row, self.hints.remote_arrays > 0 && !self.is_sequential()) else {
            return Ok(None);
        };
        let block = REMOTE_BLOCK / row as u64;
        if block < 2 {
            return Ok(None);
        }
        let buffer_size = options.buffer_size.filter(|size| *size >= block);
        let options = ShuffleOptions { buffer_size, ..*options };
        self.shuffle_by_blocks(block, options, true).map(Some)
    }
}

/// Default number of blocks per group: fewer than [`GROUP`] if they are large. It depends on the
/// rows alone, because it is part of the order.
fn default_group(input: &Dataset, block: u64) -> u64 {
    let row: Option<usize> = input.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1)).sum();
    let block_bytes = block.saturating_mul(row.unwrap_or(0) as u64).max(1);
    (GROUP_BYTES / block_bytes).clamp(1, GROUP)
}

impl BlockShuffle {
    fn over(
        input: &Dataset,
        (block, group): (u64, u64),
        seed: Seed,
        reshuffle_each_iteration: bool,
        is_default: bool,
    ) -> Result<Dataset> {
        let wrong = |what: &str| Error::Argument { stage: "shuffle", what: what.into() };
        let n = match input.cardinality() {
            Cardinality::Finite(n) if input.is_indexed() && n <= LONGEST => n,
            Cardinality::Finite(_) if input.is_indexed() => {
                return Err(wrong("there are more than 2^63 elements. Take fewer."));
            }
            Cardinality::Infinite => {
                return Err(wrong(
                    "the dataset is infinite, so its blocks have no order. Shuffle before repeat.",
                ));
            }
            _ => {
                let what = "the dataset has no random access (filter, from_generator and the \
                    like), so there are no blocks to shuffle. Shuffle before that stage, or give \
                    a buffer_size and no block.";
                return Err(wrong(what));
            }
        };
        let fixed: Option<Vec<usize>> =
            input.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1)).collect();
        // Functions must not be called before their results are requested.
        let file_rows = fixed.filter(|_| input.hints.reads_files && !input.is_sequential());
        Ok(Dataset::of(Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            input: input.clone(),
            n,
            block,
            group,
            seed,
            reshuffle_each_iteration,
            is_default,
            orders: Orders::default(),
            groups: Orders::default(),
            file_rows,
            ends: ForkSafe::default(),
        }))
    }

    /// The number of the order in an epoch.
    fn round(&self, cx: &Context) -> u64 {
        if self.reshuffle_each_iteration { cx.epoch.0 } else { 0 }
    }

    fn order(&self, round: u64) -> Arc<BlockOrder> {
        self.orders.of(round, || {
            Arc::new(BlockOrder::new(self.n, self.block, self.group, self.seed.value, round))
        })
    }

    /// The group of an element.
    fn group(&self, order: &BlockOrder, round: u64, index: u64) -> Arc<Group> {
        let number = order.number(index);
        self.groups.of((round, number), || Arc::new(order.group(number)))
    }

    /// Whether these elements continue an earlier request, in order.
    fn goes_on(&self, first: &RowRequest, last: &RowRequest, len: u64) -> bool {
        let mut ends = self.ends.lock();
        let goes_on = ends
            .iter()
            .any(|end| first.index >= *end && first.index - *end <= len.saturating_mul(BETWEEN));
        ends.rotate_right(1);
        ends[0] = last.index + 1;
        goes_on
    }

    /// Gathers the rows that are better read through groups in memory. Returns the other requests.
    fn gather_held(
        &self,
        budget: &MemoryBudget,
        columns: Columns<'_>,
        requests: &[RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<Vec<RowRequest>> {
        let (Some(kind), Some(first), Some(last)) =
            (self.kind(columns, out.len(), cx), requests.first(), requests.last())
        else {
            return Ok(copied(requests)?);
        };
        let (len, row) = (requests.len() as u64, kind.rows.iter().sum::<usize>() as u64);
        // Other shards may read the elements in between.
        let distance = last.index.wrapping_sub(first.index);
        let along = match self.input.hints.remote_arrays {
            0 => READ_ALONG,
            _ => READ_ALONG_REMOTE,
        };
        let dense = distance < len.saturating_mul(1 + along / row.max(1));
        if !dense || !requests.is_sorted_by(|a, b| a.index < b.index) {
            return Ok(copied(requests)?);
        }
        let order = self.order(kind.round);
        // A group costs no more requests than its number of blocks of neighbours, one by one.
        let is_cheap =
            self.input.hints.remote_arrays > 0 && distance < len && len >= order.group_blocks();
        let mut goes_on = self.goes_on(first, last, len) || is_cheap;
        if goes_on || first.index == 0 {
            budget.check(&kind, &order)?;
        }
        let besides = order.number(last.index) - order.number(first.index);
        // Groups after those of a part are not read ahead.
        let part = cx.reach.as_ref().and_then(|reach| reach.part(self));
        let all = part.map_or(self.n, |part| part.elements.end);
        let (mut rest, mut left) = (requests, Vec::new());
        while let Some(first) = rest.first() {
            let number = order.number(first.index);
            let end = order.elements(number).end;
            let (here, later) = rest.split_at(rest.partition_point(|request| request.index < end));
            rest = later;
            // A request for a whole group reads whole blocks anyway.
            let is_whole = here.len() as u64 == order.group_len();
            let Some(group) = (if is_whole {
                None
            } else {
                budget.group(&kind, number, besides, goes_on, &order)
            }) else {
                left.extend_from_slice(here);
                continue;
            };
            goes_on = true;
            let gather = |requests: &mut [RowRequest], out: &mut [RowsOut<'_>]| {
                self.input.stage.gather(Columns::Some(&kind.which), requests, out, cx)
            };
            let input = Input { order: &order, cancel: &cx.cancel, gather: &gather };
            let is_remote = self.input.hints.remote_arrays > 0;
            if is_remote {
                self.read_apart(&group, &order, cx);
            }
            group.copy(here, out, &input)?;
            let taken = here.last().map_or(0, |request| request.index + 1);
            budget.taken(&group, taken, distance + 1, all);
            let after = |group: &Arc<GroupBuffer>| {
                let end = order.elements(group.group().number).end;
                if end < all { budget.next(group, &order) } else { None }
            };
            match after(&group) {
                Some(next) if is_remote => {
                    self.read_apart(&next, &order, cx);
                    // A link is idle from the last bytes of a group to the first ones of another,
                    // unless two of them are under way.
                    if let Some(second) = after(&next) {
                        self.read_apart(&second, &order, cx);
                    }
                }
                Some(next) => next.keep_up(&group, taken, &input)?,
                None => {}
            }
        }
        Ok(left)
    }

    /// Begins to read a group, on other threads.
    fn read_apart(&self, group: &Arc<GroupBuffer>, order: &Arc<BlockOrder>, cx: &Context) {
        let (source, order, cx) = (self.input.clone(), Arc::clone(order), cx.clone());
        group.read_apart(move |claim| {
            let which = claim.kind().which.clone();
            let gather = |requests: &mut [RowRequest], out: &mut [RowsOut<'_>]| {
                source.stage.gather(Columns::Some(&which), requests, out, &cx)
            };
            let input = Input { order: &order, cancel: &cx.cancel, gather: &gather };
            // Who needs the rows gets the error.
            drop(claim.read(&input));
        });
    }

    /// The kind of the groups of these components, if their rows come from files that are read.
    fn kind(&self, columns: Columns<'_>, len: usize, cx: &Context) -> Option<Kind> {
        let rows = self.file_rows.as_ref()?;
        let which: Vec<usize> = columns.indices(len).collect();
        let rows = which.iter().map(|component| rows[*component]).collect();
        let part_bytes = match self.input.hints.remote_arrays {
            0 => PART_BYTES,
            _ => REMOTE_PART_BYTES,
        };
        Some(Kind { shuffle: self.number, round: self.round(cx), which, rows, part_bytes })
    }

    fn map(&self, requests: &mut [RowRequest], cx: &Context) {
        let round = self.round(cx);
        let order = self.order(round);
        let mut rest = requests;
        while let Some(first) = rest.first() {
            let group = self.group(&order, round, first.index);
            let len =
                rest.iter().take_while(|request| group.elements.contains(&request.index)).count();
            let (here, later) = rest.split_at_mut(len);
            order.map(&group, here);
            rest = later;
        }
    }
}

impl Stage for BlockShuffle {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        let mut arguments = vec![format!("block={}, group={}", self.block, self.group)];
        arguments.extend(self.seed.describe());
        if !self.reshuffle_each_iteration {
            arguments.push("reshuffle_each_iteration=False".into());
        }
        format!("shuffle({})", arguments.join(", "))
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let (sizes, seed) = ((self.block, self.group), self.seed.rebuilt(change));
        Self::over(&inputs[0], sizes, seed, self.reshuffle_each_iteration, self.is_default)
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let cx = Context::new(Epoch(0), CancelToken::default());
        let kind = self.kind(Columns::All, self.input.spec().len(), &cx);
        let remote_groups = self.is_default && kind.is_some();
        let group_bytes = kind.map_or(0, |kind| kind.group_bytes(&self.order(kind.round)));
        Hints {
            depends_on_epoch: self.reshuffle_each_iteration || inputs.depends_on_epoch,
            group_bytes: inputs.group_bytes.saturating_add(group_bytes),
            remote_groups,
            ..inputs
        }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        if self.file_rows.is_some() {
            return get_by_gather(self.input.spec(), index, |requests, out| {
                self.gather(Columns::All, requests, out, cx)
            });
        }
        let round = self.round(cx);
        let order = self.order(round);
        self.input.stage.get(order.get(&self.group(&order, round, index), index), cx)
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.map(requests, cx);
        self.input.stage.lengths(at, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let round = self.round(cx);
        let order = self.order(round);
        for part in parts.iter_mut() {
            part.index = order.get(&self.group(&order, round, part.index), part.index);
        }
        self.input.stage.gather_parts(at, parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let mut left;
        let requests = match &cx.budget {
            Some(budget) if self.file_rows.is_some() => {
                left = self.gather_held(budget, columns, requests, out, cx)?;
                &mut left
            }
            _ => requests,
        };
        if requests.is_empty() {
            return Ok(());
        }
        self.map(requests, cx);
        self.input.stage.gather(columns, requests, out, cx)
    }
}

#[cfg(test)]
mod tests;
