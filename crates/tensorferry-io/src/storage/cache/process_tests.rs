//! Processes that share a cache, and that are killed.
//!
//! A process is this test binary again, told by its environment to fill a cache.

use crate::storage::cache::pieces::PieceCache;
use crate::storage::cache::testing::{MIB, Random, Remote, cache, counted};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const FOLDER: &str = "TENSORFERRY_TEST_CACHE";
const TASK: &str = "TENSORFERRY_TEST_CACHE_TASK";
const LIMIT: usize = 9 * MIB;

fn remotes() -> Vec<Remote> {
    (0..4).map(|name| Remote::new(name, 1, 3 * MIB + 9)).collect()
}

/// What a process does. As a test of its own, nothing.
#[test]
fn process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let limit = if task_is("write too much") { 100 * MIB } else { LIMIT };
    let cache = PieceCache::at(folder.as_ref(), limit as u64).unwrap();
    if task_is("write too much") {
        let remote = Remote::new("large", 1, 8 * MIB);
        let object = remote.open(&cache);
        assert!(object.has_room(1));
        remote.keep_all(&object);
        assert!((1..8).contains(&remote.hits(&object)) && !object.has_room(1));
    } else if task_is("hold") {
        let object = remotes()[0].open(&cache);
        remotes()[0].keep_all(&object);
        while tell_step() {
            assert_eq!(remotes()[0].hits(&object), remotes()[0].pieces());
        }
    } else {
        fill(&cache);
    }
}

fn task_is(task: &str) -> bool {
    std::env::var(TASK).is_ok_and(|found| found == task)
}

/// Fills the cache in random order for ever.
fn fill(cache: &Arc<PieceCache>) {
    let mut random = Random::new(u64::from(std::process::id()));
    let mut objects: Vec<_> = remotes().iter().map(|remote| remote.open(cache)).collect();
    while tell_step() {
        let at = random.below(objects.len());
        let remote = &remotes()[at];
        let piece = random.below(remote.pieces());
        if random.below(8) == 0 {
            objects[at] = remote.open(cache);
        }
        if !remote.is_read(&objects[at], piece) {
            remote.keep(&objects[at], piece);
        }
    }
}

/// Returns whether the parent process is there.
fn tell_step() -> bool {
    writeln!(std::io::stdout(), "step").is_ok()
}

/// This test binary as such a process.
fn command(folder: &Path, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "storage::cache::process_tests::process", "--nocapture"]);
    command.env(FOLDER, folder).env(TASK, task);
    command
}

/// A process, after it took a number of steps.
fn started(folder: &Path, task: &str, steps: usize) -> Child {
    let mut child = command(folder, task).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.by_ref().map_while(Result::ok).filter(|line| line.contains("step"));
    assert_eq!(seen.take(steps).count(), steps, "the process failed");
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn kill(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "the process ended");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn processes_that_are_killed_leave_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let children = [3, 10 + round].map(|steps| started(folder.path(), "fill", steps));
        if round % 3 == 0 {
            // Another process takes part.
            let cache = cache(folder.path(), LIMIT);
            for remote in remotes() {
                let object = remote.open(&cache);
                remote.keep_all(&object);
                remote.hits(&object);
            }
        }
        children.into_iter().for_each(kill);
        let cache = cache(folder.path(), LIMIT);
        let (used, sum) = counted(folder.path());
        assert!(used == sum && sum <= LIMIT as u64, "round {round}: {used} {sum}");
        let hits: usize = remotes().iter().map(|remote| remote.hits(&remote.open(&cache))).sum();
        assert!(hits > 0, "round {round}");
        // Every second time the folder is empty again, so that files are being created.
        if round % 2 == 1 {
            drop(cache);
            std::fs::remove_dir_all(folder.path().join("tensorferry-1")).unwrap();
        }
    }
}

#[test]
fn what_a_running_process_has_open_stays_and_what_a_killed_one_had_makes_way() {
    let folder = tempfile::tempdir().unwrap();
    let child = started(folder.path(), "hold", 2);
    let (held, new) = (&remotes()[0], Remote::new("new", 1, 7 * MIB));
    let cache = cache(folder.path(), LIMIT);
    let object = new.open(&cache);
    new.keep_all(&object);
    assert_eq!(new.hits(&object), 5);
    assert_eq!(held.hits(&held.open(&cache)), held.pieces());
    kill(child);
    drop((object, cache));
    let cache = super::testing::cache(folder.path(), LIMIT);
    let object = new.open(&cache);
    new.keep_all(&object);
    assert_eq!((new.hits(&object), held.hits(&held.open(&cache))), (7, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_no_more_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let process = command(folder.path(), "write too much");
    // A write beyond the limit fails, as on a full disk.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8000; exec \"$0\" \"$@\""])
        .arg(process.get_program())
        .args(process.get_args())
        .envs(process.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let (used, sum) = counted(folder.path());
    assert!(used == sum && (1..8).contains(&(sum / MIB as u64)), "{used} {sum}");
}
