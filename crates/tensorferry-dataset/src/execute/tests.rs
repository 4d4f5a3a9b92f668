use crate::checkpoint::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::execute::in_order::InOrder;
use crate::execute::options::Options;
use crate::execute::workers;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Epoch, Hints, Stage, Value};
use std::task::Poll;
use std::time::Duration;

use crate::testing;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tensorferry_core::{Buffer, ByteOrder, DType, Layout, Tensor};
use tensorferry_core::{Shape, TensorSpec};
use tensorferry_io::cancel::interruptible_every;

type Make = Arc<dyn Fn(u64, &Context) -> Result<Element> + Send + Sync>;

/// A source that computes element `i` with a function.
#[derive(Clone)]
struct Made {
    spec: Vec<Component>,
    len: u64,
    indexed: bool,
    sequential: bool,
    make: Make,
}

impl Stage for Made {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(&[], &self.spec, self.indexed)
    }

    fn cardinality(&self) -> Cardinality {
        if self.indexed { Cardinality::Finite(self.len) } else { Cardinality::Unknown }
    }

    fn describe(&self) -> String {
        "made()".into()
    }

    fn rebuild(
        &self,
        _inputs: Vec<Dataset>,
        _change: &mut crate::checkpoint::change::Change,
    ) -> Result<Dataset> {
        Ok(Dataset::of(self.clone()))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { sequential: self.sequential, ..inputs }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        (self.make)(index, cx)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let indexed = Self { indexed: true, ..self.clone() };
        Ok(Box::new(InOrder::new(Dataset::of(indexed), cx.clone())))
    }
}

fn value(value: u64) -> Element {
    vec![Tensor::from_vec(vec![value], &[]).unwrap().into()]
}

fn made(len: u64, make: impl Fn(u64, &Context) -> Result<Element> + Send + Sync + 'static) -> Made {
    let spec = vec![Component::Tensor(TensorSpec::new(DType::UInt64, Shape::unknown()))];
    Made { spec, len, indexed: true, sequential: false, make: Arc::new(make) }
}

/// Numbers that take long enough to start threads.
fn slow(len: u64) -> Dataset {
    Dataset::of(made(len, |index, _| {
        std::thread::sleep(Duration::from_micros(20));
        Ok(value(index * 3))
    }))
}

fn stream(made: Made) -> Dataset {
    Dataset::of(Made { indexed: false, ..made })
}

fn sequential(made: Made) -> Dataset {
    Dataset::of(Made { sequential: true, ..made })
}

