use crate::execute::options::Options;
use crate::shuffle::block_shuffle::*;
use crate::stage::Epoch;
use crate::testing::{assert_rebuilds, assert_resumes, counting, even, first, range, rows, values};
use crate::{BatchOptions, ShuffleOptions};
use tensorferry_core::Tensor;
use tensorferry_io::format::npy::save_npy;
use tensorferry_io::open::open_with;
use tensorferry_io::storage::mode::Mode;

fn shuffled(n: i64, block: u64, group: u64) -> Dataset {
    range(n)
        .shuffle_blocks(
            block,
            ShuffleOptions {
                buffer_size: Some(group * block),
                seed: Some(7),
                ..ShuffleOptions::default()
            },
        )
        .unwrap()
}

fn epoch(dataset: &Dataset, epoch: u64) -> Vec<i64> {
    dataset
        .iter_with(Epoch(epoch), &Options::default())
        .map(|element| first(&element.unwrap()))
        .collect()
}

/// Orders that never change, one per line: number of elements, elements per block, blocks per
/// group, epoch, and the first ten elements of `shuffle(seed=7, block=block)`.
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
        let all: Vec<String> =
            (0..10).map(|at| order.get(&order.group(order.number(at)), at).to_string()).collect();
        lines += &format!("{n} {block} {group} 0: {}\n", all.join(" "));
    }
    assert_eq!(lines, include_str!("../golden/shuffle_blocks.txt"));
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
        sorted(one.clone()).into_iter().eq(0..100) && sorted(other.clone()).into_iter().eq(0..100)
    );
    assert_ne!(one, other);
    assert_eq!(values(&dataset.repeat(Some(2))), [one.clone(), other].concat());
    let kept = range(100)
        .shuffle_blocks(
            7,
            ShuffleOptions {
                buffer_size: Some(27),
                seed: Some(7),
                reshuffle_each_iteration: false,
            },
        )
        .unwrap();
    assert_eq!([epoch(&kept, 0), epoch(&kept, 1)], [one.clone(), one]);
}

#[test]
fn batches_and_single_elements_agree() {
    let dataset = shuffled(1000, 16, 4).repeat(Some(2));
    assert_eq!(rows(&dataset.batch(100).unwrap()).concat(), values(&dataset));
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
        open_with(&[path], &mode.into()).unwrap().array().unwrap()
    };
    [Dataset::from_rows([file("x", &x), file("y", &y)]).unwrap(), memory]
}

#[test]
fn rows_read_in_groups_are_those_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [Mode::Direct, Mode::Read] {
        let both = file_and_memory(&directory, 5003, mode);
        let plans: [fn(&Dataset) -> Dataset; 6] = [
            |dataset| dataset.batch(64).unwrap(),
            |dataset| {
                dataset.batch_with(3000, BatchOptions::DROP_REMAINDER).unwrap().repeat(Some(2))
            },
            |dataset| dataset.skip(Some(1234)).batch(100).unwrap(),
            |dataset| dataset.shard(3, 1).unwrap().batch(10).unwrap(),
            |dataset| dataset.components(&[1]).unwrap().batch(50).unwrap(),
            |dataset| dataset.take(Some(300)),
        ];
        for plan in plans {
            for (block, group) in [(50, 8), (1, 100), (10_000, 2), (300, 1)] {
                let [file, memory] = both.each_ref().map(|rows| {
                    let shuffled = plan(
                        &rows
                            .shuffle_blocks(
                                block,
                                ShuffleOptions {
                                    buffer_size: Some(block * group),
                                    seed: Some(3),
                                    ..ShuffleOptions::default()
                                },
                            )
                            .unwrap(),
                    );
                    let bytes = |element: Result<Element>| {
                        let parts =
                            element.unwrap().into_iter().map(|part| part.into_tensor().unwrap());
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
        rows.shuffle_blocks(
            10,
            ShuffleOptions { buffer_size: Some(40), seed: Some(3), ..ShuffleOptions::default() },
        )
        .unwrap()
        .batch(25)
        .unwrap()
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
        describe(range(9).shuffle_blocks(2, ShuffleOptions::seeded(7))),
        "shuffle(block=2, group=64, seed=7)"
    );
    let kept = describe(range(9).shuffle_blocks(
        2,
        ShuffleOptions {
            buffer_size: Some(7),
            reshuffle_each_iteration: false,
            ..ShuffleOptions::default()
        },
    ));
    assert_eq!(kept, "shuffle(block=2, group=3, reshuffle_each_iteration=False)");
}

#[test]
fn what_has_no_blocks_is_refused() {
    let message = |dataset: Dataset, block, size| {
        dataset
            .shuffle_blocks(
                block,
                ShuffleOptions { buffer_size: size, ..ShuffleOptions::default() },
            )
            .unwrap_err()
            .to_string()
    };
    assert!(message(range(3), 0, None).contains("at least 1"));
    assert!(
        message(range(3), 4, Some(3))
            .contains("a block of 4 elements does not fit in a buffer_size of 3")
    );
    assert!(message(range(3).repeat(None), 1, None).contains("Shuffle before repeat"));
    assert!(message(range(3).filter(even()), 1, None).contains("no random access"));
    assert!(message(counting(3), 1, None).contains("no random access"));
}

#[test]
fn an_iteration_resumes_anywhere() {
    assert_resumes(&shuffled(20, 3, 2).repeat(Some(2)).batch(3).unwrap());
    assert_rebuilds(
        &range(20)
            .shuffle_blocks(3, ShuffleOptions { buffer_size: Some(6), ..ShuffleOptions::default() })
            .unwrap(),
    );
}
