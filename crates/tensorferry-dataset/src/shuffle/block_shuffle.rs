//! Another order in every epoch, that keeps together what lies together.

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::execute::memory_budget::Held;
use crate::shuffle::block_order::{BlockOrder, Group};
use crate::shuffle::held_group::Kind;
use crate::shuffle::orders::Orders;
use crate::shuffle::permutation::LONGEST;
use crate::shuffle::random::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::Epoch;
use crate::stage::{Change, Context, Element, Needs, Stage, get_by_gather};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorferry_io::cancel::Stop;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;
use tensorferry_io::sync::shared::Shared;

/// Blocks of a group, if the user does not say how many elements it may have.
const GROUP: u64 = 64;
/// Bytes of such a group, at most, unless one block has more: three of them are in memory at times,
/// within what an iteration has by default.
const GROUP_BYTES: u64 = 64 << 20;
/// Requests whose ends are remembered: as many threads may take turns.
const REMEMBERED: usize = 8;
/// Elements go on where others ended if no more than so many times as many lie between: other
/// threads have them.
const BETWEEN: u64 = 16;
/// Bytes that are read along with a row sooner than the row is read by itself: what a shuffle in
/// blocks reads in that time, by W5's figures (11.0 us for a row, 4.87 M rows of 400 bytes a second
/// in blocks).
const READ_ALONG: u64 = 21 << 10;

/// How many there were: what an iteration keeps of one is known by its number.
static NUMBER: AtomicU64 = AtomicU64::new(0);

struct BlockShuffle {
    number: u64,
    input: Dataset,
    n: u64,
    block: u64,
    group: u64,
    seed: Seed,
    reshuffle_each_iteration: bool,
    orders: Orders<u64, Arc<BlockOrder>>,
    groups: Orders<(u64, u64), Arc<Group>>,
    /// Bytes of a row of each component, where they come from files that are read.
    file_rows: Option<Vec<usize>>,
    /// Where the last requests ended.
    ends: Shared<[u64; REMEMBERED]>,
}

impl Dataset {
    /// As [`Dataset::shuffle`], for sources that are slow to read element by element: elements of
    /// one block, `block` consecutive ones, stay near each other. The blocks are put in a random
    /// order; as many of them as `buffer_size` elements hold, in that order, make a group (if
    /// `None`, 64, or as many as have 64 MiB, at least one); and the elements of each group are put
    /// in a random order. It is still an exact permutation, which follows from `seed` and the
    /// epoch, and of which any element can be computed.
    ///
    /// Of files that are read ([`tensorferry_io::storage::mode::Mode::Direct`],
    /// [`tensorferry_io::storage::mode::Mode::Read`]) an iteration keeps in memory the group that
    /// elements are taken from and the one that is read meanwhile, and for a moment the one before,
    /// and blocks are read whole. With little
    /// [`Options::memory_limit`](crate::execute::options::Options) it is fewer groups. Of
    /// anything else nothing is kept.
    ///
    /// Where not even one group fits in a memory limit, the iteration fails with
    /// [`Error::Argument`].
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let shuffled = Dataset::range(0, 12, 1, DType::Int64)?.shuffle_blocks(3, Some(6), Some(7), true)?;
    /// let mut numbers = Vec::new();
    /// for element in &shuffled {
    ///     numbers.extend(element?[0].tensor()?.view::<i64>()?.get(&[]));
    /// }
    /// assert_eq!(numbers, [6, 5, 4, 3, 8, 7, 9, 1, 10, 2, 11, 0]);
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `block` is 0 or larger than `buffer_size`, if the elements come one
    /// after the other (filter, from_generator and the like) or without end, or if there are more
    /// than 2^63.
    pub fn shuffle_blocks(
        &self,
        block: u64,
        buffer_size: Option<u64>,
        seed: Option<u64>,
        reshuffle_each_iteration: bool,
    ) -> Result<Self> {
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
        BlockShuffle::over(self, block, group, Seed::new(seed), reshuffle_each_iteration)
    }
}

/// Blocks of a group where the user does not say: fewer than [`GROUP`] if they are large. It
/// follows from the rows alone, for it is part of the order.
fn default_group(input: &Dataset, block: u64) -> u64 {
    let row: Option<usize> = input.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1)).sum();
    let block_bytes = block.saturating_mul(row.unwrap_or(0) as u64).max(1);
    (GROUP_BYTES / block_bytes).clamp(1, GROUP)
}

