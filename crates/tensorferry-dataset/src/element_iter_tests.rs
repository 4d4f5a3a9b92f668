//! Random stacks of stages resume after any number of elements.

use crate::checkpoint::checkpoint::Checkpoint;
use crate::checkpoint::state::State;
use crate::execute::options::Options;
use crate::shuffle::prng::mix;
use crate::spec::Component;
use crate::stage::{Dataset, Element, Epoch, Value};
use crate::testing::{
    assert_goes_on_after_a_stop, assert_rebuilds, assert_resumes, assert_survives_damage, counting,
    dying, element, element_spec, fails_at, first, ints, range, rest, stream,
};
use crate::user_fn::function::Function;
use crate::{BatchOptions, InterleaveOptions, PaddedBatchOptions, ShuffleOptions, WindowOptions};
use tensorferry_core::{DType, Shape, Tensor, TensorSpec};

/// A sequence of pseudo-random numbers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % n
    }

    fn size(&mut self, n: u64) -> usize {
        usize::try_from(self.below(n)).unwrap() + 1
    }

    fn number(&mut self, n: u64) -> i64 {
        self.below(n).cast_signed()
    }
}

/// The numbers of a tensor, as a dataset.
fn opened(element: &Element) -> Dataset {
    let values: Vec<i64> = element[0].tensor().unwrap().view::<i64>().unwrap().iter().collect();
    ints(&values)
}

/// The elements of a nested dataset.
fn nested(element: Element) -> Dataset {
    match element.into_iter().next() {
        Some(Value::Dataset(inner)) => inner,
        _ => panic!("not a nested dataset"),
    }
}

/// Adds a random stage, whose elements are numbers.
fn stacked(input: &Dataset, draw: &mut Draw) -> Dataset {
    let (spec, pick) = (element_spec(), draw.number(5));
    let size = draw.size(4);
    match draw.below(19) {
        0 => input.filter(fails_at(pick, move |next| Ok(first(&next) % 3 != pick))),
        1 => input.take_while(fails_at(1, move |next| Ok(first(&next) != pick + 3))),
        2 => input.unique().unwrap(),
        3 => input.take(Some(draw.below(9))),
        4 => input.skip(Some(draw.below(3))),
        5 => input.repeat(Some(draw.below(3))),
        6 => input.shard(2, draw.below(2)).unwrap(),
        7 => input.concatenate(&counting(2)).unwrap(),
        8 => input.flat_map(fails_at(pick, |next| Ok(counting(first(&next) % 4))), spec),
        9 => {
            let open = Function::new("open", |batch: Element| Ok(opened(&batch)));
            input
                .batch_with(size, BatchOptions { drop_remainder: draw.below(2) == 0 })
                .unwrap()
                .flat_map(open, spec)
        }
        10 => {
            let open = Function::new("open", |window: Element| Ok(nested(window)));
            let windows = input
                .window(
                    size as u64,
                    WindowOptions {
                        shift: Some(draw.below(4) + 1),
                        drop_remainder: draw.below(2) == 0,
                        ..WindowOptions::default()
                    },
                )
                .unwrap();
            windows.flat_map(open, spec)
        }
        11 | 12 => {
            let open = fails_at(pick, |next| {
                let value = first(&next);
                Ok(ints(&[value, value + 1, value + 2]).take(Some(value.unsigned_abs() % 4)))
            });
            input
                .interleave(
                    open,
                    spec,
                    InterleaveOptions { cycle_length: size, block_length: draw.size(3) },
                )
                .unwrap()
        }
        13 | 14 => {
            let key = fails_at(pick, |next| Ok(first(&next).rem_euclid(3)));
            let reduce = Function::new("reduce", |(key, window): (i64, Dataset)| {
                Ok(window.skip(Some(key.cast_unsigned() % 2)))
            });
            input.group_by_window(
                key,
                reduce,
                Function::new("size", move |_| Ok(size as u64)),
                spec,
            )
        }
        15 => input
            .shuffle(ShuffleOptions {
                buffer_size: Some(size as u64 + 1),
                seed: Some(draw.below(100)),
                reshuffle_each_iteration: draw.below(2) == 0,
            })
            .unwrap(),
        16 => {
            let shuffled = Function::new("shuffled", |next| {
                counting(first(&next) % 5).shuffle(ShuffleOptions {
                    buffer_size: Some(3),
                    seed: Some(7),
                    ..ShuffleOptions::default()
                })
            });
            input.flat_map(shuffled, spec)
        }
        _ => {
            let sums = Function::new("sums", move |(state, next): (Element, Element)| {
                Ok((element(first(&state) % 100 + first(&next)), state))
            });
            input.scan(element(pick), sums, spec).unwrap()
        }
    }
}