fn number(element: Result<Element>) -> Result<u64, String> {
    match element {
        Ok(element) => Ok(element[0].tensor().unwrap().view::<u64>().unwrap().get(&[]).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

fn numbers(iter: impl Iterator<Item = Result<Element>>) -> Vec<u64> {
    iter.map(|element| number(element).unwrap()).collect()
}

fn options(threads: usize, read_ahead: usize) -> Options {
    Options { threads: Some(threads), read_ahead: Some(read_ahead), ..Options::default() }
}

/// Waits for another thread to make `condition` true.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..5000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it never came about that {what}");
}

#[test]
fn elements_and_their_order_do_not_depend_on_threads_or_read_ahead() {
    let dataset = slow(300);
    let expected: Vec<u64> = (0..300).map(|i| i * 3).collect();
    for threads in [1, 2, 3, 8] {
        for ahead in [0, 1, 2, 7, 1000] {
            assert_eq!(
                numbers(dataset.iter_with(Epoch(0), &options(threads, ahead))),
                expected,
                "{threads} threads, {ahead} ahead"
            );
        }
    }
}

#[test]
fn a_state_at_every_prefix_resumes_on_any_number_of_threads() {
    let plain = || made(23, |index, _| Ok(value(index)));
    let sources: [(&str, Dataset); 4] = [
        ("indexed", slow(23)),
        ("sequential", sequential(plain())),
        ("native stream", stream(plain())),
        ("stream of functions", Dataset::of(Made { indexed: false, sequential: true, ..plain() })),
    ];
    for (name, dataset) in sources {
        let whole = numbers(dataset.iter());
        assert_eq!(whole.len(), 23);
        for before in [options(2, 0), options(3, 4)] {
            for after in [options(1, 0), options(2, 3)] {
                for position in 0..=whole.len() {
                    let mut iter = dataset.iter_with(Epoch(2), &before);
                    assert_eq!(numbers(iter.by_ref().take(position)), whole[..position]);
                    let saved =
                        Checkpoint::from_bytes(&iter.checkpoint().unwrap().to_bytes()).unwrap();
                    assert_eq!((saved.position(), saved.epoch()), (position as u64, Epoch(2)));
                    // The saved iteration continues there, and so does the restored one.
                    assert_eq!(numbers(iter), whole[position..], "{name}");
                    let mut resumed = dataset.resume(&saved, &after).unwrap();
                    assert_eq!((resumed.position(), resumed.epoch()), (position as u64, Epoch(2)));
                    let again = resumed.checkpoint().unwrap();
                    assert_eq!(
                        numbers(resumed.by_ref()),
                        whole[position..],
                        "{name} at {position}"
                    );
                    assert_eq!(
                        numbers(dataset.resume(&again, &before).unwrap()),
                        whole[position..],
                        "{name} at {position}, again"
                    );
                    assert!(resumed.checkpoint().is_ok(), "after the last element");
                }
            }
        }
    }
}

/// Fails at every fourth element, and panics at 5.
fn failing() -> Made {
    made(12, |index, _| {
        std::thread::sleep(Duration::from_micros(20));
        match index {
            5 => panic!("five"),
            _ if index % 4 == 3 => Err(crate::user_fn::function::failed(format!("bad {index}"))),
            _ => Ok(value(index)),
        }
    })
}

#[test]
fn errors_and_panics_stand_in_the_place_of_their_element_and_iteration_goes_on() {
    for dataset in [Dataset::of(failing()), sequential(failing()), stream(failing())] {
        for ahead in [0, 3] {
            let found: Vec<_> =
                dataset.iter_with(Epoch(0), &options(2, ahead)).map(number).collect();
            assert_eq!(found.len(), 12);
            for (index, found) in found.iter().enumerate() {
                match found {
                    Ok(number) => assert_eq!(*number, index as u64),
                    Err(words) if index == 5 => {
                        assert!(words.contains("panicked") && words.contains("five"), "{words}")
                    }
                    Err(words) => assert!(words.contains(&format!("bad {index}")), "{words}"),
                }
                assert_eq!(found.is_err(), index % 4 == 3 || index == 5);
            }
        }
    }
}

/// As where a network is down: an error does not wait for the next elements of its group, each of
/// which may take as long to fail.
#[test]
fn an_error_is_handed_out_before_the_next_elements_are_computed() {
    let (begun, allowed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, gate) = (Arc::clone(&begun), Arc::clone(&allowed));
    let source = made(1000, move |index, cx| {
        let at = usize::try_from(index).unwrap();
        counted.fetch_max(at, Ordering::Relaxed);
        if at > 300 {
            while gate.load(Ordering::Relaxed) < at {
                cx.cancel.check()?;
                std::thread::yield_now();
            }
        }
        match index {
            300.. => Err(Error::ElementMismatch { what: index.to_string() }),
            _ => Ok(value(index)),
        }
    });
    let mut iter = Dataset::of(source).iter_with(Epoch(0), &options(1, 64));
    assert!(iter.by_ref().take(300).all(|element| element.is_ok()));
    for index in 300..400 {
        assert!(matches!(iter.next(), Some(Err(_))), "{index}");
        allowed.store(index + 1, Ordering::Relaxed);
    }
    assert!(begun.load(Ordering::Relaxed) >= 399);
}

#[test]
fn an_error_that_waits_in_the_read_ahead_is_saved_with_it() {
    let dataset = Dataset::of(Made { indexed: false, sequential: true, ..failing() });
    let mut iter = dataset.iter_with(Epoch(0), &options(1, 4));
    assert_eq!(numbers(iter.by_ref().take(3)), [0, 1, 2]);
    let saved = Checkpoint::from_bytes(&iter.checkpoint().unwrap().to_bytes()).unwrap();
    let found: Vec<_> = dataset.resume(&saved, &Options::default()).unwrap().map(number).collect();
    assert!(found[0].as_ref().unwrap_err().contains("bad 3"));
    assert_eq!(found[1], Ok(4));
    assert_eq!(found.len(), 9);
}

#[test]
fn dropping_an_iterator_ends_its_threads() {
    for dataset in [slow(1_000_000), sequential(failing()), stream(failing())] {
        let mut iter = dataset.iter_with(Epoch(0), &options(4, 3));
        assert_eq!(numbers(iter.by_ref().take(3)), numbers(dataset.iter().take(3)));
        drop(iter);
        // Every thread holds the plan.
        eventually("no thread holds the plan", || Arc::strong_count(&dataset.stage) == 1);
    }
}

#[test]
fn an_endless_native_stream_is_waited_for_in_steps_and_stops_when_dropped() {
    let dataset = stream(made(10, |index, cx| {
        if index < 2 {
            return Ok(value(index));
        }
        loop {
            cx.cancel.check()?;
            std::thread::yield_now();
        }
    }));
    let mut iter = dataset.iter();
    assert!(!iter.is_inline());
    assert_eq!(numbers(iter.by_ref().take(2)), [0, 1]);
    for _ in 0..3 {
        assert!(iter.next_within(Duration::from_millis(1)).is_pending());
    }
    iter.cancel_token().cancel();
    assert!(matches!(iter.next(), Some(Err(Error::Interrupted))));
    drop(iter);
    eventually("no thread holds the plan", || Arc::strong_count(&dataset.stage) == 1);
}

#[test]
fn a_slow_element_is_waited_for_in_steps() {
    let gate = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opened = Arc::clone(&gate);
    let dataset = Dataset::of(made(8, move |index, _| {
        // Too slow for the consumer to compute one itself.
        std::thread::sleep(2 * workers::LONG);
        while index == 5 && !opened.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(value(index))
    }));
    let mut iter = dataset.iter_with(Epoch(0), &options(2, 1));
    let (mut seen, mut waited) = (Vec::new(), false);
    while seen.len() < 8 {
        match iter.next_within(Duration::from_millis(1)) {
            Poll::Ready(element) => seen.push(number(element.unwrap()).unwrap()),
            Poll::Pending => {
                waited |= seen.len() == 5;
                gate.store(waited, Ordering::Relaxed);
            }
        }
    }
    assert!(waited);
    assert_eq!(seen, (0..8).collect::<Vec<u64>>());
}

#[test]
fn functions_are_called_just_when_asked_for_and_ahead_just_as_far_as_asked() {
    for indexed in [true, false] {
        for ahead in [0_usize, 1, 2, 5] {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            let source = made(100, move |index, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(value(index))
            });
            let dataset = Dataset::of(Made { indexed, sequential: true, ..source });
            let mut iter = dataset.iter_with(Epoch(0), &options(4, ahead));
            assert_eq!(
                calls.load(Ordering::SeqCst),
                0,
                "nothing is called before the first element is asked for"
            );
            for taken in 1..=20 {
                iter.next().unwrap().unwrap();
                assert!(calls.load(Ordering::SeqCst) <= taken + ahead, "{ahead} ahead");
            }
            // The readahead fills up, except for elements that the thread is not woken for.
            eventually("half the elements are made ahead", || {
                calls.load(Ordering::SeqCst) > 20 + ahead / 2 - usize::from(ahead < 2)
            });
        }
    }
}

/// Counts the elements whose memory is in use.
struct Live(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Live {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn elements_in_flight_stay_within_the_memory_limit() {
    const BYTES: usize = 10_000;
    let live = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (count, peak) = (Arc::clone(&live), Arc::clone(&most));
    let source = made(200, move |_, _| {
        peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(20));
        let buffer = Buffer::from_owner(Live(vec![0; BYTES], Arc::clone(&count)));
        let layout = Layout::contiguous(&[BYTES / 8], 8)?;
        Ok(vec![Value::Tensor(Tensor::new(DType::UInt64, ByteOrder::Native, layout, buffer, 0)?)])
    });
    let dataset = Dataset::of(source);
    for (limit, allowed) in [(0, 1), (BYTES - 1, 1), (3 * BYTES, 3), (7 * BYTES + 1, 7)] {
        most.store(0, Ordering::SeqCst);
        let options = Options { memory_limit: Some(limit), ..options(4, 100) };
        let mut count = 0;
        for element in dataset.iter_with(Epoch(0), &options) {
            drop(element.unwrap());
            count += 1;
        }
        assert_eq!(count, 200);
        // The consumer still held one element when the next was begun.
        assert!(
            most.load(Ordering::SeqCst) <= allowed + 1,
            "{} with a limit of {limit}",
            most.load(Ordering::SeqCst)
        );
    }
    eventually("all is given back", || live.load(Ordering::SeqCst) == 0);
}

#[test]
fn elements_without_bytes_are_not_computed_ahead_by_the_million() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = made(1_000_000, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(20));
        Ok(vec![Tensor::from_vec(Vec::<u64>::new(), &[0])?.into()])
    });
    let mut iter = Dataset::of(source).iter_with(Epoch(0), &options(4, 1));
    for taken in 1..=12_000 {
        iter.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_micros(20)); // the threads are four times as fast
        let ahead = calls.load(Ordering::SeqCst) - taken;
        assert!(ahead <= 1 << 14, "{ahead} ahead");
    }
}

