//! Every way of reading, compared with what was written.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::local::direct::Reader;
use crate::storage::local::direct::extents::{CHUNK, Extents};
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct::fill::fill;
use crate::storage::local::direct::queue::{DEPTH, Queue, Shape};
use crate::storage::local::direct::queue_pool::ReaderThreads;
use crate::storage::local::direct::readahead::Readahead;
use crate::storage::local::direct::spans::{MOST, Wanted};
use crate::storage::local::direct::testing::{Faulty, Random, Written, read_into};
use crate::storage::local::direct::threads::Threads;
use crate::storage::local::direct::window::Window;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Directories of file systems that read differently: on a disk, and in memory.
fn file_systems() -> Vec<std::path::PathBuf> {
    [std::env::temp_dir(), "/dev/shm".into()].into_iter().filter(|path| path.is_dir()).collect()
}

/// The ways to read that this machine has.
fn queues(threads: &Threads, shape: Shape) -> Vec<Box<dyn Queue>> {
    let threads: Box<dyn Queue> = Box::new(threads.queue(shape));
    std::iter::once(threads).chain(crate::storage::local::direct::uring::ring(shape)).collect()
}

fn lens() -> [usize; 5] {
    [1_000_000, 0, 4096, 5 * MOST + 1, 300]
}

#[test]
fn whatever_is_wanted_is_read_from_every_file_system_in_every_way() {
    let threads = Threads::default();
    for directory in file_systems() {
        let written = Written::new(&directory, &lens());
        for mut queue in queues(&threads, Shape::Many) {
            for seed in 0..60 {
                let mut random = Random::new(seed);
                let count = random.index(300);
                let wanted = written.wants(&mut random, count);
                let found = read_into(&wanted, |out| {
                    fill(&mut *queue, &written, &wanted, out, &CancelToken::default())
                })
                .unwrap();
                assert!(
                    found == written.expected(&wanted),
                    "seed {seed} in {}",
                    directory.display()
                );
            }
        }
    }
}

#[test]
fn short_reads_and_interruptions_change_nothing() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let written = Written::new(&std::env::temp_dir(), &[200_000, 70_000]);
        let wanted = written.wants(&mut random, 60);
        let mut queue = Faulty::new(Shape::Many, seed, random.below(60));
        let found = read_into(&wanted, |out| {
            fill(&mut queue, &written, &wanted, out, &CancelToken::default())
        })
        .unwrap();
        assert!(found == written.expected(&wanted), "seed {seed}");
        assert!(queue.most_in_flight <= DEPTH);
    }
}

#[test]
fn a_refused_read_names_file_offset_and_length() {
    let written = Written::new(&std::env::temp_dir(), &[1_000_000]);
    let wanted: Vec<Wanted> =
        (0..50).map(|at| Wanted { file: 0, offset: at * 20_000 + 7, len: 400 }).collect();
    let mut queue = Faulty::new(Shape::Many, 1, 20);
    queue.bad = Some(400_100);
    let error =
        read_into(&wanted, |out| fill(&mut queue, &written, &wanted, out, &CancelToken::default()))
            .unwrap_err();
    assert_eq!(error.code(), "io");
    assert!(
        matches!(
            &error,
            Error::Read { offset: 400_007, len: 400, source, .. } if source.raw_os_error() == Some(5)
        ),
        "{error}"
    );
    assert!(error.to_string().starts_with(&written.paths[0].display().to_string()), "{error}");
}

