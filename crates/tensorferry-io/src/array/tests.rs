//! All modes, compared with rows taken one by one from the file's bytes.

use crate::array::array::Array;
use crate::error::Error;
use crate::format::file_format::{Format, OpenOptions, Opened};
use crate::open::{open, open_with};
use crate::storage::mode::Mode;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use tempfile::TempDir;
use tensorferry_core::Error as CoreError;
use tensorferry_core::Tensor;
use tensorferry_core::npy_header;
use tensorferry_core::{ByteOrder, DType, Layout};

/// Element `i` of all test files, as bytes.
fn element(dtype: DType, i: usize, order: ByteOrder) -> Vec<u8> {
    let part = if dtype.kind() == tensorferry_core::Kind::Complex {
        dtype.size() / 2
    } else {
        dtype.size()
    };
    let mut bytes: Vec<u8> =
        (0..dtype.size()).map(|at| (i * 31 + at * 7).to_le_bytes()[0]).collect();
    if dtype == DType::Bool {
        bytes[0] %= 2;
    }
    if order == ByteOrder::Swapped {
        bytes.chunks_mut(part).for_each(<[u8]>::reverse);
    }
    bytes
}

/// Writes an array whose elements, in row-major order, are [`element`]s counted from `first`.
fn write(
    path: &PathBuf,
    dtype: DType,
    order: ByteOrder,
    shape: &[usize],
    fortran: bool,
    first: usize,
) {
    let mut bytes = npy_header::write(dtype, order, shape, fortran).unwrap();
    let count = shape.iter().product();
    let layout = Layout::contiguous(shape, 1).unwrap();
    for at in 0..count {
        let index = if fortran {
            // The row-major index of the `at`-th element in column-major order.
            let mut rest = at;
            shape
                .iter()
                .zip(layout.strides())
                .map(|(dim, stride)| {
                    let here = rest % dim;
                    rest /= dim;
                    here * stride.unsigned_abs()
                })
                .sum()
        } else {
            at
        };
        bytes.extend(element(dtype, first + index, order));
    }
    fs::write(path, bytes).unwrap();
}

fn expected(dtype: DType, row: usize, rows: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let elements = rows.into_iter().flat_map(|at| at * row..(at + 1) * row);
    elements.flat_map(|i| element(dtype, i, ByteOrder::Native)).collect()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    assert_eq!(tensor.byte_order(), ByteOrder::Native);
    let mut out = vec![0; tensor.layout().nbytes()];
    crate::gather::rows_out::copy_view(&tensor.as_view(), &mut out).unwrap();
    out
}

fn array(paths: &[PathBuf], mode: Mode) -> Array {
    open_with(paths, &mode.into()).unwrap().array().unwrap()
}

