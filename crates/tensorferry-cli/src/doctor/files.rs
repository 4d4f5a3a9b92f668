//! How files are read, in the folders that matter.

use super::findings::{Findings, Problem, Section};
use super::system::line;
use serde_json::json;
use std::io;
use std::path::Path;
use tensorferry::system;

pub(super) fn findings() -> Findings {
    let mut section = Section::new("files");
    let rings = system::io_uring();
    section.add_as("io_uring", rings.is_ok(), ring_words(&rings));
    let mut problems = Vec::new();
    let temporary = std::env::temp_dir();
    if let Err(error) = folder(&mut section, "temporary files", &temporary) {
        problems.push(Problem::new(
            format!("{}: temporary files cannot be written: {}.", temporary.display(), why(&error)),
            "Set TMPDIR to a folder that can be written to.",
        ));
    }
    if let Ok(current) = std::env::current_dir() {
        let _read_only = folder(&mut section, "current folder", &current);
    }
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        let _read_only = folder(&mut section, "shared memory", shared);
    }
    Findings { sections: vec![section], problems }
}

fn ring_words(rings: &io::Result<()>) -> String {
    let Err(error) = rings else { return "available".into() };
    let setting = match line("/proc/sys/kernel/io_uring_disabled") {
        Some(setting) if setting != "0" => format!(", kernel.io_uring_disabled = {setting}"),
        _ => String::new(),
    };
    format!("refused ({error}{setting}): threads read files")
}

/// An error without the name of the temporary file.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().into()
}

/// Adds a folder: its file system, and whether files there are read directly.
fn folder(section: &mut Section, name: &str, path: &Path) -> io::Result<()> {
    let direct = system::direct_reads(path);
    let (kind, space) = (file_system(path), space(path));
    let reads = match &direct {
        Ok(Some(alignment)) => format!("direct reads of {alignment} bytes"),
        Ok(None) => "no direct reads".into(),
        Err(error) => format!("not writable ({})", why(error)),
    };
    let room = space.map(|(free, size)| {
        let words = |count| crate::words::bytes(usize::try_from(count).unwrap_or(usize::MAX));
        format!("{} of {} free", words(free), words(size))
    });
    let text: Vec<String> = [kind.clone(), room, Some(reads)].into_iter().flatten().collect();
    let value = json!({
        "path": path.to_string_lossy(),
        "file_system": kind,
        "free_bytes": space.map(|space| space.0),
        "bytes": space.map(|space| space.1),
        "writable": direct.is_ok(),
        "direct_alignment": direct.as_ref().ok(),
    });
    section.add_as(name, value, format!("{}: {}", path.display(), text.join(", ")));
    direct.map(drop)
}

/// The type of the file system that a folder is on.
#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = procfs::process::Process::myself().and_then(|process| process.mountinfo()).ok()?;
    // Of mounts at one place, the last covers the others.
    let mounts = mounts.into_iter().filter(|mount| path.starts_with(&mount.mount_point));
    mounts.max_by_key(|mount| mount.mount_point.components().count()).map(|mount| mount.fs_type)
}

#[cfg(not(target_os = "linux"))]
fn file_system(_path: &Path) -> Option<String> {
    None
}

/// Bytes that are free, and all bytes.
#[cfg(target_os = "linux")]
fn space(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((
        found.f_bavail.saturating_mul(found.f_frsize),
        found.f_blocks.saturating_mul(found.f_frsize),
    ))
}

#[cfg(not(target_os = "linux"))]
fn space(_path: &Path) -> Option<(u64, u64)> {
    None
}
