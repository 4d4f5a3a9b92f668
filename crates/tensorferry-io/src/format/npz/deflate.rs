//! Writes compressed archives on all cores.
//!
//! # Rationale
//! Deflate takes far longer than reading and writing. So an array is divided into blocks, as in
//! pigz. Each is compressed separately, with the end of the previous block as dictionary, and ends
//! at a byte boundary, so the blocks form one stream. The bytes depend only on the arrays, not on
//! the number of threads.

use crate::array::array::Array;
use crate::error::{Error, Result};
use crate::format::npy;
use crate::memory::spare;
use crate::storage::io_error::io;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use rawzip::path::{EntryPath, ZipFilePath};
use rawzip::{CompressionMethod, DataDescriptorOutput, ErrorKind, ZipArchiveWriter};
use std::io;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tensorferry_core::Error as CoreError;

/// Bytes per block.
const BLOCK: usize = 256 << 10;
/// Maximum distance of a deflate match.
const WINDOW: usize = 32 << 10;

/// Stack size of the threads, in bytes. Their frames hold nothing large.
const STACK: usize = 512 << 10;

/// A part of a member.
struct Block {
    /// The dictionary, followed by the bytes to compress.
    bytes: Vec<u8>,
    /// Length of the dictionary.
    before: usize,
    /// Whether this is the member's last block.
    last: bool,
}

/// A compressed block.
struct Deflated {
    bytes: Vec<u8>,
    /// Checksum of the uncompressed bytes; `len` is their number.
    sum: Hasher,
    len: u64,
    last: bool,
}

/// Bytes of a compressor's state, with as many in reserve.
const COMPRESSOR: usize = 640 << 10;

/// A new compressor. The library panics if it cannot allocate, so this checks for memory first.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](io::ErrorKind::OutOfMemory).
fn compressor() -> io::Result<Compress> {
    drop(with_room(COMPRESSOR)?);
    let made = std::panic::catch_unwind(|| Compress::new(Compression::default(), false));
    made.map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// An empty buffer with this capacity.
fn with_room(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    room(&mut buffer, bytes)?;
    Ok(buffer)
}

fn room(buffer: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    spare::check().map_err(|_| io::ErrorKind::OutOfMemory)?;
    buffer.try_reserve(bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Converts the error of compressing a block or allocating it.
fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::OutOfMemory => Error::Core(CoreError::Allocation { bytes: WINDOW + BLOCK }),
        _ => io("compress for", path)(error),
    }
}

impl Block {
    fn deflate(&self) -> io::Result<Deflated> {
        let (before, bytes) = self.bytes.split_at(self.before);
        // A reset compressor produces other bytes than a new one, so they would depend on the
        // distribution of blocks over threads.
        let mut state = compressor()?;
        if !before.is_empty() {
            state.set_dictionary(before)?;
        }
        let mut out = Vec::new();
        room(&mut out, bytes.len() / 2 + 64)?;
        let flush = if self.last { FlushCompress::Finish } else { FlushCompress::Sync };
        loop {
            let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX).min(bytes.len());
            let status = state.compress_vec(&bytes[taken..], &mut out, flush)?;
            // If space is left, everything was written.
            if status == Status::StreamEnd || (!self.last && out.len() < out.capacity()) {
                break;
            }
            room(&mut out, bytes.len() / 4 + 64)?;
        }
        let mut sum = Hasher::new();
        sum.update(bytes);
        Ok(Deflated { bytes: out, sum, len: bytes.len() as u64, last: self.last })
    }
}

