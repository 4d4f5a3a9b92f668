//! Resumable writes, which keep what a process wrote before it ended.
//!
//! # Rationale
//! If a file consists of a header and the elements of its arrays, the arrays determine every byte.
//! So writing can resume at the first row that is not on disk.

use crate::array::array::Array;
use crate::error::{Error, Result};
use crate::format::blocks;
use crate::format::file_format::Format;
use crate::gather::byte_order::little;
use crate::storage::io_error::io;
use crate::write::atomic::{directory, partial, sync_directory, target};
use crate::write::writeback::Writeback;
use std::collections::BTreeMap;
use std::fs;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// How [`save_resumable`] writes a file.
pub struct ResumableWrite<'a> {
    /// The metadata of a `.safetensors` file.
    pub metadata: &'a BTreeMap<String, String>,
    /// Number of bytes that an unfinished write of the same arrays passed to `reached`. The arrays
    /// are not compared.
    pub from: u64,
    /// Number of bytes between two syncs.
    pub every: u64,
    /// Called after each sync, with the number of bytes on disk.
    pub reached: &'a mut dyn FnMut(u64) -> Result<()>,
    /// Called with the metadata of the whole file just before it is renamed, so that the file can
    /// be recognized if the process ends then.
    pub whole: &'a mut dyn FnMut(&Metadata) -> Result<()>,
}