#[test]
fn a_read_that_is_never_left_in_peace_fails_in_the_end() {
    let written = Written::new(&std::env::temp_dir(), &[1000]);
    let wanted = [Wanted { file: 0, offset: 0, len: 1000 }];
    let mut queue = Interrupted::default();
    let error =
        read_into(&wanted, |out| fill(&mut queue, &written, &wanted, out, &CancelToken::default()))
            .unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[derive(Default)]
struct Interrupted(Option<usize>);

impl Queue for Interrupted {
    fn cut(&mut self, _shape: Shape) {}

    fn begin(
        &mut self,
        slot: usize,
        _read: crate::storage::local::direct::queue::Read,
    ) -> std::io::Result<()> {
        self.0 = Some(slot);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn next(
        &mut self,
        _patience: Duration,
    ) -> std::io::Result<Option<crate::storage::local::direct::queue::Done>> {
        let done = |slot| crate::storage::local::direct::queue::Done {
            slot,
            result: Err(std::io::ErrorKind::Interrupted.into()),
        };
        Ok(self.0.take().map(done))
    }

    fn bytes(&mut self, _slot: usize) -> &[u8] {
        &[]
    }
}

#[test]
fn a_file_that_ends_too_early_is_a_short_read_with_offset_and_lengths() {
    let threads = Threads::default();
    for directory in file_systems() {
        let written = Written::new(&directory, &[100_000]);
        std::fs::File::options()
            .write(true)
            .open(&written.paths[0])
            .unwrap()
            .set_len(50_000)
            .unwrap();
        for mut queue in queues(&threads, Shape::Many) {
            let whole = [Wanted { file: 0, offset: 49_900, len: 100 }];
            read_into(&whole, |out| {
                fill(&mut *queue, &written, &whole, out, &CancelToken::default())
            })
            .unwrap();
            for (offset, len, expected) in
                [(49_900, 400, 100), (50_000, 1, 0), (90_000, 400, 0), (10_000, 90_000, 40_000)]
            {
                let wanted = [whole[0], Wanted { file: 0, offset, len }];
                let mut sorted = wanted;
                sorted.sort_by_key(|one| one.offset);
                let error = read_into(&sorted, |out| {
                    fill(&mut *queue, &written, &sorted, out, &CancelToken::default())
                })
                .unwrap_err();
                assert_eq!(error.code(), "short_read", "{error}");
                let said = error.to_string();
                assert!(
                    said.contains(&format!("at byte {offset}: {len} bytes"))
                        && said.contains(&format!("{expected} are left")),
                    "{said}"
                );
                if let Some(fresh) = queues(&threads, Shape::Many).pop() {
                    queue = fresh; // a failed queue may have reads in flight
                }
            }
        }
    }
}

#[test]
fn what_lies_beyond_four_gibibytes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse");
    let far = (5_u64 << 30) + 12_345;
    let file = std::fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"there", far).unwrap();
    let threads = Threads::default();
    let sparse = One(path.clone(), Arc::new(DirectFile::open(&path).unwrap()));
    for mut queue in queues(&threads, Shape::Many) {
        let wanted =
            [Wanted { file: 0, offset: 3, len: 2 }, Wanted { file: 0, offset: far - 2, len: 7 }];
        let found = read_into(&wanted, |out| {
            fill(&mut *queue, &sparse, &wanted, out, &CancelToken::default())
        })
        .unwrap();
        assert_eq!(found, [b"\0\0".to_vec(), b"\0\0there".to_vec()]);
    }
}

struct One(std::path::PathBuf, Arc<DirectFile>);

impl Files for One {
    fn open(&self, _file: usize) -> Result<Arc<DirectFile>> {
        Ok(Arc::clone(&self.1))
    }

    fn path(&self, _file: usize) -> &Path {
        &self.0
    }

    fn alignment(&self, _file: usize) -> u64 {
        self.1.alignment()
    }

    fn check(&self, _file: usize) -> Result<()> {
        Ok(())
    }
}

#[test]
fn who_is_cancelled_does_not_wait_for_a_device_that_hangs() {
    let written = Written::new(&std::env::temp_dir(), &[100_000]);
    let wanted = [Wanted { file: 0, offset: 0, len: 100_000 }];
    let mut queue = Faulty::new(Shape::Many, 1, 0);
    queue.hangs = true;
    let cancel = CancelToken::default();
    let other = cancel.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        other.cancel();
        Instant::now()
    });
    let error =
        read_into(&wanted, |out| fill(&mut queue, &written, &wanted, out, &cancel)).unwrap_err();
    let waited = stopper.join().unwrap().elapsed();
    assert!(matches!(error, Error::Stopped));
    assert!(waited < Duration::from_secs(10), "{waited:?}: it would have waited for ever");
}

/// Reads in order, in pieces of random sizes, with a jump now and then.
fn in_order(
    written: &Written,
    random: &mut Random,
    mut read: impl FnMut(&[Wanted], &mut Random) -> Vec<Vec<u8>>,
) {
    for (file, bytes) in written.bytes.iter().enumerate() {
        let mut at = 0;
        while at < bytes.len() {
            if random.below(40) == 0 {
                at = random.index(bytes.len());
            }
            let rows = random.index(8) + 1;
            let row = random.index(20_000) + 1;
            let mut wanted = Vec::new();
            for _ in 0..rows {
                let len = row.min(bytes.len() - at);
                wanted.push(Wanted { file, offset: at as u64, len });
                at += len;
            }
            assert!(read(&wanted, random) == written.expected(&wanted), "{wanted:?}");
        }
    }
}

