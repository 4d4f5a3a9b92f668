//! The disk cache in forked processes.
#![cfg(all(target_os = "linux", feature = "object-store"))]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensorferry_io::Version;
use tensorferry_io::storage::cache::{CachedObject, PieceCache};

const MIB: usize = 1 << 20;

/// Held by the test that runs. A forked process does not know the caches of this one if another
/// thread is opening a cache at that moment: it makes new ones, with leases of their own.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn object(cache: &Arc<PieceCache>, name: &str) -> CachedObject {
    cache.object(name, &Version::new("1"), 4 * MIB as u64)
}

fn bytes(piece: u64) -> Vec<u8> {
    (0..MIB).map(|at| (at as u64 * (piece + 7) / 3) as u8).collect()
}

fn keep(object: &CachedObject, piece: u64) {
    object.keep(piece, &bytes(piece));
}

/// The pieces that are read; `None` if one has wrong bytes.
fn hits(object: &CachedObject) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    for piece in 0..4 {
        let mut out = vec![0; MIB];
        if object.read(piece, 0, &mut out) {
            found.push(piece);
            if out != bytes(piece) {
                return None;
            }
        }
    }
    Some(found)
}

/// Runs `child` in a forked process, and `parent` meanwhile. Panics if it returns false.
fn forked(child: impl FnOnce() -> bool, parent: impl FnOnce()) {
    // SAFETY: the child runs code that does not need threads or locks of its parent, and exits.
    let id = unsafe { libc::fork() };
    if id == 0 {
        drop(parent); // and what it has of pipes
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    drop(child);
    parent();
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
    assert_eq!(status, 0, "the forked process failed");
}

fn leases(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("tensorferry-1/leases")).unwrap().count()
}

#[test]
fn a_forked_process_has_a_lease_of_its_own_and_shares_all_pieces() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let cache = PieceCache::at(path, 6 << 20).unwrap();
    let shared = &RefCell::new(Some(object(&cache, "shared")));
    let shared_hits = &|| shared.borrow().as_ref().map(|object| hits(object).unwrap());
    let keep_shared = &|piece| shared.borrow().iter().for_each(|object| keep(object, piece));
    keep_shared(0);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (mut wait, mut go) = std::io::pipe().unwrap();
    let opened = &cache;
    forked(
        move || {
            let first = shared_hits() == Some(vec![0]) && leases(path) == 2;
            keep_shared(1);
            writer.write_all(&[1]).unwrap();
            wait.read_exact(&mut [0]).unwrap();
            // The parent closed its object and filled the cache, but this process has it open.
            let second = shared_hits() == Some(vec![0, 1, 2]);
            let again = PieceCache::at(path, 6 << 20).unwrap();
            let third = hits(&object(&again, "shared")) == Some(vec![0, 1, 2]);
            shared.take();
            first && second && third && leases(path) == 2
        },
        move || {
            reader.read_exact(&mut [0]).unwrap();
            assert_eq!(shared_hits(), Some(vec![0, 1]));
            keep_shared(2);
            shared.take();
            let other = object(opened, "other");
            (0..4).for_each(|piece| keep(&other, piece));
            assert_eq!(hits(&other), Some(vec![0, 1, 2]));
            go.write_all(&[1]).unwrap();
        },
    );
    // The lease of the child is dead, and is removed when the folder is next opened.
    drop(cache);
    let cache = PieceCache::at(path, 6 << 20).unwrap();
    assert_eq!(leases(path), 1);
    assert_eq!(hits(&object(&cache, "shared")), Some(vec![0, 1, 2]));
}

#[test]
fn forks_amid_reads_and_writes_of_other_threads_do_not_block() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let cache = PieceCache::at(folder.path(), 64 << 20).unwrap();
    let objects = ["a", "b", "c"].map(|name| object(&cache, name));
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for object in &objects {
            let end = &end;
            scope.spawn(move || {
                let mut piece = 0;
                while !end.load(Ordering::Relaxed) {
                    keep(object, piece % 4);
                    assert!(hits(object).is_some());
                    piece += 1;
                }
            });
        }
        for _ in 0..30 {
            forked(
                || {
                    objects.iter().all(|object| {
                        (0..4).for_each(|piece| keep(object, piece));
                        hits(object).is_some()
                    })
                },
                || (),
            );
        }
        end.store(true, Ordering::Relaxed);
    });
    objects.iter().for_each(|object| {
        (0..4).for_each(|piece| keep(object, piece));
        assert_eq!(hits(object), Some(vec![0, 1, 2, 3]));
    });
}