/// Calls `each` with the blocks of a member, in order.
fn cut(array: &Array, mut each: impl FnMut(Block) -> Result<()>) -> Result<()> {
    let buffer = || {
        with_room(WINDOW + BLOCK)
            .map_err(|_| Error::Core(CoreError::Allocation { bytes: WINDOW + BLOCK }))
    };
    let mut block = Block { bytes: buffer()?, before: 0, last: false };
    npy::write(array, |mut bytes| {
        while !bytes.is_empty() {
            let room = block.before + BLOCK - block.bytes.len();
            if room == 0 {
                let mut next = buffer()?;
                next.extend_from_slice(&block.bytes[block.bytes.len() - WINDOW..]);
                let full = std::mem::replace(
                    &mut block,
                    Block { bytes: next, before: WINDOW, last: false },
                );
                each(full)?;
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            block.bytes.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    })?;
    each(Block { last: true, ..block })
}

/// Whether the archive writer keeps a name unchanged.
pub(crate) fn can_name(name: &str) -> bool {
    name.is_ascii() || ZipFilePath::from_str(name).as_str() == name
}

/// Writes an archive, and compresses its members on `threads` threads.
pub(crate) fn write(
    file: &mut (impl Write + Send),
    path: &Path,
    arrays: &[(&str, &Array)],
    threads: usize,
) -> Result<()> {
    let mut archive = ZipArchiveWriter::new(file);
    let blocks: usize = arrays.iter().map(|(_, array)| array.nbytes().div_ceil(BLOCK).max(1)).sum();
    let threads = threads.min(blocks);
    if threads < 2 || !on_threads(&mut archive, path, arrays, threads)? {
        for (name, array) in arrays {
            let mut member = Member::start(&mut archive, name, path)?;
            cut(array, |block| member.add(&block.deflate().map_err(failed(path))?))?;
            member.end()?;
        }
    }
    archive.finish().map(drop).map_err(|error| wrong(error, path))
}

/// Reads on this thread, compresses on `threads`, and writes the compressed blocks in order on
/// another. Returns false if no thread can be started.
fn on_threads<W: Write + Send>(
    archive: &mut ZipArchiveWriter<W>,
    path: &Path,
    arrays: &[(&str, &Array)],
    threads: usize,
) -> Result<bool> {
    // No queue: reading is far faster than compressing, and waiting blocks take memory.
    let (jobs, work) = sync_channel::<Job>(0);
    let (order, parts) = sync_channel(threads);
    let work = Arc::new(Mutex::new(work));
    thread::scope(|scope| {
        let named = thread::Builder::new().name("tensorferry-write".into()).stack_size(STACK);
        let names = arrays.iter().map(|(name, _)| *name);
        let Ok(writer) = named.spawn_scoped(scope, move || in_order(archive, path, names, &parts))
        else {
            return Ok(false);
        };
        let mut workers = 0;
        for _ in 0..threads {
            let work = Arc::clone(&work);
            let named = thread::Builder::new().name("tensorferry-deflate".into()).stack_size(STACK);
            workers += usize::from(named.spawn_scoped(scope, move || compress(&work)).is_ok());
        }
        // So that sending jobs fails once the last worker has ended.
        drop(work);
        let give = |block: Block| {
            let (send, receive) = sync_channel(1);
            if order.send(receive).is_err() {
                return Err(Error::Interrupted); // the writer failed, and reports why
            }
            if workers == 0 {
                let _given = send.send(block.deflate());
                return Ok(());
            }
            jobs.send((block, send)).map_err(|_| Error::Interrupted)
        };
        let read = arrays.iter().try_for_each(|(_, array)| cut(array, give));
        drop((jobs, order));
        match writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Ok(true) => read.map(|()| true),
            // The writer did not receive all blocks.
            Ok(false) => Err(read.err().unwrap_or(Error::Interrupted)),
            Err(error) => Err(error),
        }
    })
}

type Job = (Block, SyncSender<io::Result<Deflated>>);

/// Compresses blocks until there are no more.
fn compress(work: &Mutex<Receiver<Job>>) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, send)) = next else { return };
        // The receiver is gone if writing failed.
        let _given = send.send(block.deflate());
    }
}

/// Writes members, whose parts arrive in order. Returns false if they end before the last one.
fn in_order<'a, W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    path: &Path,
    names: impl Iterator<Item = &'a str>,
    parts: &Receiver<Receiver<io::Result<Deflated>>>,
) -> Result<bool> {
    for name in names {
        let mut member = Member::start(archive, name, path)?;
        loop {
            let Some(part) = parts.recv().ok().and_then(|part| part.recv().ok()) else {
                return Ok(false);
            };
            let part = part.map_err(failed(path))?;
            member.add(&part)?;
            if part.last {
                break;
            }
        }
        member.end()?;
    }
    Ok(true)
}

/// A member being written.
struct Member<'a, W: Write> {
    entry: rawzip::ZipEntryWriter<'a, W>,
    sum: Hasher,
    len: u64,
    path: &'a Path,
}