impl BlockShuffle {
    fn over(
        input: &Dataset,
        block: u64,
        group: u64,
        seed: Seed,
        reshuffle_each_iteration: bool,
    ) -> Result<Dataset> {
        let wrong = |what: &str| Error::Argument { stage: "shuffle", what: what.into() };
        let n = match input.cardinality() {
            Cardinality::Finite(n) if input.is_indexed() && n <= LONGEST => n,
            Cardinality::Finite(_) if input.is_indexed() => {
                return Err(wrong("there are more than 2^63 elements. Take fewer."));
            }
            Cardinality::Infinite => {
                return Err(wrong(
                    "the dataset has no end, so no order of all its blocks. Shuffle before repeat.",
                ));
            }
            _ => {
                let what = "its elements come one after the other (filter, from_generator and the \
                    like), so there are no blocks to \
                            shuffle. Shuffle before that stage, or give a buffer_size and no block.";
                return Err(wrong(what));
            }
        };
        let fixed: Option<Vec<usize>> =
            input.spec().iter().map(|part| Some(part.tensor()?.fixed()?.1)).collect();
        // Functions are not called before their results are asked for.
        let file_rows = fixed.filter(|_| input.stage.reads_files() && !input.is_sequential());
        Ok(Dataset::of(Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            input: input.clone(),
            n,
            block,
            group,
            seed,
            reshuffle_each_iteration,
            orders: Orders::default(),
            groups: Orders::default(),
            file_rows,
            ends: Shared::default(),
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

    /// Whether these elements go on where others were asked for, in order.
    fn goes_on(&self, first: &Request, last: &Request, len: u64) -> bool {
        let mut ends = self.ends.lock();
        let goes_on = ends
            .iter()
            .any(|end| first.index >= *end && first.index - *end <= len.saturating_mul(BETWEEN));
        ends.rotate_right(1);
        ends[0] = last.index + 1;
        goes_on
    }

    /// The rows that are best had from groups in memory. What is left is to be read row by row.
    fn gather_held(
        &self,
        held: &Held,
        which: &[usize],
        requests: &[Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<Vec<Request>> {
        let (Some(kind), Some(first), Some(last)) =
            (self.kind(which, cx), requests.first(), requests.last())
        else {
            return Ok(requests.to_vec());
        };
        let (len, row) = (requests.len() as u64, kind.rows.iter().sum::<usize>() as u64);
        // Other shards may have elements that lie between.
        let distance = last.index.wrapping_sub(first.index);
        let dense = distance < len.saturating_mul(1 + READ_ALONG / row.max(1));
        if !dense || !requests.is_sorted_by(|a, b| a.index < b.index) {
            return Ok(requests.to_vec());
        }
        let order = self.order(kind.round);
        let mut goes_on = self.goes_on(first, last, len);
        if goes_on || first.index == 0 {
            held.check(&kind, &order)?;
        }
        let besides = order.number(last.index) - order.number(first.index);
        let (mut rest, mut left) = (requests, Vec::new());
        while let Some(first) = rest.first() {
            let number = order.number(first.index);
            let end = order.elements(number).end;
            let (here, later) = rest.split_at(rest.partition_point(|request| request.index < end));
            rest = later;
            // Whoever takes all of a group reads its blocks whole.
            let is_whole = here.len() as u64 == order.group_len();
            let Some(group) =
                (if is_whole { None } else { held.group(&kind, number, besides, goes_on, &order) })
            else {
                left.extend_from_slice(here);
                continue;
            };
            goes_on = true;
            group.copy(here, out, &self.input, &order, cx)?;
            let taken = here.last().map_or(0, |request| request.index + 1);
            held.taken(&group, taken, distance + 1, self.n);
            if end < self.n
                && let Some(next) = held.next(&group, &order)
            {
                next.keep_up(&group, taken, &self.input, &order, cx)?;
            }
        }
        Ok(left)
    }

    /// What is held of these components, if their rows come from files that are read.
    fn kind(&self, which: &[usize], cx: &Context) -> Option<Kind> {
        let rows = self.file_rows.as_ref()?;
        let rows = which.iter().map(|component| rows[*component]).collect();
        Some(Kind { shuffle: self.number, round: self.round(cx), which: which.to_vec(), rows })
    }

    fn map(&self, requests: &mut [Request], cx: &Context) {
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
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        let mut arguments = vec![format!("block={}, group={}", self.block, self.group)];
        arguments.extend(self.seed.describe());
        if !self.reshuffle_each_iteration {
            arguments.push("reshuffle_each_iteration=False".into());
        }
        format!("shuffle({})", arguments.join(", "))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        Self::over(
            &inputs[0],
            self.block,
            self.group,
            self.seed.rebuilt(change),
            self.reshuffle_each_iteration,
        )
    }

    fn drawn_seed(&self) -> Option<&Seed> {
        self.seed.drawn()
    }

    fn identity(&self) -> u64 {
        self.seed.identity()
    }

    fn needs(&self) -> Needs {
        let everything: Vec<usize> = (0..self.spec().len()).collect();
        let kind = self.kind(&everything, &Context::new(Epoch(0), Stop::default()));
        let groups = kind.map_or(0, |kind| kind.group_bytes(&self.order(kind.round)));
        self.input.stage.needs().and(Needs { windows: 0, groups })
    }

    fn depends_on_epoch(&self) -> bool {
        self.reshuffle_each_iteration || self.input.stage.depends_on_epoch()
    }

    fn is_indexed(&self) -> bool {
        true
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        if self.file_rows.is_some() {
            return get_by_gather(self, index, cx);
        }
        let round = self.round(cx);
        let order = self.order(round);
        self.input.stage.get(order.get(&self.group(&order, round, index), index), cx)
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        let everything: Vec<usize> = (0..out.len()).collect();
        self.gather_some(&everything, requests, out, cx)
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        let mut left;
        let requests = match &cx.held {
            Some(held) if self.file_rows.is_some() => {
                left = self.gather_held(held, which, requests, out, cx)?;
                &mut left
            }
            _ => requests,
        };
        if requests.is_empty() {
            return Ok(());
        }
        self.map(requests, cx);
        self.input.stage.gather_some(which, requests, out, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rebuilds, assert_resumes, counting, even, first, range, rows, values,
    };
    use tensorferry_core::Tensor;
    use tensorferry_io::format::npy::save_npy;
    use tensorferry_io::open::open;
    use tensorferry_io::storage::mode::Mode;

    fn shuffled(n: i64, block: u64, group: u64) -> Dataset {
        range(n).shuffle_blocks(block, Some(group * block), Some(7), true).unwrap()
    }

    fn epoch(dataset: &Dataset, epoch: u64) -> Vec<i64> {
        dataset
            .iter_with(Epoch(epoch), &Options::default())
            .map(|element| first(&element.unwrap()))
            .collect()
    }

    /// Orders that are promised for ever, one a line: how many elements, of a block, blocks of a
    /// group, the epoch, the first ten of `shuffle(seed=7, block=block)`.
    #[test]
    fn orders_are_those_of_every_version() {
        let mut lines = String::new();
        for (n, block, group) in
            [(10, 3, 2), (1000, 16, 4), (1001, 16, 4), (1_000_000, 1024, 64), (1_000_000, 7, 1)]
        {
            for round in 0..2 {
                let all = epoch(&shuffled(n, block, group).take(Some(10)), round);
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                lines += &format!("{n} {block} {group} {round}: {}\n", all.join(" "));
            }
        }
        for (n, block, group) in [(1 << 40, 1 << 10, 64), (LONGEST, 1000, 1000)] {
            let order = BlockOrder::new(n, block, group, 7, 0);
            let all: Vec<String> = (0..10)
                .map(|at| order.get(&order.group(order.number(at)), at).to_string())
                .collect();
            lines += &format!("{n} {block} {group} 0: {}\n", all.join(" "));
        }
        assert_eq!(lines, include_str!("golden/shuffle_blocks.txt"));
    }

    #[test]
    fn each_element_is_met_once_in_each_epoch_and_epochs_differ() {
        let dataset = shuffled(100, 7, 3);
        let sorted = |mut all: Vec<i64>| {
            all.sort_unstable();
            all
        };
        let [one, other] = [epoch(&dataset, 0), epoch(&dataset, 1)];
        assert!(
            sorted(one.clone()).into_iter().eq(0..100)
                && sorted(other.clone()).into_iter().eq(0..100)
        );
        assert_ne!(one, other);
        assert_eq!(values(&dataset.repeat(Some(2))), [one.clone(), other].concat());
        let kept = range(100).shuffle_blocks(7, Some(27), Some(7), false).unwrap();
        assert_eq!([epoch(&kept, 0), epoch(&kept, 1)], [one.clone(), one]);
    }

    #[test]
    fn batches_and_single_elements_agree() {
        let dataset = shuffled(1000, 16, 4).repeat(Some(2));
        assert_eq!(rows(&dataset.batch(100, false).unwrap()).concat(), values(&dataset));
        assert_eq!(values(&dataset.skip(Some(990)).take(Some(20))), values(&dataset)[990..1010]);
    }

    /// The rows of a file, and the same in memory.
    fn file_and_memory(directory: &tempfile::TempDir, n: usize, mode: Mode) -> [Dataset; 2] {
        let x = Tensor::from_vec((0..3 * n as u64).collect(), &[n, 3]).unwrap();
        let y = Tensor::from_vec((0..n as u64).map(|at| at + 1_000_000).collect(), &[n]).unwrap();
        let memory = Dataset::from_tensor_slices([x.clone(), y.clone()]).unwrap();
        let file = |name: &str, tensor: &Tensor| {
            let path = directory.path().join(name);
            save_npy(&path, &tensor.as_view()).unwrap();
            open(&[path], None, mode).unwrap().array().unwrap()
        };
        [Dataset::from_rows([file("x", &x), file("y", &y)]).unwrap(), memory]
    }

    #[test]
    fn rows_read_in_groups_are_those_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [Mode::Direct, Mode::Read] {
            let both = file_and_memory(&directory, 5003, mode);
            let plans: [fn(&Dataset) -> Dataset; 6] = [
                |dataset| dataset.batch(64, false).unwrap(),
                |dataset| dataset.batch(3000, true).unwrap().repeat(Some(2)),
                |dataset| dataset.skip(Some(1234)).batch(100, false).unwrap(),
                |dataset| dataset.shard(3, 1).unwrap().batch(10, false).unwrap(),
                |dataset| dataset.components(&[1]).unwrap().batch(50, false).unwrap(),
                |dataset| dataset.take(Some(300)),
            ];
            for plan in plans {
                for (block, group) in [(50, 8), (1, 100), (10_000, 2), (300, 1)] {
                    let [file, memory] = both.each_ref().map(|rows| {
                        let shuffled = plan(
                            &rows
                                .shuffle_blocks(block, Some(block * group), Some(3), true)
                                .unwrap(),
                        );
                        let bytes = |element: Result<Element>| {
                            let parts = element
                                .unwrap()
                                .into_iter()
                                .map(|part| part.into_tensor().unwrap());
                            parts
                                .map(|part| part.as_view().as_bytes().unwrap().to_vec())
                                .collect::<Vec<_>>()
                        };
                        shuffled.iter().map(bytes).collect::<Vec<_>>()
                    });
                    assert!(file == memory, "{mode}, blocks of {block}, groups of {group}");
                }
            }
        }
    }

    #[test]
    fn a_group_that_cannot_be_read_is_an_error_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let [file, memory] = file_and_memory(&directory, 1000, Mode::Direct);
        let shuffled = |rows: &Dataset| {
            rows.shuffle_blocks(10, Some(40), Some(3), true).unwrap().batch(25, false).unwrap()
        };
        let (file, memory) = (shuffled(&file), shuffled(&memory));
        let path = directory.path().join("x");
        let whole = std::fs::read(&path).unwrap();
        let cut = std::fs::File::options().write(true).open(&path).unwrap();
        let modified = cut.metadata().unwrap().modified().unwrap();
        cut.set_len(100).unwrap();
        let words =
            |element: Element| format!("{:?}", element[0].tensor().unwrap().as_view().as_bytes());
        let mut both = (
            file.iter_with(Epoch(0), &Options { read_ahead: Some(0), ..Options::default() }),
            memory.iter(),
        );
        for _ in 0..3 {
            let error = both.0.next().unwrap().unwrap_err();
            assert!(error.to_string().contains("truncated"), "{error}");
            both.1.next();
        }
        std::fs::write(&path, &whole).unwrap();
        cut.set_modified(modified).unwrap();
        for element in both.0.by_ref() {
            assert_eq!(words(element.unwrap()), words(both.1.next().unwrap().unwrap()));
        }
        assert!(both.1.next().is_none());
    }

    #[test]
    fn a_description_says_what_changes_the_order() {
        let describe = |dataset: Result<Dataset>| dataset.unwrap().stage.describe();
        assert_eq!(
            describe(range(9).shuffle_blocks(2, None, Some(7), true)),
            "shuffle(block=2, group=64, seed=7)"
        );
        let kept = describe(range(9).shuffle_blocks(2, Some(7), None, false));
        assert_eq!(kept, "shuffle(block=2, group=3, reshuffle_each_iteration=False)");
    }

    #[test]
    fn what_has_no_blocks_is_refused() {
        let message = |dataset: Dataset, block, size| {
            dataset.shuffle_blocks(block, size, None, true).unwrap_err().to_string()
        };
        assert!(message(range(3), 0, None).contains("at least 1"));
        assert!(
            message(range(3), 4, Some(3))
                .contains("a block of 4 elements does not fit in a buffer_size of 3")
        );
        assert!(message(range(3).repeat(None), 1, None).contains("Shuffle before repeat"));
        assert!(message(range(3).filter(even()), 1, None).contains("one after the other"));
        assert!(message(counting(3), 1, None).contains("one after the other"));
    }

    #[test]
    fn an_iteration_resumes_anywhere() {
        assert_resumes(&shuffled(20, 3, 2).repeat(Some(2)).batch(3, false).unwrap());
        assert_rebuilds(&range(20).shuffle_blocks(3, Some(6), None, true).unwrap());
    }
}
