//! A cache compared with a model, and what it evicts.

use crate::error::Error;
use crate::storage::cache::folder::Folder;
use crate::storage::cache::object::CachedObject;
use crate::storage::cache::pieces::PieceCache;
use crate::storage::cache::testing::{MIB, Random, Remote, cache, counted, files};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn any_range_of_a_kept_piece_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, 3 * MIB + 40_001);
    let writer = cache(folder.path(), 100 * MIB);
    let written = remote.open(&writer);
    assert_eq!(remote.hits(&written), 0);
    remote.keep_all(&written);
    let others = [cache(folder.path(), 100 * MIB), cache(folder.path(), 100 * MIB)];
    let objects = [written, remote.open(&others[0]), remote.open(&others[1])];
    let mut random = Random::new(7);
    for round in 0..3000 {
        let piece = random.below(remote.pieces());
        let bytes = remote.piece(piece);
        let start = random.below(bytes.len() + 1);
        let most = if round % 2 == 0 { 500 } else { bytes.len() };
        let len = random.below(most.min(bytes.len() - start) + 1);
        for object in &objects {
            let mut out = vec![0; len];
            assert!(object.read(piece as u64, start, &mut out), "{start} {len}");
            assert!(out == bytes[start..start + len], "{start} {len}");
        }
    }
    let outside = [(0, MIB, 1), (3, 40_001, 1), (3, 0, 40_002), (4, 0, 0), (9, 0, 1), (5000, 0, 0)];
    for (piece, offset, len) in outside {
        assert!(!objects[0].read(piece, offset, &mut vec![0; len]), "{piece} {offset} {len}");
    }
    assert!(objects[0].read(0, MIB, &mut []));
    assert!(!objects[0].read(u64::MAX, usize::MAX, &mut [0]));
}

#[test]
fn counts_tell_hits_misses_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, MIB + 10);
    let cache = cache(folder.path(), 10 * MIB);
    let object = remote.open(&cache);
    assert_eq!(object.piece_len(0), CachedObject::PIECE);
    assert_eq!([1, 2, u64::MAX].map(|piece| object.piece_len(piece)), [10, 0, 0]);
    assert!(!remote.is_read(&object, 0));
    remote.keep(&object, 0);
    remote.keep(&object, 0);
    object.keep(1, b"too short");
    object.keep(7, b"");
    assert!(remote.is_read(&object, 0) && object.read(0, 7, &mut [0; 400]));
    assert!(!remote.is_read(&object, 1));
    let counts = object.counts();
    assert_eq!((counts.hits, counts.misses), (2, 2));
    assert_eq!((counts.bytes, counts.kept), (MIB as u64 + 400, MIB as u64));
}

/// An object that is open in one of several caches of a folder.
struct Opened {
    remote: Remote,
    cache: usize,
    object: CachedObject,
}

/// Random operations on several caches of one folder.
struct Operations {
    folder: tempfile::TempDir,
    limit: usize,
    random: Random,
    caches: Vec<Arc<PieceCache>>,
    open: Vec<Opened>,
}

impl Operations {
    fn new(seed: u64, limit: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let caches = (0..3).map(|_| cache(folder.path(), limit)).collect();
        Self { folder, limit, random: Random::new(seed), caches, open: Vec::new() }
    }

    /// Opens, closes, or opens a whole cache again. Returns an open object.
    fn next(&mut self, versions: usize) -> usize {
        match self.random.below(20) {
            0 | 1 if self.open.len() > 3 => {
                let at = self.random.below(self.open.len());
                self.open.swap_remove(at);
            }
            2 => {
                let at = self.random.below(self.caches.len());
                self.open.retain(|opened| opened.cache != at);
                self.caches[at] = cache(self.folder.path(), self.limit);
            }
            _ => {}
        }
        if self.open.len() < 4 {
            let name = self.random.below(5);
            let version = self.random.below(versions) as u64;
            let remote = Remote::new(name, version, 300_000 + name * 700_000);
            let cache = self.random.below(self.caches.len());
            let object = remote.open(&self.caches[cache]);
            self.open.push(Opened { remote, cache, object });
        }
        self.random.below(self.open.len())
    }
}

#[test]
fn all_caches_of_a_folder_have_what_any_of_them_kept() {
    for seed in 0..20 {
        let mut operations = Operations::new(seed, 100 * MIB);
        let mut kept = HashSet::new();
        for _ in 0..150 {
            let at = operations.next(1);
            let Opened { remote, object, .. } = &operations.open[at];
            let piece = operations.random.below(remote.pieces());
            let known = kept.contains(&(remote.clone(), piece));
            assert_eq!(remote.is_read(object, piece), known, "seed {seed}: {remote:?} {piece}");
            if !known && operations.random.below(2) == 0 {
                assert!(object.has_room(object.piece_len(piece as u64)));
                remote.keep(object, piece);
                kept.insert((remote.clone(), piece));
            }
        }
        let (used, sum) = counted(operations.folder.path());
        assert!(used == sum && sum > 0, "seed {seed}: {used} {sum}");
    }
}

