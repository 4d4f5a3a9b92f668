//! All formats, read through a [`ReadAt`] that is not a file.

use crate::array::array::Array;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::file_format::{OpenOptions, Opened, Raw};
use crate::format::save::{save, save_arrays};
use crate::open::open_sources;
use crate::storage::mode::Mode;
use crate::storage::read_at::{ReadAt, ReadRange};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tensorferry_core::{DType, Shape, Tensor};

/// Bytes in memory, and the number of calls that read ranges of them.
#[derive(Debug)]
struct Memory {
    name: PathBuf,
    bytes: Vec<u8>,
    calls: Arc<AtomicUsize>,
}

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn name(&self) -> &Path {
        &self.name
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8], cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        let rest = self.bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let Some(found) = rest.get(..out.len()) else {
            let short = Error::ShortRead { offset, expected: out.len(), actual: rest.len() };
            return Err(short.in_file(&self.name));
        };
        out.copy_from_slice(found);
        Ok(())
    }

    fn read_ranges(&self, ranges: &mut [ReadRange<'_>], cancel: &CancelToken) -> Result<()> {
        assert!(ranges.is_sorted_by_key(|range| range.offset));
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut each = ranges.iter_mut();
        each.try_for_each(|range| self.read_exact_at(range.offset, range.out, cancel))
    }
}

const ROWS: usize = 50;

fn tensor() -> Tensor {
    let values = (0..i64::try_from(ROWS * 3).unwrap()).map(|value| value * value % 97).collect();
    Tensor::from_vec(values, &[ROWS, 3]).unwrap()
}

/// Two sources of equal contents, in the format of the file name.
fn sources(name: &str, compress: bool, calls: &Arc<AtomicUsize>) -> Vec<Arc<dyn ReadAt>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let array = Array::try_from(tensor()).unwrap();
    match name {
        "a.npz" | "a.safetensors" | "a.tfrecord" => {
            save_arrays(&path, &[("x", array)], None, compress).unwrap();
        }
        _ => save(&path, &array, None).unwrap(),
    }
    let bytes = std::fs::read(&path).unwrap();
    (0..2)
        .map(|at| {
            let (name, bytes) = (format!("memory:/{at}/{name}").into(), bytes.clone());
            Arc::new(Memory { name, bytes, calls: Arc::clone(calls) }) as Arc<dyn ReadAt>
        })
        .collect()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.as_view().as_bytes().unwrap().to_vec()
}

#[test]
fn every_format_opens_and_reads_from_storage_that_is_not_a_file() {
    let all = [
        ("a.npy", false),
        ("a.bin", false),
        ("a.npz", false),
        ("a.npz", true),
        ("a.safetensors", false),
        ("a.tfrecord", false),
        ("bytes.tfrecord", false),
    ];
    for (name, compress) in all {
        let raw = Raw { shape: Shape::new([None, Some(3)]), ..Raw::new(DType::Int64) };
        let raw = (name == "a.bin").then_some(raw);
        for mode in [Mode::Auto, Mode::Read, Mode::Direct] {
            // Two bytes are not enough for a compressed array: its rows are inflated as they are
            // read.
            for memory_limit in [None, Some(2)] {
                let calls = Arc::default();
                let sources = sources(name, compress, &calls);
                let options =
                    OpenOptions { mode, raw: raw.clone(), memory_limit, ..OpenOptions::default() };
                let array = match open_sources(&sources, &options).unwrap() {
                    Opened::Array(array) => array,
                    Opened::Arrays(arrays) => {
                        assert_eq!(arrays.names().collect::<Vec<_>>(), ["x"]);
                        arrays.verify().unwrap();
                        arrays.get("x").unwrap()
                    }
                };
                assert_eq!(array.len(), 2 * ROWS, "{name}");
                let in_memory = compress && memory_limit.is_none();
                assert_eq!(array.mode(), if in_memory { Mode::Map } else { Mode::Read }, "{name}");
                assert_eq!(array.file_of(ROWS + 1), Some((sources[1].name(), 1)));
                let expected = bytes(&tensor());
                assert_eq!(bytes(&array.slice(0, ROWS).unwrap()), expected);
                assert_eq!(bytes(&array.slice(ROWS, ROWS).unwrap()), expected);
                let before = calls.load(Ordering::Relaxed);
                let rows = [ROWS + 7, 3, 49, 12, 3];
                let picked = rows.map(|row| &expected[row % ROWS * 24..][..24]).concat();
                assert_eq!(bytes(&array.rows(&rows).unwrap()), picked, "{name}");
                if !compress {
                    let once_each = calls.load(Ordering::Relaxed) - before;
                    assert_eq!(once_each, 2, "{name}: one call per source for a batch");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_mapped_is_refused_with_the_way_that_works() {
    let sources = sources("a.npy", false, &Arc::default());
    let options = OpenOptions { mode: Mode::Map, ..OpenOptions::default() };
    let said = open_sources(&sources, &options).unwrap_err().to_string();
    assert!(said.contains("0/a.npy: ") && said.contains("Mode::Read"), "{said}");
}

#[test]
fn a_cancelled_read_and_a_source_that_ends_early_are_errors() {
    let sources = sources("a.npy", false, &Arc::default());
    let array = open_sources(&sources, &OpenOptions::default()).unwrap().array().unwrap();
    let cancel = CancelToken::default();
    cancel.cancel();
    assert!(matches!(array.cancelled_by(&cancel).read(), Err(Error::Interrupted)));
    let memory = Memory { name: "a.npy".into(), bytes: vec![0; 9], calls: Arc::default() };
    let error = memory.read_exact_at(5, &mut [0; 6], &CancelToken::default()).unwrap_err();
    assert_eq!(error.code(), "short_read");
    let none = open_sources(&[], &OpenOptions::default()).unwrap_err();
    assert!(none.to_string().contains("no files were given"));
}
