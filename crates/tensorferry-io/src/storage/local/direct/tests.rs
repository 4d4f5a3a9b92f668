//! All ways to read, compared with the written bytes.

use crate::cancel::CancelToken;
use crate::error::Error;
use crate::storage::local::direct::Reader;
use crate::storage::local::direct::extents::{CHUNK, Extents};
use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::fill::fill;
use crate::storage::local::direct::queue::{DEPTH, Queue, Shape};
use crate::storage::local::direct::queue_pool::ReaderThreads;
use crate::storage::local::direct::readahead::Readahead;
use crate::storage::local::direct::spans::{MOST, Wanted};
use crate::storage::local::direct::testing::{
    Faulty, One, Random, Written, file_systems, queues, read_into,
};
use crate::storage::local::direct::threads::Threads;
use crate::storage::local::direct::window::Window;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
            Error::Read { offset: 400_007, len: 400, source, .. }
                if source.raw_os_error() == Some(5)
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
    assert!(matches!(error, Error::Interrupted));
    assert!(waited < Duration::from_secs(10), "{waited:?}: it would have waited for ever");
}

/// Reads in order, in pieces of random sizes, with an occasional jump.
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