#[test]
fn no_bytes_are_wrong_and_the_limit_holds_while_objects_change_and_make_way() {
    for seed in 0..20 {
        let limit = 2 * MIB + MIB / 2;
        let mut operations = Operations::new(100 + seed, limit);
        let mut hits = 0;
        for _ in 0..150 {
            let at = operations.next(3);
            let Opened { remote, object, .. } = &operations.open[at];
            let piece = operations.random.below(remote.pieces());
            if remote.is_read(object, piece) {
                hits += 1;
            } else {
                remote.keep(object, piece);
            }
            let (used, sum) = counted(operations.folder.path());
            assert!(used == sum && sum <= limit as u64, "seed {seed}: {used} {sum}");
        }
        assert!(hits > 0, "seed {seed}");
    }
}

#[test]
fn threads_of_several_processes_fill_one_cache() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 12 * MIB;
    let caches = [cache(folder.path(), limit), cache(folder.path(), limit)];
    let remotes: Vec<_> = (0..6).map(|name| Remote::new(name, 1, 3 * MIB - 5)).collect();
    let opened: Vec<Vec<_>> = caches
        .iter()
        .map(|cache| remotes.iter().map(|remote| remote.open(cache)).collect())
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (opened, remotes) = (&opened[thread % 2], &remotes);
            scope.spawn(move || {
                let mut random = Random::new(thread as u64);
                for _ in 0..60 {
                    let at = random.below(remotes.len());
                    let piece = random.below(remotes[at].pieces());
                    if !remotes[at].is_read(&opened[at], piece) {
                        remotes[at].keep(&opened[at], piece);
                    }
                }
            });
        }
    });
    let (used, sum) = counted(folder.path());
    assert!(used == sum && sum <= limit as u64, "{used} {sum}");
    // Threads that kept the same piece had less room for a while.
    let last = cache(folder.path(), limit);
    remotes.iter().for_each(|remote| remote.keep_all(&remote.open(&last)));
    assert_eq!(counted(folder.path()), (limit as u64, limit as u64));
    let hits = |objects: &[CachedObject]| -> Vec<usize> {
        remotes.iter().zip(objects).map(|(remote, object)| remote.hits(object)).collect()
    };
    assert_eq!(hits(&opened[0]), hits(&opened[1]));
}

#[test]
fn a_piece_that_many_keep_at_once_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let caches = [cache(folder.path(), 40 * MIB), cache(folder.path(), 40 * MIB)];
    let remote = Remote::new("a", 1, 4 * MIB);
    let objects = caches.each_ref().map(|cache| remote.open(cache));
    let bytes: Vec<_> = (0..4).map(|piece| remote.piece(piece)).collect();
    let together = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (object, bytes, together) = (&objects[thread % 2], &bytes, &together);
            scope.spawn(move || {
                for (piece, bytes) in (0..).zip(bytes) {
                    together.wait();
                    object.keep(piece, bytes);
                }
            });
        }
    });
    assert_eq!(counted(folder.path()), (4 << 20, 4 << 20));
    let kept: u64 = objects.iter().map(|object| object.counts().kept).sum();
    assert_eq!((kept, objects.each_ref().map(|object| remote.hits(object))), (4 << 20, [4, 4]));
}

#[test]
fn a_cache_of_a_tenth_answers_a_tenth_of_the_reads_in_every_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 4 * MIB);
    let remotes = [Remote::new("a", 1, 15 * MIB), Remote::new("b", 1, 25 * MIB)];
    let objects = [remotes[0].open(&cache), remotes[1].open(&cache)];
    let mut random = Random::new(3);
    for epoch in 0..4 {
        let mut order: Vec<(usize, usize)> =
            (0..40).map(|at| if at < 15 { (0, at) } else { (1, at - 15) }).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        let mut hits = 0;
        for (at, piece) in order {
            if remotes[at].is_read(&objects[at], piece) {
                hits += 1;
            } else if objects[at].has_room(MIB as u64) {
                remotes[at].keep(&objects[at], piece);
            }
        }
        assert_eq!(hits, if epoch == 0 { 0 } else { 4 }, "epoch {epoch}");
    }
}

#[test]
fn unused_objects_make_way_the_least_recently_used_first() {
    let again = |folder: &Path| super::testing::cache(folder, 6 * MIB);
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 6 * MIB);
    let old: Vec<_> = (0..3).map(|name| Remote::new(name, 1, 2 * MIB)).collect();
    for (remote, age) in old.iter().zip([20, 40, 30]) {
        remote.keep_all(&remote.open(&cache));
        remote.age(folder.path(), Duration::from_secs(age));
    }
    let new = Remote::new("new", 1, 6 * MIB);
    let object = new.open(&cache);
    let expected = [[true, false, true], [true, false, true], [true, false, false]];
    for (piece, there) in expected.iter().enumerate() {
        new.keep(&object, piece);
        let names: Vec<bool> =
            old.iter().map(|remote| remote.file(folder.path()).exists()).collect();
        assert_eq!(names, there, "after piece {piece}");
    }
    // What this and another cache have open stays.
    let other = again(folder.path());
    let used = old[0].open(&other);
    for piece in 3..6 {
        new.keep(&object, piece);
    }
    assert_eq!((old[0].hits(&used), new.hits(&object)), (2, 4));
    assert!(!object.has_room(1));
    drop(used);
    drop(other);
    let third = again(folder.path());
    let object = new.open(&third);
    assert!(object.has_room(1));
    new.keep_all(&object);
    assert_eq!((new.hits(&object), files(folder.path())), (6, 1));
}

