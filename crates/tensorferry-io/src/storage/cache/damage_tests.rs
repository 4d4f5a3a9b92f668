//! Files that are damaged, cut, removed or foreign: never wrong bytes, and the cache goes on.

use crate::storage::cache::folder::Folder;
use crate::storage::cache::layout::{PIECE, cost};
use crate::storage::cache::object::CachedObject;
use crate::storage::cache::testing::{MIB, Random, Remote, cache, counted, files};
use std::fs;
use std::path::{Path, PathBuf};

/// All files of a cache.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort_unstable();
    files
}

/// Damages a file in a random way.
fn damage(path: &Path, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len().max(1));
    let end = (at + 1 + random.below(40_000)).min(bytes.len());
    match random.below(6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => bytes.get_mut(at..end).unwrap_or_default().fill(0),
        3 => bytes
            .get_mut(..at.min(5000))
            .unwrap_or_default()
            .fill_with(|| random.next().to_le_bytes()[0]),
        4 => bytes.extend_from_slice(&[b'+'; 5000]),
        // As of a file system that lost what was not synced.
        _ => bytes.fill(0),
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn whatever_is_damaged_is_never_read_and_is_kept_again() {
    for seed in 0..60 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        let remotes = [Remote::new("a", 1, 2 * MIB + 70_000), Remote::new("b", 1, 50_000)];
        let writer = cache(folder.path(), 50 * MIB);
        remotes.iter().for_each(|remote| remote.keep_all(&remote.open(&writer)));
        drop(writer);
        for path in all_files(folder.path()) {
            if random.below(3) > 0 {
                damage(&path, &mut random);
            }
        }
        let caches = [cache(folder.path(), 50 * MIB), cache(folder.path(), 50 * MIB)];
        for remote in &remotes {
            let objects = caches.each_ref().map(|cache| remote.open(cache));
            for _ in 0..20 {
                let piece = random.below(remote.pieces());
                let bytes = remote.piece(piece);
                let start = random.below(bytes.len());
                let mut out = vec![0; random.below(bytes.len() - start) + 1];
                let hit = objects[random.below(2)].read(piece as u64, start, &mut out);
                assert!(!hit || out == bytes[start..start + out.len()], "seed {seed}");
            }
            objects.iter().for_each(|object| {
                remote.hits(object);
                remote.keep_all(object);
            });
            assert_eq!(objects.each_ref().map(|object| remote.hits(object)), [remote.pieces(); 2]);
        }
        let (used, sum) = counted(folder.path());
        assert_eq!(used, sum, "seed {seed}");
        assert_eq!(sum, 2 * PIECE + cost(70_000) + cost(50_000), "seed {seed}");
    }
}

#[test]
fn a_block_of_another_place_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, 4 * MIB);
    let writer = cache(folder.path(), 50 * MIB);
    remote.keep_all(&remote.open(&writer));
    let path = Folder::new(folder.path()).entries().unwrap()[0].path.clone();
    let bytes = fs::read(&path).unwrap();
    let data = bytes.len() - 4 * MIB;
    // A block, with its checksum, in the place of the next piece's.
    let mut moved = bytes.clone();
    moved.copy_within(data..data + 16_384, data + MIB);
    let sums = 96 + 4;
    moved.copy_within(sums..sums + 4, sums + 4 * 64);
    fs::write(&path, moved).unwrap();
    let reader = cache(folder.path(), 50 * MIB);
    let object = remote.open(&reader);
    assert!(!remote.is_read(&object, 1) && remote.is_read(&object, 0));
    // The file of one object under the name of another.
    fs::write(&path, bytes).unwrap();
    let other = Remote::new("other", 1, 4 * MIB);
    let object = other.open(&reader);
    other.keep(&object, 0);
    let theirs = Folder::new(folder.path()).entries().unwrap();
    let theirs = theirs.iter().find(|entry| entry.path != path).unwrap();
    fs::copy(&path, &theirs.path).unwrap();
    let third = cache(folder.path(), 50 * MIB);
    let object = other.open(&third);
    assert_eq!(other.hits(&object), 0);
    other.keep_all(&object);
    assert_eq!(other.hits(&object), 4);
}