#[test]
fn rows_of_one_file_and_of_shards_are_the_same_in_every_mode_order_and_byte_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for dtype in [DType::UInt8, DType::Int16, DType::Float32, DType::Complex64, DType::Complex128] {
        for (fortran, order) in [
            (false, ByteOrder::Native),
            (true, ByteOrder::Native),
            (false, ByteOrder::Swapped),
            (true, ByteOrder::Swapped),
        ] {
            write(&path("0.npy"), dtype, order, &[4, 2, 3], fortran, 0);
            write(&path("1.npy"), dtype, order, &[0, 2, 3], fortran, 0);
            write(&path("2.npy"), dtype, ByteOrder::Native, &[1, 2, 3], false, 24);
            write(&path("10.npy"), dtype, order, &[5, 2, 3], fortran, 30);
            for mode in [Mode::Map, Mode::Read, Mode::Direct] {
                for (paths, rows) in [(vec![path("0.npy")], 4), (vec![path("*.npy")], 10)] {
                    let array = array(&paths, mode);
                    assert_eq!((array.dtype(), array.shape()), (dtype, &[rows, 2, 3][..]));
                    let context = format!("{dtype} {mode} {order:?} {fortran} {rows}");
                    for start in 0..=rows {
                        for len in 0..=rows - start {
                            let slice = array.slice(start, len).unwrap();
                            assert_eq!(slice.shape(), [len, 2, 3]);
                            assert_eq!(
                                bytes(&slice),
                                expected(dtype, 6, start..start + len),
                                "{context}"
                            );
                        }
                    }
                    let asked: Vec<usize> =
                        (0..rows).rev().chain(0..rows).chain([0, 0, rows - 1]).collect();
                    assert_eq!(
                        bytes(&array.rows(&asked).unwrap()),
                        expected(dtype, 6, asked),
                        "{context}"
                    );
                    assert_eq!(
                        bytes(&array.read().unwrap()),
                        expected(dtype, 6, 0..rows),
                        "{context}"
                    );
                    assert!(matches!(
                        array.slice(rows, 1),
                        Err(Error::Core(CoreError::IndexOutOfRange { .. }))
                    ));
                    assert!(matches!(
                        array.slice(usize::MAX, 1),
                        Err(Error::Core(CoreError::IndexOutOfRange { .. }))
                    ));
                    assert!(array.rows(&[0, rows]).is_err());
                    assert_eq!(array.tensor().is_ok(), mode == Mode::Map && rows == 4);
                }
            }
        }
    }
}

#[test]
fn arrays_without_dimensions_or_elements_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.npy");
    for shape in [&[][..], &[0], &[0, 3], &[3, 0], &[1 << 49, 0], &[1], &[1; 20]] {
        for order in [ByteOrder::Native, ByteOrder::Swapped] {
            write(&path, DType::Int32, order, shape, false, 0);
            for mode in [Mode::Map, Mode::Read] {
                let array = array(std::slice::from_ref(&path), mode);
                assert_eq!(array.shape(), shape);
                let read = array.read().unwrap();
                assert_eq!(read.shape(), shape);
                assert_eq!(bytes(&read), expected(DType::Int32, shape.iter().product(), 0..1));
                if mode == Mode::Map {
                    assert_eq!(array.tensor().unwrap().shape(), shape);
                }
            }
        }
    }
}

#[test]
fn shards_that_differ_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let native = ByteOrder::Native;
    write(&path("first.npy"), DType::Int32, native, &[2, 3], false, 0);
    for (dtype, shape) in [
        (DType::Int64, &[2, 3][..]),
        (DType::Int32, &[2, 4]),
        (DType::Int32, &[2]),
        (DType::Int32, &[]),
    ] {
        write(&path("second.npy"), dtype, native, shape, false, 0);
        for mode in [Mode::Map, Mode::Read] {
            let said = open_with(&[path("first.npy"), path("second.npy")], &mode.into())
                .unwrap_err()
                .to_string();
            assert!(said.contains("first.npy") && said.contains("second.npy"), "{said}");
        }
    }
    assert!(
        open_with(&[path("second.npy"), path("second.npy")], &Mode::Map.into()).is_err(),
        "arrays without dimensions have no rows"
    );
}

#[test]
fn what_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let said = |paths: &[PathBuf]| open_with(paths, &Mode::Auto.into()).unwrap_err().to_string();
    assert!(said(&[]).contains("no files"));
    assert!(said(&[path("none-*.npy")]).contains("no file matches"));
    assert!(said(&[path("[")]).contains("pattern"), "{}", said(&[path("[")]));
    fs::write(path("unknown.xyz"), b"????????????????????").unwrap();
    assert!(said(&[path("unknown.xyz")]).contains("OpenOptions::format"));
    assert!(matches!(open(path("missing.npy")), Err(Error::Io { .. })));
    // A path that exists takes precedence over a pattern.
    write(&path("a[1].npy"), DType::Int8, ByteOrder::Native, &[2], false, 0);
    write(&path("a1.npy"), DType::Int8, ByteOrder::Native, &[3], false, 0);
    assert_eq!(array(&[path("a[1].npy")], Mode::Auto).len(), 2);
}