#[test]
fn a_window_hands_out_what_is_in_the_file_or_nothing() {
    let written = Written::new(&std::env::temp_dir(), &[12 * CHUNK + 77, 0, 500_000]);
    let extents = Extents::new(written.ranges());
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let faults = random.below(40);
        let mut window = Window::new(Faulty::new(Shape::Long, seed, faults), 0);
        let mut copied_out = 0;
        in_order(&written, &mut random, |wanted, random| {
            let mut all = false;
            let found = read_into(wanted, |out| {
                all = window.copy_out(&extents, &written, wanted, out, &CancelToken::default())?;
                Ok(())
            });
            copied_out += u32::from(all);
            if all {
                return found.unwrap();
            }
            let start = crate::storage::local::direct::extents::Place {
                file: wanted[0].file,
                offset: wanted[0].offset,
            };
            let number = extents.number(start).unwrap();
            if !window.reaches(number) || random.below(3) == 0 {
                window =
                    Window::new(Faulty::new(Shape::Long, random.below(1 << 20), faults), number);
            }
            written.expected(wanted)
        });
        assert!(copied_out > 5, "seed {seed}: {copied_out}");
    }
}

#[test]
fn what_a_window_cannot_read_is_reported_without_it() {
    let written = Written::new(&std::env::temp_dir(), &[20 * CHUNK]);
    let extents = Extents::new(written.ranges());
    let mut queue = Faulty::new(Shape::Long, 3, 0);
    queue.bad = Some(5 * CHUNK as u64 + 9);
    let mut window = Window::new(queue, 0);
    let mut lost = Vec::new();
    for chunk in 0..20 {
        let wanted = [Wanted { file: 0, offset: (chunk * CHUNK) as u64, len: CHUNK }];
        let mut all = false;
        let found = read_into(&wanted, |out| {
            all = window.copy_out(&extents, &written, &wanted, out, &CancelToken::default())?;
            Ok(())
        });
        if all { assert!(found.unwrap() == written.expected(&wanted)) } else { lost.push(chunk) }
    }
    assert_eq!(lost, [5]);
    assert!(window.is_over(&extents) && window.into_queue().is_some());
}

#[test]
fn threads_that_read_in_order_by_turns_get_what_they_ask_for() {
    for directory in file_systems() {
        let written = Written::new(&directory, &[3_000_000, 100, 2_000_000]);
        let extents = Extents::new(written.ranges());
        let (readahead, threads) = (Readahead::default(), ReaderThreads::default());
        let mut rows = Vec::new();
        for (file, bytes) in written.bytes.iter().enumerate() {
            let row = |offset: usize| Wanted {
                file,
                offset: offset as u64,
                len: 10_000.min(bytes.len() - offset),
            };
            rows.extend((0..bytes.len()).step_by(10_000).map(row));
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let copied_out = std::sync::atomic::AtomicUsize::new(0);
        let batches: Vec<&[Wanted]> = rows.chunks(7).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(wanted) =
                            batches.get(at % batches.len()).filter(|_| at < 3 * batches.len())
                        else {
                            break;
                        };
                        let mut all = false;
                        let found = read_into(wanted, |out| {
                            all = readahead.copy_out(
                                &extents,
                                &written,
                                &threads,
                                wanted,
                                out,
                                &CancelToken::default(),
                            )?;
                            Ok(())
                        });
                        if all {
                            assert!(found.unwrap() == written.expected(wanted));
                            copied_out.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(copied_out.into_inner() > 0, "nothing was read ahead");
    }
}

#[test]
fn a_reader_reads_at_random_and_in_order_on_many_threads() {
    for directory in file_systems() {
        let written = Written::new(&directory, &lens());
        let reader = Reader::new(written.ranges());
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (reader, written) = (&reader, &written);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    let read = |wanted: &[Wanted]| {
                        read_into(wanted, |out| {
                            reader.read(written, wanted, out, &CancelToken::default())
                        })
                        .unwrap()
                    };
                    in_order(written, &mut random, |wanted, random| {
                        let others = written.wants(random, 20);
                        assert!(read(&others) == written.expected(&others));
                        read(wanted)
                    });
                });
            }
        });
    }
}

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

/// Seconds that this process has computed for so far, to a hundredth.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