fn random(draw: &mut Draw) -> Dataset {
    let n = draw.number(12);
    let source = match draw.below(3) {
        0 => counting(n),
        _ => ints(&(0..n).map(|_| draw.number(8)).collect::<Vec<_>>()),
    };
    let depth = draw.size(4);
    // Limit the number of elements: the tests resume after each of them.
    (0..depth).fold(source, |dataset, _| stacked(&dataset, draw).take(Some(40)))
}

#[test]
fn random_stacks_resume_after_any_number_of_elements() {
    for case in 0..400 {
        let dataset = random(&mut Draw(mix(case)));
        assert_resumes(&dataset);
        assert_rebuilds(&dataset);
    }
}

#[test]
fn random_stacks_go_on_after_a_stop() {
    for case in 2000..2200 {
        assert_goes_on_after_a_stop(&random(&mut Draw(mix(case))));
    }
}

#[test]
fn random_stacks_survive_damaged_states() {
    for case in 1000..1100 {
        assert_survives_damage(&random(&mut Draw(mix(case))));
    }
}

#[test]
fn random_stacks_resume_from_bytes() {
    let numbers = |iter: &mut dyn Iterator<Item = crate::error::Result<Element>>| -> Vec<String> {
        iter.map(|element| {
            element.map_or_else(|error| error.to_string(), |element| first(&element).to_string())
        })
        .collect()
    };
    for case in 2000..2100 {
        let dataset = random(&mut Draw(mix(case)));
        let all = numbers(&mut dataset.iter());
        let mut iter = dataset.iter();
        let prefix = numbers(&mut iter.by_ref().take(all.len() / 2));
        let bytes = iter.checkpoint().unwrap().to_bytes();
        let mut resumed =
            dataset.resume(&Checkpoint::from_bytes(&bytes).unwrap(), &Options::default()).unwrap();
        assert_eq!([prefix, numbers(&mut resumed)].concat(), all, "{dataset}");
    }
}

#[test]
fn random_stacks_are_the_same_read_ahead() {
    for case in 4000..4050 {
        let dataset = random(&mut Draw(mix(case)));
        let words = |options: &Options| -> Vec<String> {
            let iter = dataset.iter_with(Epoch(2), options);
            iter.map(|element| {
                element
                    .map_or_else(|error| error.to_string(), |element| first(&element).to_string())
            })
            .collect()
        };
        let ahead = Options { threads: Some(2), read_ahead: Some(3), ..Options::default() };
        assert_eq!(words(&ahead), words(&Options::default()), "{dataset}");
    }
}