fn big(directory: &TempDir) -> (PathBuf, Array, u64) {
    // 6 GiB of zeros that use no disk space, and the last row.
    let path = directory.path().join("big.npy");
    let rows = 6 << 20;
    let header = npy_header::write(DType::UInt8, ByteOrder::Native, &[rows, 1024], false).unwrap();
    fs::write(&path, &header).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let len = header.len() as u64 + rows as u64 * 1024;
    file.set_len(len).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9; 2048], len - 2048).unwrap();
    (path.clone(), array(&[path], Mode::Read), len)
}

#[test]
#[cfg(unix)]
fn offsets_past_four_gib_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, read, _) = big(&directory);
    let mapped = array(&[path], Mode::Map);
    let last = read.len() - 1;
    for array in [read, mapped] {
        assert_eq!(bytes(&array.slice(last, 1).unwrap()), [9; 1024]);
        assert_eq!(
            bytes(&array.rows(&[last - 2, last - 1]).unwrap()),
            [[0; 1024], [9; 1024]].concat()
        );
    }
}

#[test]
#[cfg(unix)]
fn a_file_truncated_after_opening_is_an_error_in_read_mode() {
    let directory = tempfile::tempdir().unwrap();
    let (path, read, len) = big(&directory);
    File::options().write(true).open(&path).unwrap().set_len(len - 1000).unwrap();
    let error = read.slice(read.len() - 1, 1).unwrap_err();
    assert_eq!(error.code(), "short_read");
    let said = error.to_string();
    assert!(
        said.contains("big.npy")
            && said.contains(&format!("at byte {}", len - 1024))
            && said.contains("1024 bytes"),
        "{said}"
    );
    assert_eq!(read.slice(0, 1).unwrap_err().code(), "file_changed");
    assert_eq!(open_with(&[path], &Mode::Read.into()).unwrap_err().code(), "wrong_length");
}

#[test]
fn an_array_in_memory_is_one_too() {
    let tensor = Tensor::from_vec((0_i32..6).collect(), &[3, 2]).unwrap();
    let array = Array::try_from(tensor.clone()).unwrap();
    assert_eq!((array.shape(), array.mode(), array.paths().len()), (&[3, 2][..], Mode::Map, 0));
    assert_eq!(array.tensor().unwrap().as_ptr(), tensor.as_ptr());
    let scalar = Array::try_from(
        tensor.index(&[tensorferry_core::Index::At(1), tensorferry_core::Index::At(0)]).unwrap(),
    )
    .unwrap();
    assert_eq!(scalar.read().unwrap().view::<i32>().unwrap().get(&[]), Some(2));
}

#[test]
fn an_opened_thing_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.npy");
    write(&path, DType::Int8, ByteOrder::Native, &[2], false, 0);
    let Opened::Array(array) = open_with(
        &[&path],
        &OpenOptions { format: Some(Format::Npy), mode: Mode::Auto, ..OpenOptions::default() },
    )
    .unwrap() else {
        panic!("arrays by name")
    };
    assert_eq!((array.mode(), array.nbytes()), (Mode::Map, 2));
    assert_eq!(array.paths().collect::<Vec<_>>(), [path.as_path()]);
}

#[test]
fn an_array_that_is_read_names_the_mode_that_shares_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.npy");
    crate::save_npy(&path, &Tensor::from_vec(vec![1_i8, 2], &[2]).unwrap().as_view()).unwrap();
    let array = open_with(&[&path], &Mode::Read.into()).unwrap().array().unwrap();
    let error = array.tensor().unwrap_err();
    assert_eq!(error.code(), "not_shareable");
    assert!(error.to_string().ends_with("Open it with Mode::Map."), "{error}");
    let mapped = open_with(&[&path], &Mode::Map.into()).unwrap().array().unwrap();
    assert!(mapped.tensor().is_ok());
}