/// Writes arrays to a file as [`crate::format::save`] and
/// [`crate::format::save::save_arrays`] do, in row-major order. If it fails or the process ends,
/// the unfinished file stays beside the target for a later call to resume, or for
/// [`crate::write::atomic::remove_leftovers`] to remove. Names matter only in
/// [`Format::SafeTensors`].
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Array, ResumableWrite, Format, save_resumable};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// let squares = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?;
/// let mut on_disk = Vec::new();
/// let metadata = Default::default();
/// let how = ResumableWrite {
///     metadata: &metadata,
///     from: 0,
///     every: 64 << 20,
///     reached: &mut |bytes| Ok(on_disk.push(bytes)),
///     whole: &mut |_| Ok(()),
/// };
/// save_resumable(&path, &[(String::new(), squares)], Format::Npy, how)?;
/// assert_eq!(on_disk, [128 + 32]);
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] for a format that is not resumable (see
/// [`Capabilities`](crate::format::file_format::Capabilities)); [`Error::Io`], also if another
/// process is writing the file; those of [`crate::format::save`] and of `reached`.
pub fn save_resumable(
    path: impl AsRef<Path>,
    arrays: &[(String, Array)],
    format: Format,
    how: ResumableWrite<'_>,
) -> Result<()> {
    let path = path.as_ref();
    let Some((header, arrays)) = format.file_format().header_and_arrays(arrays, how.metadata)?
    else {
        let what = format!("writing a {format} file of {} arrays cannot be resumed", arrays.len());
        return Err(Error::argument("save", what));
    };
    let target = target(path)?;
    let (part, mut file) = partial(&target).map_err(io("resume", path))?;
    let start = valid(&mut file, &header, how.from).map_err(io("resume", path))?;
    let mut out = Synced {
        file: Writeback::new(&file),
        path,
        at: 0,
        synced: 0,
        every: how.every,
        reached: how.reached,
    };
    out.start_at(&header, &arrays, start)?;
    out.sync()?;
    file.sync_all().map_err(io("sync", path))?;
    (how.whole)(&file.metadata().map_err(io("look at", path))?)?;
    fs::rename(&part, &target).map_err(io("rename to", path))?;
    sync_directory(directory(&target)).map_err(io("sync the directory of", path))
}

/// Number of bytes of an unfinished file to keep: 0 if it is too short or has another header.
fn valid(file: &mut File, header: &[u8], from: u64) -> std::io::Result<u64> {
    if from < header.len() as u64 || file.metadata()?.len() < from {
        return Ok(0);
    }
    let mut found = vec![0; header.len()];
    file.rewind()?;
    file.read_exact(&mut found)?;
    Ok(if found == header { from } else { 0 })
}

/// A file that is synced after every `every` bytes.
struct Synced<'a> {
    file: Writeback<&'a File>,
    path: &'a Path,
    at: u64,
    synced: u64,
    every: u64,
    reached: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Synced<'_> {
    /// Writes everything from the row that contains byte `start`.
    fn start_at(&mut self, header: &[u8], arrays: &[&Array], start: u64) -> Result<()> {
        let mut end = header.len() as u64;
        let mut begun = start >= end && start > 0;
        if !begun {
            self.seek(0)?;
            self.write(header)?;
        }
        for array in arrays {
            let (begin, nbytes) = (end, array.nbytes() as u64);
            end += nbytes;
            if begun && start >= end {
                continue; // fully written
            }
            let row = nbytes
                .checked_div(array.len() as u64)
                .filter(|row| *row > 0 && !array.shape().is_empty());
            match row.filter(|_| begun) {
                Some(row) => {
                    let rows = (start - begin) / row;
                    self.seek(begin + rows * row)?;
                    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                    self.array(&array.part(rows, array.len().saturating_sub(rows))?)?;
                }
                None => {
                    if begun {
                        self.seek(begin)?;
                    }
                    self.array(array)?;
                }
            }
            begun = false;
        }
        if begun { self.seek(end) } else { Ok(()) }
    }

    fn seek(&mut self, to: u64) -> Result<()> {
        let moved = self.file.file().set_len(to).and_then(|()| self.file.seek(SeekFrom::Start(to)));
        moved.map_err(io("write", self.path))?;
        (self.at, self.synced) = (to, to);
        Ok(())
    }

    fn array(&mut self, array: &Array) -> Result<()> {
        let dtype = array.dtype();
        blocks::of_array(array, |bytes| self.write(&little(dtype, bytes)))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io("write", self.path))?;
        self.at += bytes.len() as u64;
        if self.at - self.synced < self.every { Ok(()) } else { self.sync() }
    }

    fn sync(&mut self) -> Result<()> {
        self.file.file().sync_data().map_err(io("sync", self.path))?;
        self.synced = self.at;
        (self.reached)(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::save::save;
    use crate::format::save::save_arrays;
    use tensorferry_core::{Casting, DType, Tensor};

    fn array(start: i32, shape: &[usize]) -> Array {
        let count = i32::try_from(shape.iter().product::<usize>()).unwrap();
        Array::try_from(Tensor::from_vec((start..start + count).collect(), shape).unwrap()).unwrap()
    }

    fn continued(
        path: &Path,
        arrays: &[(String, Array)],
        format: Format,
        from: u64,
    ) -> (Result<()>, Vec<u64>) {
        let mut seen = Vec::new();
        let mut reached = |bytes| {
            seen.push(bytes);
            Ok(())
        };
        let done = save_resumable(
            path,
            arrays,
            format,
            ResumableWrite {
                metadata: &BTreeMap::new(),
                from,
                every: 100,
                reached: &mut reached,
                whole: &mut |_| Ok(()),
            },
        );
        (done, seen)
    }

    #[test]
    fn from_any_byte_the_file_becomes_what_it_is_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let (path, part) =
            (directory.path().join("a"), directory.path().join(".tensorferry-a-resume.part"));
        let named = |arrays: Vec<Array>| -> Vec<(String, Array)> {
            arrays
                .into_iter()
                .enumerate()
                .map(|(at, array)| (format!("{at}"), array.in_chunks_of(24)))
                .collect()
        };
        let cases = [
            (Format::Npy, named(vec![array(5, &[31, 3])])),
            (Format::Npy, named(vec![array(5, &[])])),
            (Format::Npy, named(vec![array(5, &[4, 0])])),
            (Format::Raw, named(vec![array(5, &[31, 3])])),
            (
                Format::SafeTensors,
                named(vec![array(5, &[7, 3]), array(0, &[0]), array(1, &[]), array(50, &[9])]),
            ),
            (Format::SafeTensors, Vec::new()),
        ];
        for (format, arrays) in cases {
            match format {
                Format::SafeTensors => save_arrays(&path, &arrays, Some(format), false).unwrap(),
                _ => save(&path, &arrays[0].1, Some(format)).unwrap(),
            }
            let expected = fs::read(&path).unwrap();
            for from in (0..=expected.len()).step_by(37).chain([expected.len()]) {
                // Random bytes after the valid ones, or instead of them.
                for (keep, junk) in [(from, 0), (from, 50), (from / 2, 0), (0, from)] {
                    fs::remove_file(&path).unwrap();
                    fs::write(&part, [&expected[..keep], &vec![7; junk]].concat()).unwrap();
                    // In a raw file, random bytes cannot be detected.
                    let from = if format == Format::Raw && keep == 0 { 0 } else { from as u64 };
                    let (done, seen) = continued(&path, &arrays, format, from);
                    done.unwrap();
                    assert!(
                        fs::read(&path).unwrap() == expected,
                        "{format} from {from}, {keep} kept"
                    );
                    assert!(
                        seen.is_sorted()
                            && seen.last() == Some(&(expected.len() as u64))
                            && !part.exists()
                    );
                }
            }
        }
    }

    #[test]
    fn what_failed_is_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        fs::write(&path, "old").unwrap();
        let good = array(0, &[1000]).in_chunks_of(40);
        let bad = good.cast(DType::Int16, Casting::Checked).unwrap();
        let bad = bad.cast(DType::Int8, Casting::Checked).unwrap();
        let (failed, seen) = continued(&path, &[(String::new(), bad)], Format::Npy, 0);
        assert_eq!(failed.unwrap_err().code(), "values_do_not_fit");
        assert_eq!(
            (fs::read(&path).unwrap().as_slice(), seen.as_slice()),
            (&b"old"[..], &[128, 128 + 120][..])
        );
        let mended = good.cast(DType::Int8, Casting::Saturate).unwrap();
        let (done, again) = continued(&path, &[(String::new(), mended)], Format::Npy, seen[1]);
        done.unwrap();
        assert_eq!(
            again.first(),
            Some(&(seen[1] + 120)),
            "the earlier bytes were not written again"
        );
        let expected: Vec<u8> =
            (0..1000).map(|value: i32| u8::try_from(value.min(127)).unwrap()).collect();
        assert_eq!(fs::read(&path).unwrap()[128..], expected);
    }

    #[test]
    fn formats_that_cannot_be_resumed_are_refused_and_so_are_two_writers() {
        let directory = tempfile::tempdir().unwrap();
        let arrays = [("x".to_owned(), array(0, &[3]))];
        for format in [Format::Npz, Format::TfRecord] {
            let (refused, _) = continued(&directory.path().join("a"), &arrays, format, 0);
            assert_eq!(refused.unwrap_err().code(), "argument");
        }
        let path = directory.path().join("a.npy");
        let (_part, locked) = partial(&path).unwrap();
        let (refused, _) = continued(&path, &arrays, Format::Npy, 0);
        assert!(refused.unwrap_err().to_string().contains("another process is writing it"));
        drop(locked);
        assert_eq!(crate::write::atomic::remove_leftovers(&path).unwrap(), 1);
    }
}