#[test]
fn two_iterators_of_one_dataset_do_not_know_of_each_other() {
    let dataset = slow(50);
    let (mut a, b) =
        (dataset.iter_with(Epoch(0), &options(2, 3)), dataset.iter_with(Epoch(0), &options(3, 2)));
    assert_eq!(numbers(a.by_ref().take(10)), numbers(dataset.iter().take(10)));
    assert_eq!(numbers(b), numbers(dataset.iter()));
    assert_eq!(numbers(a), numbers(dataset.iter().skip(10)));
}

#[test]
fn an_iterator_moves_between_threads() {
    let mut iter = slow(40).iter_with(Epoch(0), &options(2, 4));
    let first = numbers(iter.by_ref().take(5));
    let rest = std::thread::spawn(move || numbers(iter)).join().unwrap();
    assert_eq!([first, rest].concat(), (0..40).map(|i| i * 3).collect::<Vec<u64>>());
}

#[test]
fn an_iterator_inside_an_element_that_never_comes_has_a_state_before_it_is_stopped_and_after() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let dataset = stream(made(10, move |index, cx| {
        if index != 3 || count.fetch_add(1, Ordering::SeqCst) > 1 {
            return Ok(value(index));
        }
        loop {
            cx.cancel.check()?;
            std::thread::yield_now();
        }
    }));
    let mut iter = dataset.iter();
    assert_eq!(numbers(iter.by_ref().take(1)), [0]);
    eventually("the element is begun", || begun.load(Ordering::SeqCst) > 0);
    let running = iter.checkpoint().unwrap();
    eventually("the element is begun again", || begun.load(Ordering::SeqCst) > 1);
    iter.cancel_token().cancel();
    let stopped = iter.checkpoint().unwrap();
    for saved in [running, stopped] {
        assert_eq!(
            numbers(dataset.resume(&saved, &Options::default()).unwrap()),
            (1..10).collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_is_interrupted_is_computed_again_however_it_runs() {
    for ahead in [0, 4] {
        for streamed in [false, true] {
            let plain = made(60, |index, cx| {
                (0..20).try_for_each(|_| cx.cancel.check())?;
                Ok(value(index))
            });
            let dataset = Dataset::of(plain);
            let dataset =
                if streamed { stream(made(60, |index, _| Ok(value(index)))) } else { dataset };
            for looks in [0, 1, 30, 777, 1000] {
                testing::interrupt_after(looks);
                let mut iter = dataset.iter_with(
                    Epoch(0),
                    &Options { read_ahead: Some(ahead), ..Options::default() },
                );
                let mut seen = Vec::new();
                loop {
                    match interruptible_every(Duration::ZERO, testing::look, || iter.next()) {
                        None => break,
                        Some(Err(Error::Interrupted)) => {
                            assert_eq!(iter.position(), seen.len() as u64)
                        }
                        element => seen.extend(numbers(element.into_iter())),
                    }
                }
                assert_eq!(seen, (0..60).collect::<Vec<_>>(), "{ahead} ahead, {looks} looks");
            }
        }
    }
}
