//! `map` with a function that is called on several threads, over an input that is read in order.

use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::Result;
use crate::execute::calls::{Calls, Done, Jobs};
use crate::stage::{Context, Element, ElementIter, Step};
use std::sync::Arc;

/// Makes the input's iterator.
pub(crate) type MakeInput = Box<dyn Fn(&Context) -> Result<Counted> + Send>;
/// Computes an element from the input's, which has this index.
pub(crate) type Apply = Arc<dyn Fn(u64, Element) -> Result<Element> + Send + Sync>;

/// A map whose function is called on several threads. Its state holds the input's elements whose
/// results were not handed out, for which the function is called again.
pub(crate) struct ParallelMap {
    calls: Calls<Counted>,
    make: MakeInput,
    apply: Apply,
    threads: (usize, String),
    cx: Context,
}

impl Jobs for Counted {
    type Job = (u64, Element);

    fn next(&mut self) -> Step<(u64, Element)> {
        Counted::next(self)
    }
}

impl ParallelMap {
    /// `name` is that of the function.
    pub(crate) fn new(
        make: MakeInput,
        apply: Apply,
        (threads, name): (usize, &str),
        cx: &Context,
    ) -> Result<Self> {
        let contexts = Calls::<Counted>::context(cx);
        let input = make(&contexts.0)?;
        let threads = (threads, name.to_owned());
        let calls = Calls::new(input, threads.clone(), contexts, calling(&apply));
        Ok(Self { calls, make, apply, threads, cx: cx.clone() })
    }
}

fn calling(apply: &Apply) -> impl Fn((u64, Element)) -> Done + Send + Sync + use<> {
    let apply = Arc::clone(apply);
    move |(index, element)| [apply(index, element)].into()
}

impl ElementIter for ParallelMap {
    fn next(&mut self) -> Step {
        self.calls.next()
    }

