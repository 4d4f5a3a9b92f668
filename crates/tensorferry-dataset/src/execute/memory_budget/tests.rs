use crate::checkpoint::change::Change;
use crate::execute::memory_budget::*;
use crate::gather::get_by_gather;
use crate::request::Columns;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, Element, Elements, Epoch, Hints, Stage};
use crate::{BatchOptions, ShuffleOptions};
use std::sync::atomic::AtomicU64;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

const N: u64 = 40_000;
const ROW: usize = 64;
/// Rows of a group. With far smaller groups, a thread may be many groups behind.
const GROUP: u64 = 4_096;
const GROUP_BYTES: usize = 8 * ROW * 4_096;

/// Numbers that claim to come from files. Counts the rows read and records the peak memory.
struct Counted {
    numbers: Dataset,
    read: Arc<AtomicU64>,
    most: Arc<AtomicUsize>,
}

impl Stage for Counted {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], self.numbers.spec())
    }

    fn cardinality(&self) -> Cardinality {
        self.numbers.cardinality()
    }

    fn describe(&self) -> String {
        "counted".into()
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let (read, most) = (Arc::clone(&self.read), Arc::clone(&self.most));
        Ok(Dataset::of(Self { numbers: self.numbers.clone(), read, most }))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { reads_files: true, ..inputs }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        get_by_gather(self.numbers.spec(), index, |requests, out| {
            self.gather(Columns::All, requests, out, cx)
        })
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.read.fetch_add(requests.len() as u64, Ordering::Relaxed);
        if let Some(held) = &cx.budget {
            let in_use = held.tracks.lock().in_use.load(Ordering::Relaxed);
            self.most.fetch_max(in_use + held.for_batches(), Ordering::Relaxed);
        }
        self.numbers.stage.gather(columns, requests, out, cx)
    }
}

struct Source {
    shuffled: Dataset,
    read: Arc<AtomicU64>,
    most: Arc<AtomicUsize>,
}

impl Source {
    fn new() -> Self {
        let (read, most) = (Arc::default(), Arc::default());
        let numbers = rows();
        let counted =
            Dataset::of(Counted { numbers, read: Arc::clone(&read), most: Arc::clone(&most) });
        Self {
            shuffled: counted
                .shuffle_blocks(
                    128,
                    ShuffleOptions {
                        buffer_size: Some(GROUP),
                        seed: Some(7),
                        ..ShuffleOptions::default()
                    },
                )
                .unwrap(),
            read,
            most,
        }
    }
}

/// Rows that are filled with their number.
fn rows() -> Dataset {
    let numbers = (0..i64::try_from(N).unwrap()).flat_map(|row| [row; ROW]).collect();
    Dataset::from_tensor_slices([tensorferry_core::Tensor::from_vec(
        numbers,
        &[usize::try_from(N).unwrap(), ROW],
    )
    .unwrap()])
    .unwrap()
}

/// The row numbers in batches, for each component.
fn numbers(elements: impl Iterator<Item = Result<Element>>) -> Vec<Vec<i64>> {
    let part = |part: crate::stage::Value| {
        part.tensor().unwrap().view::<i64>().unwrap().iter().step_by(ROW).collect::<Vec<_>>()
    };
    let mut all: Vec<Vec<i64>> = Vec::new();
    for element in elements {
        for (at, value) in element.unwrap().into_iter().enumerate() {
            if at == all.len() {
                all.push(Vec::new());
            }
            all[at].extend(part(value));
        }
    }
    all
}

fn order() -> Vec<i64> {
    let shuffled = rows()
        .shuffle_blocks(
            128,
            ShuffleOptions { buffer_size: Some(GROUP), seed: Some(7), ..ShuffleOptions::default() },
        )
        .unwrap();
    numbers(shuffled.batch(1000).unwrap().iter()).remove(0)
}

#[test]
fn a_pass_reads_each_row_once() {
    let expected = order();
    for threads in [1, 4] {
        let source = Source::new();
        let options = Options { threads: Some(threads), read_ahead: Some(4), ..Options::default() };
        let batches = source.shuffled.batch(64).unwrap().iter_with(Epoch(0), &options);
        assert!(numbers(batches) == [expected.as_slice()]);
        let read = source.read.load(Ordering::Relaxed);
        // Each thread reads its first batch row by row, and rows of groups that it is late for.
        assert!(read <= N + 64 * 40, "{read} with {threads} threads");
    }
}

#[test]
fn passes_at_the_same_time_do_not_push_out_what_others_need() {
    let expected = order();
    for apart in [0, 64, GROUP / 2, GROUP, 3 * GROUP - 17, N / 2] {
        let source = Source::new();
        let later = source.shuffled.skip(Some(apart));
        let zipped = Dataset::zip(vec![source.shuffled.clone(), later]).unwrap().batch(64).unwrap();
        let all = numbers(zipped.iter());
        let len = usize::try_from(apart).unwrap();
        assert!(
            all[0] == expected[..expected.len() - len] && all[1] == expected[len..],
            "{apart} apart"
        );
        let read = source.read.load(Ordering::Relaxed);
        assert!(read <= 2 * N + 4 * GROUP, "{read} of {N}, {apart} apart");
    }
}

