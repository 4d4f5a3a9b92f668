//! Random stacks of stages resume after any number of elements.

use super::random::mix;
use super::testing::{
    assert_rebuilds, assert_resumes, assert_survives_damage, counting, element, element_spec, fails_at, first, ints, rest, stream,
};
use super::{Dataset, Element, Function, Options, Saved, State, Value};

/// Numbers drawn one after the other.
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

/// One more stage, whose elements are numbers again.
fn stacked(input: &Dataset, draw: &mut Draw) -> Dataset {
    let (spec, pick) = (element_spec(), draw.number(5));
    let size = draw.size(4);
    match draw.below(16) {
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
            input.batch(size, draw.below(2) == 0).unwrap().flat_map(open, spec)
        }
        10 => {
            let open = Function::new("open", |window: Element| Ok(nested(window)));
            let windows = input.window(size as u64, Some(draw.below(4) + 1), 1, draw.below(2) == 0).unwrap();
            windows.flat_map(open, spec)
        }
        11 | 12 => {
            let open = fails_at(pick, |next| {
                let value = first(&next);
                Ok(ints(&[value, value + 1, value + 2]).take(Some(value.unsigned_abs() % 4)))
            });
            input.interleave(open, spec, size, draw.size(3)).unwrap()
        }
        13 | 14 => {
            let key = fails_at(pick, |next| Ok(first(&next).rem_euclid(3)));
            let reduce = Function::new("reduce", |(key, window): (i64, Dataset)| Ok(window.skip(Some(key.cast_unsigned() % 2))));
            input.group_by_window(key, reduce, Function::new("size", move |_| Ok(size as u64)), spec)
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
    // Not more elements than can be resumed after each in a moment.
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
fn random_stacks_survive_damaged_states() {
    for case in 1000..1100 {
        assert_survives_damage(&random(&mut Draw(mix(case))));
    }
}

#[test]
fn random_stacks_resume_from_bytes() {
    let numbers = |iter: &mut dyn Iterator<Item = crate::Result<Element>>| -> Vec<String> {
        iter.map(|element| element.map_or_else(|error| error.to_string(), |element| first(&element).to_string())).collect()
    };
    for case in 2000..2100 {
        let dataset = random(&mut Draw(mix(case)));
        let all = numbers(&mut dataset.iter());
        let mut iter = dataset.iter();
        let prefix = numbers(&mut iter.by_ref().take(all.len() / 2));
        let bytes = iter.save().unwrap().to_bytes();
        let mut resumed = dataset.resume(&Saved::from_bytes(&bytes).unwrap(), &Options::default()).unwrap();
        assert_eq!([prefix, numbers(&mut resumed)].concat(), all, "{dataset}");
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
        assert_eq!(rest(&mut *one), rest(&mut *other));
    }
}

/// A state without the addresses of its tensors.
fn strip(state: &State) -> String {
    match state {
        State::Tensors(tensors) => {
            tensors.iter().map(|tensor| format!("{:?}{:?}", tensor.shape(), tensor.as_view().as_bytes())).collect()
        }
        State::List(parts) => parts.iter().map(strip).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    }
}