    fn save(&self) -> Result<State> {
        self.calls.save(|input, unfinished| {
            let elements = unfinished.iter().map(|job| match job {
                Ok((_, element)) => State::of_element(element),
                Err(error) => Ok(State::of_error(error)),
            });
            input.save_before(elements.collect::<Result<_>>()?)
        })
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let contexts = Calls::<Counted>::context(&self.cx);
        let mut input = (self.make)(&contexts.0)?;
        input.restore(state)?;
        let threads = self.threads.clone();
        self.calls = Calls::new(input, threads, contexts, calling(&self.apply));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::execute::options::Options;
    use crate::order_tests::streamed;
    use crate::stage::{Dataset, Epoch};
    use crate::testing::{
        assert_goes_on_after_a_stop, assert_rebuilds, assert_rejects_damage, assert_resumes,
        element, even, fails_at, first, range, values, words,
    };
    use crate::user_fn::function::Function;
    use crate::user_fn::sessions::Session;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    /// Adds one; takes longer for some elements.
    fn add(calls: usize) -> Function<Element, Element> {
        Function::parallel("add", calls, |value: Element| {
            let number = first(&value);
            std::thread::sleep(Duration::from_micros(number.unsigned_abs() * 37 % 300));
            Ok(element(number + 1))
        })
    }

    /// As [`add`], one call at a time.
    fn add_in_order() -> Function<Element, Element> {
        Function::sequential("add", |value: Element| Ok(element(first(&value) + 1)))
    }

    fn mapped(input: &Dataset, function: Function<Element, Element>) -> Dataset {
        input.map(function, input.spec().to_vec())
    }

    /// Plans over a map.
    fn after(map: &Dataset) -> Vec<Dataset> {
        vec![
            map.clone(),
            map.batch(3).unwrap(),
            map.batch(2).unwrap().take(Some(3)),
            map.skip(Some(2)).batch(4).unwrap().prefetch(Some(2)),
            map.filter(even()),
            mapped(map, add_in_order()).batch(2).unwrap(),
            map.batch(4).unwrap().unbatch().unwrap(),
            map.repeat(Some(2)).enumerate(0),
            Dataset::zip(vec![map.clone(), map.skip(Some(1))]).unwrap(),
        ]
    }

    fn text(dataset: &Dataset) -> Vec<String> {
        dataset.iter().map(|element| words(&element)).collect()
    }

    fn inputs() -> [Dataset; 3] {
        [range(13), streamed(&range(13)), mapped(&range(13), add_in_order())]
    }

    #[test]
    fn the_results_are_those_of_one_call_at_a_time_in_order() {
        for input in inputs() {
            let one_by_one = after(&mapped(&input, add_in_order()));
            for calls in [1, 2, 5] {
                let parallel = after(&mapped(&input, add(calls)));
                for (plan, expected) in parallel.iter().zip(&one_by_one) {
                    assert_eq!(text(plan), text(expected), "{plan} with {calls} calls");
                    assert_eq!(plan.to_string(), expected.to_string());
                }
            }
        }
    }

    #[test]
    fn every_position_resumes_with_another_number_of_calls_or_none() {
        for input in inputs() {
            let one_by_one = after(&mapped(&input, add_in_order()));
            let (two, three) = (after(&mapped(&input, add(2))), after(&mapped(&input, add(3))));
            for ((expected, two), three) in one_by_one.iter().zip(&two).zip(&three) {
                let all = text(expected);
                for position in 0..=all.len() {
                    let mut pass = two.iter();
                    pass.by_ref().take(position).for_each(drop);
                    let saved = pass.checkpoint().unwrap();
                    for plan in [expected, two, three] {
                        let rest = plan.resume(&saved, &Options::default()).unwrap();
                        let rest: Vec<_> = rest.map(|element| words(&element)).collect();
                        assert_eq!(rest, all[position..], "{plan} from {position}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_keeps_the_contract_of_stages() {
        for input in inputs() {
            let plan = mapped(&input, add(2));
            assert_resumes(&plan);
            assert_rejects_damage(&plan);
            assert_rebuilds(&plan);
            assert_goes_on_after_a_stop(&plan);
        }
    }

    /// A function that returns once `calls` of it are in progress, or after a while fails.
    fn meeting(calls: usize) -> Function<Element, Element> {
        let inside = Arc::new((Mutex::new(0), Condvar::new()));
        Function::parallel("meeting", calls, move |element| {
            let (count, changed) = &*inside;
            let mut met = count.lock().unwrap();
            *met += 1;
            changed.notify_all();
            while *met % calls != 0 {
                let (next, waited) = changed.wait_timeout(met, Duration::from_secs(20)).unwrap();
                met = next;
                assert!(!waited.timed_out(), "the calls did not overlap");
                if *met > calls {
                    break;
                }
            }
            Ok(element)
        })
    }

    #[test]
    fn calls_overlap_also_across_batches() {
        for input in inputs() {
            let expected: Vec<i64> = values(&input).into_iter().take(4).collect();
            let map = mapped(&input.take(Some(4)), meeting(4));
            assert_eq!(values(&map), expected);
            let batches = mapped(&input.take(Some(4)), meeting(4)).batch(2).unwrap();
            assert_eq!(batches.iter().map(|batch| batch.unwrap().len()).sum::<usize>(), 2);
        }
    }

    #[test]
    fn an_element_that_fails_is_named_and_costs_only_itself() {
        for input in [range(9), streamed(&range(9))] {
            let fails = fails_at(4, Ok);
            let call = move |element| fails.call(element);
            let map = mapped(&input, Function::parallel("fails", 3, call));
            let all: Vec<_> = map.iter().collect();
            assert_eq!(all.len(), 9);
            assert!(
                matches!(all[4], Err(Error::AtElement { stage: "map", index: 4, .. })),
                "{:?}",
                all[4]
            );
            assert_eq!(all.iter().filter(|element| element.is_ok()).count(), 8);
            // An error of the input is saved and restored in its place.
            let failing = input.map(fails_at(4, Ok), input.spec().to_vec());
            let map = mapped(&streamed(&failing), add(3));
            let mut pass = map.iter();
            pass.by_ref().take(3).for_each(drop);
            let saved = pass.checkpoint().unwrap();
            let rest: Vec<_> = map.resume(&saved, &Options::default()).unwrap().collect();
            assert_eq!(
                rest.iter().map(Result::is_ok).collect::<Vec<_>>()[..3],
                [true, false, true]
            );
            assert_eq!(rest.len(), 6);
        }
    }

    #[test]
    fn a_panic_is_the_error_of_its_element() {
        for input in [range(5), streamed(&range(5))] {
            let map = mapped(
                &input,
                Function::parallel("panics", 2, |element: Element| {
                    assert!(first(&element) != 2, "not two");
                    Ok(element)
                }),
            );
            let all: Vec<bool> = map.iter().map(|element| element.is_ok()).collect();
            assert_eq!(all, [true, true, false, true, true]);
        }
    }

    #[test]
    fn it_runs_ahead_of_the_consumer_by_a_bounded_number_of_elements() {
        let endless = range(5).repeat(None);
        for input in [endless.clone(), streamed(&endless)] {
            let called = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&called);
            let map = mapped(
                &input,
                Function::parallel("count", 3, move |element| {
                    count.fetch_add(1, Ordering::SeqCst);
                    Ok(element)
                }),
            );
            let mut pass = map.iter();
            for taken in 1..50 {
                pass.next().unwrap().unwrap();
                if taken % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert!(called.load(Ordering::SeqCst) <= taken + 6);
            }
        }
    }

    #[test]
    fn results_ahead_stay_within_the_memory_limit() {
        let big = Function::parallel("big", 8, |_| {
            Ok(vec![tensorferry_core::Tensor::from_vec(vec![0_u8; 1 << 20], &[1 << 20])?.into()])
        });
        let spec = tensorferry_core::TensorSpec::new(
            tensorferry_core::DType::UInt8,
            tensorferry_core::Shape::fixed(&[1 << 20]),
        );
        let called = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&called);
        let counted = Function::parallel("counted", 8, move |element| {
            count.fetch_add(1, Ordering::SeqCst);
            big.call(element)
        });
        let map = range(100).map(counted, vec![crate::spec::Component::Tensor(spec)]);
        let options = Options { memory_limit: Some(8 << 20), ..Options::default() };
        let mut pass = map.iter_with(Epoch(0), &options);
        for taken in 1..20 {
            pass.next().unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(2));
            // The first results are as many as there are threads: their size is not known before.
            assert!(called.load(Ordering::SeqCst) <= (taken + 6).max(8 + 1));
        }
    }

    #[test]
    fn a_result_does_not_wait_for_the_input() {
        let (send, receive) = std::sync::mpsc::channel::<i64>();
        let receive = Mutex::new(Some(receive));
        let make = Function::sequential("receive", move |()| {
            let receive = receive.lock().unwrap().take().unwrap();
            let elements = receive.into_iter().map(|number| Ok(element(number)));
            Ok(Box::new(elements) as crate::Generator)
        });
        let input = Dataset::from_generator(make, range(1).spec().to_vec());
        let mut pass = mapped(&input, add(4)).iter();
        for number in 0..20 {
            send.send(number).unwrap();
            assert_eq!(first(&pass.next().unwrap().unwrap()), number + 1);
        }
    }

    #[test]
    fn a_session_belongs_to_one_iteration_and_ends_with_it() {
        let begun = Arc::new(AtomicU64::new(0));
        let alive = Arc::new(());
        let (count, held) = (Arc::clone(&begun), Arc::clone(&alive));
        let ended = Arc::new(AtomicU64::new(0));
        let ends = Arc::clone(&ended);
        let function = add(2).in_sessions(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let (held, ended) = (Arc::clone(&held), Arc::clone(&ends));
            let call = move |value: Element| {
                let _held = &held;
                Ok(element(first(&value) * 10))
            };
            let end = move || {
                ended.fetch_add(1, Ordering::SeqCst);
            };
            Ok(Session::new(call, end))
        });
        let map = mapped(&range(6), function);
        let plans = [map.clone(), map.skip(Some(0))];
        for plan in &plans {
            let before = begun.load(Ordering::SeqCst);
            let mut pass = plan.iter();
            assert_eq!(first(&pass.next().unwrap().unwrap()), 0);
            assert_eq!(first(&pass.next().unwrap().unwrap()), 10);
            assert_eq!(begun.load(Ordering::SeqCst), before + 1);
            drop(pass);
            assert_eq!(ended.load(Ordering::SeqCst), before + 1);
        }
        assert_eq!(first(&map.get(2).unwrap()), 3, "outside an iteration there is no session");
        // Threads that are ending may still hold the last one.
        for _ in 0..1000 {
            if Arc::strong_count(&alive) == 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(Arc::strong_count(&alive), 2, "this test's, and the function's");
    }
}