#[test]
fn iterators_of_one_dataset_at_different_places_read_each_row_once() {
    let (source, expected) = (Source::new(), order());
    let batched = source.shuffled.batch(64).unwrap();
    let options = Options { read_ahead: Some(0), ..Options::default() };
    let mut iters: Vec<_> =
        (0..4).map(|at| (at, batched.skip(Some(at * 100)).iter_with(Epoch(0), &options))).collect();
    let mut found = vec![Vec::new(); iters.len()];
    while !iters.is_empty() {
        iters.retain_mut(|(at, iter)| {
            let more = iter.next().map(|element| numbers(std::iter::once(element)).remove(0));
            let any = more.is_some();
            found[usize::try_from(*at).unwrap()].extend(more.unwrap_or_default());
            any
        });
    }
    for (at, found) in found.iter().enumerate() {
        assert!(*found == expected[at * 6400..], "{at}");
    }
    let read = source.read.load(Ordering::Relaxed);
    let rows: u64 = (0..4).map(|at| N - at * 6400 + GROUP + 200).sum();
    assert!(read <= rows, "{read} of {rows}");
}

#[test]
fn groups_and_batches_stay_within_the_memory_limit_and_what_finds_no_room_is_read_row_by_row() {
    let expected = order();
    // A sixth of a limit is not counted, and a quarter of the rest is for batches.
    for (limit, times) in [(GROUP_BYTES * 5 / 3, 2), (GROUP_BYTES * 4, 2), (GROUP_BYTES * 8, 1)] {
        for threads in [1, 3] {
            let source = Source::new();
            let options =
                Options { memory_limit: Some(limit), threads: Some(threads), read_ahead: Some(50) };
            let batches = source
                .shuffled
                .batch_with(64, BatchOptions::DROP_REMAINDER)
                .unwrap()
                .repeat(Some(2))
                .iter_with(Epoch(0), &options);
            let found = numbers(batches).remove(0);
            assert!(found[..expected.len()] == expected, "limit {limit}");
            let (most, read) =
                (source.most.load(Ordering::Relaxed), source.read.load(Ordering::Relaxed));
            assert!(most <= limit, "{most} of {limit}, {threads} threads");
            assert!(
                read <= 2 * times * N + 64 * 200,
                "{read} with limit {limit}, {threads} threads"
            );
        }
    }
    // There is room for one of two passes.
    let source = Source::new();
    let zipped =
        Dataset::zip(vec![source.shuffled.clone(), source.shuffled.skip(Some(N / 2))]).unwrap();
    let options = Options { memory_limit: Some(GROUP_BYTES * 5 / 3), ..Options::default() };
    let all = numbers(zipped.batch(64).unwrap().iter_with(Epoch(0), &options));
    assert!(all[1] == expected[expected.len() / 2..]);
    assert!(
        source.read.load(Ordering::Relaxed) <= 2 * N
            && source.most.load(Ordering::Relaxed) <= GROUP_BYTES * 5 / 3
    );
}

#[test]
fn a_group_that_does_not_fit_is_refused_and_the_error_says_what_would_do() {
    let source = Source::new();
    let first = |limit| {
        let options = Options { memory_limit: Some(limit), ..Options::default() };
        source
            .shuffled
            .batch(64)
            .unwrap()
            .iter_with(Epoch(0), &options)
            .take(2)
            .collect::<Result<Vec<_>>>()
    };
    let said = first(GROUP_BYTES).unwrap_err().to_string();
    assert!(
        said.contains("a group of 4096 rows needs 2097152 bytes")
            && said.contains("smaller buffer_size"),
        "{said}"
    );
    let words: Vec<&str> = said.split("memory_limit of ").collect();
    let least: usize = words[2].split(' ').next().unwrap().parse().unwrap();
    assert!(first(least).is_ok() && first(least - least / 30).is_err(), "{said}");
}

#[test]
fn little_memory_is_left_to_fewer_readers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.npy");
    tensorferry_io::format::npy::save_npy(
        &path,
        &tensorferry_core::Tensor::from_vec(vec![0_i64; 100], &[100]).unwrap().as_view(),
    )
    .unwrap();
    let held = |mode: tensorferry_io::Mode, limit| {
        let array =
            tensorferry_io::open::open_with(&[&path], &mode.into()).unwrap().array().unwrap();
        let rows = Dataset::from_rows([array]).unwrap();
        let options = Options { threads: Some(8), memory_limit: limit, ..Options::default() };
        MemoryBudget::new(&rows.hints, &options)
    };
    let (read, direct) = (
        held(tensorferry_io::storage::mode::Mode::Read, Some(32 << 20)),
        held(tensorferry_io::storage::mode::Mode::Direct, Some(32 << 20)),
    );
    assert_eq!((read.threads(), read.for_batches()), (8, 29 << 20));
    assert_eq!((direct.threads(), direct.for_batches()), (1, (29 - 12) << 20));
    let ample = held(tensorferry_io::storage::mode::Mode::Direct, Some(1 << 30));
    assert_eq!((ample.threads(), ample.for_batches()), (8, (990 - 40) << 20));
    let unlimited = held(tensorferry_io::storage::mode::Mode::Direct, None);
    assert_eq!((unlimited.threads(), unlimited.for_batches()), (8, 246 << 20));
    let remote = Hints { direct_arrays: 2, remote_arrays: 2, ..Hints::default() };
    let options = Options { threads: Some(8), ..Options::default() };
    let limited = Options { memory_limit: Some(256 << 20), ..options };
    let (ample, limited) =
        (MemoryBudget::new(&remote, &options), MemoryBudget::new(&remote, &limited));
    assert_eq!((ample.readahead(), limited.readahead()), (None, Some((246 << 20) / 4 / 2)));
    assert!(limited.for_batches() < (248 - 62) << 20);
    let tiny = held(tensorferry_io::storage::mode::Mode::Direct, Some(1 << 20));
    assert_eq!((tiny.threads(), tiny.for_batches()), (1, 432 << 10));
}