/// The stages behind Python's `bucket_by_sequence_length`.
#[test]
fn sequences_are_batched_by_their_lengths() {
    let word = |len: i64| -> Element {
        let len = usize::try_from(len).unwrap();
        vec![Tensor::from_vec(vec![1_i64; len], &[len]).unwrap().into()]
    };
    let any = vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::new([None])))];
    let words =
        Dataset::from_elements([1, 5, 2, 7, 3, 6, 1].map(word).to_vec(), any.clone()).unwrap();
    let bucket =
        Function::new("bucket", |word: Element| Ok(i64::from(word[0].tensor()?.shape()[0] >= 4)));
    let padded = Function::new("padded", |(_, window): (i64, Dataset)| {
        window.padded_batch(3, PaddedBatchOptions::default())
    });
    let spec = words.padded_batch(3, PaddedBatchOptions::default()).unwrap().spec().to_vec();
    let size = Function::new("size", |bucket: i64| Ok(if bucket == 0 { 3 } else { 2 }));
    for input in [words.clone(), words.filter(Function::new("all", |_| Ok(true)))] {
        let batches =
            input.group_by_window(bucket.clone(), padded.clone(), size.clone(), spec.clone());
        let shapes: Vec<Vec<usize>> = batches
            .iter()
            .map(|batch| batch.unwrap()[0].tensor().unwrap().shape().to_vec())
            .collect();
        assert_eq!(shapes, [[2, 7], [3, 3], [1, 1], [1, 6]].map(Vec::from));
        assert_resumes(&batches);
    }
}

#[test]
fn what_shuffles_inside_a_function_goes_on_in_the_order_it_had() {
    let shuffled =
        Function::new("shuffled", |_: Element| range(6).shuffle(ShuffleOptions::default()));
    let reduce = Function::new("reduce", |(_, window): (i64, Dataset)| {
        window.shuffle(ShuffleOptions::default())
    });
    let key = Function::new("key", |next| Ok(first(&next) % 2));
    for dataset in [
        range(3).flat_map(shuffled.clone(), element_spec()),
        range(3)
            .interleave(
                shuffled,
                element_spec(),
                InterleaveOptions { cycle_length: 2, block_length: 2 },
            )
            .unwrap(),
        range(24).group_by_window(key, reduce, Function::new("size", |_| Ok(6)), element_spec()),
    ] {
        let mut interrupted = stream(&dataset);
        (0..3).for_each(|_| drop(interrupted.next()));
        let mut resumed = stream(&dataset);
        resumed.restore(&interrupted.save().unwrap()).unwrap();
        // The same after a second save.
        let mut again = stream(&dataset);
        again.restore(&resumed.save().unwrap()).unwrap();
        let three = |mut stream: crate::testing::Pass| {
            (0..3).map(|_| first(&stream.next().unwrap().unwrap())).collect::<Vec<_>>()
        };
        let expected = three(interrupted);
        assert_eq!(three(resumed), expected, "{dataset}");
        assert_eq!(three(again), expected, "{dataset}");
    }
}

#[test]
fn a_state_says_the_same_whenever_it_is_saved() {
    for case in 3000..3050 {
        let dataset = random(&mut Draw(mix(case)));
        let (mut one, mut other) = (stream(&dataset), stream(&dataset));
        for _ in 0..5 {
            let words = |state: &State| strip(state);
            assert_eq!(words(&one.save().unwrap()), words(&other.save().unwrap()), "{dataset}");
            one.next();
            other.next();
        }
        assert_eq!(rest(&mut one), rest(&mut other));
    }
}

/// A state as text, without the addresses of its tensors.
fn strip(state: &State) -> String {
    match state {
        State::Tensors(tensors) => tensors
            .iter()
            .map(|tensor| format!("{:?}{:?}", tensor.shape(), tensor.as_view().as_bytes()))
            .collect(),
        State::List(parts) => parts.iter().map(strip).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_error_that_ends_a_stream_is_told_in_the_place_of_a_batch_that_is_dropped() {
    let padded = dying(2).padded_batch(
        4,
        PaddedBatchOptions { drop_remainder: true, ..PaddedBatchOptions::default() },
    );
    for batches in [
        dying(2).batch_with(4, BatchOptions::DROP_REMAINDER),
        padded,
        dying(2).batch(1).and_then(|ones| ones.rebatch(vec![4], BatchOptions::DROP_REMAINDER)),
    ] {
        let batches = batches.unwrap();
        let mut stream = stream(&batches);
        assert!(matches!(stream.next(), Some(Err(_))), "{batches}");
        assert!(stream.next().is_none(), "{batches}");
        assert_resumes(&batches);
    }
}