#[test]
fn a_full_cache_says_so_without_the_disk_until_an_object_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 2 * MIB);
    let [a, b] = ["a", "b"].map(|name| Remote::new(name, 1, 2 * MIB));
    let (full, other) = (a.open(&cache), b.open(&cache));
    a.keep_all(&full);
    assert!(!full.has_room(MIB as u64));
    let usage = Folder::new(folder.path()).usage();
    let bytes = fs::read(&usage).unwrap();
    fs::write(&usage, b"").unwrap();
    assert!(!other.has_room(MIB as u64) && fs::read(&usage).unwrap().is_empty(), "it looked");
    fs::write(&usage, bytes).unwrap();
    drop(full);
    assert!(other.has_room(MIB as u64));
    b.keep_all(&other);
    assert_eq!((b.hits(&other), a.hits(&a.open(&cache))), (2, 0));
}

#[test]
fn a_cache_without_room_for_much_has_room_for_less() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 5 * MIB);
    let [unused, remote] = ["a", "b"].map(|name| Remote::new(name, 1, 4 * MIB));
    unused.keep(&unused.open(&cache), 0);
    let object = remote.open(&cache);
    (0..2).for_each(|piece| remote.keep(&object, piece));
    // Nothing is evicted for more than the limit.
    assert!(!object.has_room(u64::MAX) && !object.has_room(6 << 20));
    assert_eq!(files(folder.path()), 2);
    assert!(!object.has_room(4 << 20) && object.has_room(3 << 20) && !object.has_room(4 << 20));
    remote.keep_all(&object);
    assert_eq!(remote.hits(&object), 4);
}

#[test]
fn an_older_version_makes_way_at_once_unless_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 100 * MIB);
    let [old, new, newest] = [1, 2, 3].map(|version| Remote::new("a", version, 2 * MIB));
    let read = old.open(&cache);
    old.keep_all(&read);
    new.keep_all(&new.open(&cache));
    assert_eq!((old.hits(&read), files(folder.path())), (2, 2));
    drop(read);
    let object = newest.open(&cache);
    newest.keep(&object, 0);
    assert_eq!((files(folder.path()), counted(folder.path()).0), (1, MIB as u64));
    assert_eq!(newest.hits(&object), 1);
}

#[test]
fn a_limit_or_folder_that_cannot_be_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = PieceCache::at(folder.path(), 1 << 19).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = PieceCache::at(&path, 1 << 30).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().starts_with(&*path.to_string_lossy()), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_process_has_one_cache_per_folder_and_the_last_limit_applies() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("not/there/yet");
    let cache = PieceCache::at(&folder, 1 << 20).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let remote = Remote::new("a", 1, 3 * MIB);
    let object = remote.open(&cache);
    remote.keep_all(&object);
    assert_eq!(remote.hits(&object), 1);
    let again = PieceCache::at(&folder.join("../yet"), 3 << 20).unwrap();
    assert!(Arc::ptr_eq(&cache, &again) && again.folder().ends_with("not/there/yet"));
    remote.keep_all(&object);
    assert_eq!(remote.hits(&object), 3);
    drop((cache, again, object));
    assert_eq!(remote.hits(&remote.open(&PieceCache::at(&folder, 1 << 20).unwrap())), 3);
}

#[test]
fn without_file_locks_a_cache_is_filled_and_what_is_new_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PieceCache::open(folder.path().to_owned(), 3 << 20, false).unwrap();
    let [a, b] = ["a", "b"].map(|name| Remote::new(name, 1, 2 * MIB));
    a.keep_all(&a.open(&cache));
    let object = b.open(&cache);
    b.keep_all(&object);
    assert_eq!((a.hits(&a.open(&cache)), b.hits(&object)), (2, 1));
    assert_eq!(counted(folder.path()), (3 << 20, 3 << 20));
    [&a, &b]
        .into_iter()
        .for_each(|remote| remote.age(folder.path(), Duration::from_secs(2 * 24 * 60 * 60)));
    drop(cache);
    let cache = PieceCache::open(folder.path().to_owned(), 3 << 20, false).unwrap();
    let c = Remote::new("c", 1, MIB);
    let object = c.open(&cache);
    c.keep(&object, 0);
    assert_eq!(c.hits(&object), 1);
}