impl<'a, W: Write> Member<'a, W> {
    fn start(archive: &'a mut ZipArchiveWriter<W>, name: &str, path: &'a Path) -> Result<Self> {
        let name = format!("{name}.npy");
        let name = if name.is_ascii() {
            EntryPath::verbatim(name.into_bytes())
        } else {
            EntryPath::conformant(name)
        };
        let started = archive.new_file(name).compression_method(CompressionMethod::DEFLATE).start();
        let (entry, _) = started.map_err(|error| wrong(error, path))?;
        Ok(Self { entry, sum: Hasher::new(), len: 0, path })
    }

    fn add(&mut self, part: &Deflated) -> Result<()> {
        self.sum.combine(&part.sum);
        self.len += part.len;
        self.entry.write_all(&part.bytes).map_err(io("write", self.path))
    }

    fn end(self) -> Result<()> {
        let sizes = DataDescriptorOutput::new(self.sum.finalize(), self.len);
        self.entry.finish(sizes).map(drop).map_err(|error| wrong(error, self.path))
    }
}

fn wrong(error: rawzip::Error, path: &Path) -> Error {
    match error.into_kind() {
        ErrorKind::IO(error) => io("write", path)(error),
        // Such as a name that is too long.
        other => Error::argument("save", format!("{}: {other}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use tensorferry_core::Tensor;

    fn array(values: Vec<i64>) -> Array {
        let len = values.len();
        Array::try_from(Tensor::from_vec(values, &[len]).unwrap()).unwrap()
    }

    fn archive(arrays: &[(&str, &Array)], threads: usize) -> Vec<u8> {
        let mut file = Vec::new();
        write(&mut file, Path::new("a.npz"), arrays, threads).unwrap();
        file
    }

    #[test]
    fn an_archive_does_not_depend_on_the_number_of_threads() {
        let mut seed = 1_u64;
        let mut random = move |keep: u32| -> i64 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> (64 - keep)).cast_signed()
        };
        let lens = [0, 1, BLOCK / 8 - 16, BLOCK / 8, 3 * BLOCK / 8 - 16, 300_001];
        for keep in [1, 9, 62] {
            let arrays: Vec<Array> =
                lens.iter().map(|len| array((0..*len).map(|_| random(keep)).collect())).collect();
            let names = ["empty", "../x", "layer 1/kernel:0", "na\u{ef}ve", "e", "f"];
            let named: Vec<(&str, &Array)> = names.into_iter().zip(&arrays).collect();
            let alone = archive(&named, 1);
            for threads in [2, 3, 8] {
                assert!(archive(&named, threads) == alone, "{threads} threads");
            }
            let mut read = zip::ZipArchive::new(std::io::Cursor::new(alone)).unwrap();
            for (name, array) in named {
                let (mut got, mut expected) = (Vec::new(), Vec::new());
                // The checksum is checked at the end of the member.
                read.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut got).unwrap();
                npy::write(array, |bytes| {
                    expected.write_all(bytes).map_err(io("write", Path::new("a")))
                })
                .unwrap();
                assert!(got == expected, "{name}");
            }
        }
    }

    /// Accepts this many bytes, then reports a full disk.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_fails_is_said_and_ends_all_threads() {
        let numbers = array((0..500_000).map(|at: i64| at.wrapping_mul(at) ^ (at << 40)).collect());
        let named = [("a", &numbers), ("b", &numbers)];
        let whole = archive(&named, 2).len();
        for threads in [1, 2, 4] {
            for room in [0, 10, 100, whole / 4, whole / 2, whole - 100, whole - 1] {
                let error =
                    write(&mut Full(room), Path::new("a.npz"), &named, threads).unwrap_err();
                assert_eq!(
                    (error.code(), error.to_string().contains("a.npz")),
                    ("io", true),
                    "{error}"
                );
            }
            let cancel = crate::cancel::CancelToken::default();
            cancel.cancel();
            let stopped = numbers
                .cast(tensorferry_core::DType::Int32, tensorferry_core::Casting::Wrap)
                .unwrap()
                .cancelled_by(&cancel);
            let error = write(
                &mut Vec::new(),
                Path::new("a.npz"),
                &[("a", &numbers), ("b", &stopped)],
                threads,
            )
            .unwrap_err();
            assert!(matches!(error, Error::Interrupted));
            let narrow = numbers
                .cast(tensorferry_core::DType::Int8, tensorferry_core::Casting::Checked)
                .unwrap();
            let error = write(
                &mut Vec::new(),
                Path::new("a.npz"),
                &[("a", &numbers), ("b", &narrow)],
                threads,
            )
            .unwrap_err();
            assert_eq!(error.code(), "values_do_not_fit");
        }
    }
}
