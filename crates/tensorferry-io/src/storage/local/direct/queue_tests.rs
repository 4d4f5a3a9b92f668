//! Queues: slots, shapes, and reads in flight when one is dropped.

use crate::cancel::CancelToken;
use crate::storage::local::direct::Reader;
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct::queue::Shape;
use crate::storage::local::direct::spans::Wanted;
use crate::storage::local::direct::testing::{One, Random, Written, queues};
use crate::storage::local::direct::threads::Threads;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn a_queue_dropped_with_reads_in_flight_leaves_nothing_behind() {
    let threads = Threads::default();
    let written = Written::new(&std::env::temp_dir(), &[4 << 20]);
    for shape in [Shape::Many, Shape::Long].repeat(10) {
        for mut queue in queues(&threads, shape) {
            for slot in 0..shape.slots() {
                let (file, len) = (written.open(0).unwrap(), shape.slot());
                queue
                    .begin(
                        slot,
                        crate::storage::local::direct::queue::Read {
                            file,
                            offset: (slot * len) as u64,
                            skip: 0,
                            len,
                        },
                    )
                    .unwrap();
            }
            queue.flush().unwrap();
        }
    }
}

#[test]
fn a_slot_in_use_or_a_read_that_does_not_fit_is_refused() {
    let threads = Threads::default();
    let written = Written::new(&std::env::temp_dir(), &[4 << 20]);
    for shape in [Shape::Many, Shape::Long] {
        for mut queue in queues(&threads, shape) {
            let (slots, size) = (shape.slots(), shape.slot());
            let read = |skip, len| crate::storage::local::direct::queue::Read {
                file: written.open(0).unwrap(),
                offset: 0,
                skip,
                len,
            };
            queue.begin(0, read(0, size)).unwrap();
            assert!(queue.begin(0, read(0, size)).is_err());
            assert!(queue.bytes(0).is_empty());
            assert!(queue.begin(slots, read(0, size)).is_err());
            assert!(queue.bytes(slots).is_empty());
            let refused = queue.begin(1, read(4096, size)).is_err() || {
                let mut ended = Vec::new();
                while let Some(done) = queue.next(Duration::from_secs(10)).unwrap() {
                    ended.push((done.slot, done.result.is_ok()));
                }
                ended.contains(&(1, false))
            };
            assert!(refused);
        }
    }
}

#[test]
fn a_queue_is_cut_anew_once_no_read_is_in_flight() {
    let threads = Threads::default();
    let written = Written::new(&std::env::temp_dir(), &[4 << 20]);
    for mut queue in queues(&threads, Shape::Many) {
        for shape in [Shape::Many, Shape::Long, Shape::Many] {
            queue.cut(shape);
            let len = shape.slot();
            for slot in 0..shape.slots() {
                let file = written.open(0).unwrap();
                queue
                    .begin(
                        slot,
                        crate::storage::local::direct::queue::Read {
                            file,
                            offset: (slot * len) as u64,
                            skip: 0,
                            len,
                        },
                    )
                    .unwrap();
                let other = if shape == Shape::Many { Shape::Long } else { Shape::Many };
                queue.cut(other); // changes nothing now
            }
            for _ in 0..shape.slots() {
                let done = std::iter::repeat_with(|| queue.next(Duration::from_secs(10)).unwrap())
                    .flatten()
                    .next()
                    .unwrap();
                assert_eq!(done.result.unwrap(), len);
                assert!(
                    queue.bytes(done.slot) == &written.bytes[0][done.slot * len..][..len],
                    "slot {}",
                    done.slot
                );
            }
        }
    }
}

/// `FILE=... cargo test --release -p tensorferry --lib -- --ignored --nocapture
/// how_fast_a_file_is_read`
#[test]
#[ignore = "a benchmark"]
#[allow(
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and its figures are rough"
)]
fn how_fast_a_file_is_read() {
    let path = std::path::PathBuf::from(std::env::var_os("FILE").expect("FILE: a large file"));
    let len = std::fs::metadata(&path).unwrap().len();
    let file = One(path.clone(), Arc::new(DirectFile::open(&path).unwrap()));
    let batch = |start: u64| {
        (0..1024)
            .map(move |at| Wanted { file: 0, offset: start + at * 400, len: 400 })
            .collect::<Vec<_>>()
    };
    for threads in [1, 2, 3] {
        for shuffled in [true, false] {
            let reader = Reader::new(std::iter::once(0..len).collect());
            let next = std::sync::atomic::AtomicU64::new(0);
            let (began, used) = (Instant::now(), cpu_seconds());
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let mut out = crate::memory::pool::take(1024 * 400).unwrap();
                        while began.elapsed() < Duration::from_secs(3) {
                            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            let mut wanted = batch(at * 1024 * 400 % (len - 1024 * 400));
                            if shuffled {
                                let mut random = Random::new(at);
                                wanted
                                    .iter_mut()
                                    .for_each(|one| one.offset = random.below(len / 400 - 1) * 400);
                                wanted.sort_by_key(|one| one.offset);
                            }
                            let mut rows: Vec<&mut [u8]> =
                                out.as_mut_slice().chunks_exact_mut(400).collect();
                            reader
                                .read(&file, &wanted, &mut rows, &CancelToken::default())
                                .unwrap();
                        }
                    });
                }
            });
            let cpu = cpu_seconds() - used;
            let rows = (next.into_inner() * 1024) as f64 / began.elapsed().as_secs_f64();
            let order = if shuffled { "shuffled" } else { "in order" };
            eprintln!(
                "{threads} threads, {order}: {rows:.0} rows/s, {:.2} GB/s, {cpu:.2} s of CPU",
                rows * 400e-9
            );
        }
    }
}

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