#[test]
fn a_piece_that_is_damaged_counts_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, 2 * MIB);
    let writer = cache(folder.path(), 2 * MIB);
    remote.keep_all(&remote.open(&writer));
    let path = Folder::new(folder.path()).entries().unwrap()[0].path.clone();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let reader = cache(folder.path(), 2 * MIB);
    let object = remote.open(&reader);
    // Only the damaged block is missed, until it is found.
    assert!(object.read(1, 0, &mut [0; 400]) && !object.has_room(MIB as u64));
    assert!(!object.read(1, MIB - 1, &mut [0]));
    assert_eq!(counted(folder.path()), (PIECE, PIECE));
    assert!(!object.read(1, 0, &mut [0; 400]) && object.has_room(MIB as u64));
    remote.keep(&object, 1);
    assert_eq!((remote.hits(&object), counted(folder.path())), (2, (2 * PIECE, 2 * PIECE)));
}

#[test]
fn what_a_killed_process_left_is_removed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, 2 * MIB);
    let writer = cache(folder.path(), 10 * MIB);
    remote.keep_all(&remote.open(&writer));
    drop(writer);
    let paths = Folder::new(folder.path());
    let path = paths.entries().unwrap()[0].path.clone();
    // It was about to create a file, had reserved bytes, and had written a piece without a mark.
    let half = path.with_file_name(path.file_name().unwrap().to_str().unwrap().replace("-0", "-7"));
    fs::write(&half, [0; 40]).unwrap();
    let mut lease = vec![0; 64];
    lease[..8].copy_from_slice(&(5 * PIECE).to_le_bytes());
    fs::write(paths.leases().join("killed.lease"), &lease).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[97] = 0;
    fs::write(&path, bytes).unwrap();
    let reader = cache(folder.path(), 10 * MIB);
    assert_eq!((counted(folder.path()), files(folder.path())), ((PIECE, PIECE), 1));
    assert!(!half.exists() && !paths.leases().join("killed.lease").exists());
    let object = remote.open(&reader);
    assert!(remote.is_read(&object, 0) && !remote.is_read(&object, 1));
    // Another process is killed while this one has the folder open.
    fs::write(paths.leases().join("killed.lease"), &lease).unwrap();
    let usage = crate::storage::cache::usage::Usage::open(&paths.usage(), true).unwrap();
    usage.write(10 * PIECE).unwrap();
    assert!(object.has_room(PIECE));
    assert_eq!(counted(folder.path()), (PIECE, PIECE));
}

#[test]
fn a_cache_that_is_cleared_while_it_is_open_is_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new("a", 1, 3 * MIB);
    let caches = [cache(folder.path(), 10 * MIB), cache(folder.path(), 10 * MIB)];
    let objects = caches.each_ref().map(|cache| remote.open(cache));
    objects.iter().for_each(|object| remote.keep(object, 0));
    fs::remove_dir_all(folder.path().join("tensorferry-1")).unwrap();
    // The removed file is still open.
    assert_eq!(objects.each_ref().map(|object| remote.hits(object)), [1, 1]);
    for object in &objects {
        remote.keep(object, 1);
        remote.keep_all(object);
    }
    assert_eq!(objects.each_ref().map(|object| remote.hits(object)), [3, 3]);
    assert_eq!(counted(folder.path()), (3 * PIECE, 3 * PIECE));
    fs::remove_dir_all(folder.path()).unwrap();
    drop(objects);
    assert!(!folder.path().exists());
    let object = remote.open(&caches[0]);
    remote.keep_all(&object);
    assert_eq!((remote.hits(&object), folder.path().exists()), (0, false));
}

#[cfg(unix)]
#[test]
fn a_link_or_folder_in_the_place_of_a_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dear = tempfile::NamedTempFile::new().unwrap();
    fs::write(dear.path(), "dear").unwrap();
    let remotes = [Remote::new("a", 1, MIB), Remote::new("b", 1, MIB)];
    let writer = cache(folder.path(), 10 * MIB);
    remotes.iter().for_each(|remote| remote.keep_all(&remote.open(&writer)));
    drop(writer);
    let mut paths = Folder::new(folder.path()).entries().unwrap().into_iter();
    let [link, directory] = [paths.next().unwrap().path, paths.next().unwrap().path];
    fs::remove_file(&link).unwrap();
    fs::remove_file(&directory).unwrap();
    std::os::unix::fs::symlink(dear.path(), &link).unwrap();
    fs::create_dir(&directory).unwrap();
    let reader = cache(folder.path(), 10 * MIB);
    let objects: Vec<CachedObject> = remotes.iter().map(|remote| remote.open(&reader)).collect();
    for (remote, object) in remotes.iter().zip(&objects) {
        assert!(!remote.is_read(object, 0));
        remote.keep_all(object);
        assert!(!remote.is_read(object, 0) && !object.has_room(1), "it pauses");
    }
    assert_eq!(fs::read(dear.path()).unwrap(), b"dear");
}
