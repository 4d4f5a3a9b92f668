//! All formats in files: written arrays are read back, and damage is an error.

use crate::array::array::Array;
use crate::array::arrays::Arrays;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::format::file_format::{Format, OpenOptions, Opened, Raw};
use crate::format::save::{save, save_arrays};
use crate::format::tfrecord::index;
use crate::open::{open, open_npy, open_raw, open_with};
use crate::storage::mode::Mode;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tensorferry_core::{DType, Tensor};

/// Fixed values of a dtype.
fn values(dtype: DType, shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    let numbers = (0..len).map(|i| i64::from(i % 3 == 0)).collect();
    crate::convert::convert(
        &Tensor::from_vec(numbers, shape).unwrap().as_view(),
        dtype,
        tensorferry_core::Casting::Checked,
    )
    .unwrap()
}

fn array(tensor: &Tensor) -> Array {
    Array::try_from(tensor.clone()).unwrap()
}

#[track_caller]
fn assert_same(read: &Tensor, written: &Tensor) {
    assert_eq!((read.dtype(), read.shape()), (written.dtype(), written.shape()));
    let bytes = |tensor: &Tensor| {
        let mut out = vec![0; tensor.layout().nbytes()];
        crate::gather::rows_out::copy_view(&tensor.as_view(), &mut out).unwrap();
        out
    };
    assert_eq!(bytes(read), bytes(written));
}

fn arrays(path: &Path, mode: Mode) -> Result<Arrays> {
    open_with(&[path], &mode.into())?.arrays()
}

const SHAPES: [&[usize]; 6] = [&[7, 2, 3], &[7], &[0, 3], &[3, 0], &[], &[1]];

#[test]
fn arrays_by_name_are_read_back_in_every_dtype_shape_and_mode() {
    let directory = tempfile::tempdir().unwrap();
    for (name, compress) in [("a.npz", false), ("b.npz", true), ("a.safetensors", false)] {
        let path = directory.path().join(name);
        let unsupported = if name.ends_with("npz") { DType::BFloat16 } else { DType::Complex128 };
        let dtypes = DType::ALL.into_iter().filter(|dtype| *dtype != unsupported);
        let written: Vec<(String, Tensor)> = dtypes
            .flat_map(|dtype| {
                SHAPES.iter().map(move |shape| (format!("{dtype}/{shape:?}"), values(dtype, shape)))
            })
            .collect();
        let named: Vec<(&str, Array)> =
            written.iter().map(|(name, tensor)| (name.as_str(), array(tensor))).collect();
        save_arrays(&path, &named, None, compress).unwrap();
        for mode in [Mode::Map, Mode::Read, Mode::Direct] {
            let read = arrays(&path, mode).unwrap();
            assert_eq!(read.len(), written.len());
            read.verify().unwrap();
            for (name, tensor) in &written {
                assert_same(&read.get(name).unwrap().read().unwrap(), tensor);
            }
            let all = read.read().unwrap();
            assert_eq!(
                all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                read.names().collect::<Vec<_>>()
            );
            assert!(all.iter().all(|(name, tensor)| written.iter().any(|(other, expected)| {
                other == name
                    && tensor.shape() == expected.shape()
                    && tensor.dtype() == expected.dtype()
            })));
        }
        let refused = save_arrays(&path, &[("x", array(&values(unsupported, &[1])))], None, false);
        assert_eq!(refused.unwrap_err().code(), "unsupported_dtype");
    }
}

#[test]
fn what_is_stored_in_an_archive_of_ours_is_aligned_for_frameworks() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.npz", "a.safetensors"] {
        let path = directory.path().join(name);
        let (a, b) = (values(DType::Float32, &[16]), values(DType::Int8, &[5]));
        save_arrays(&path, &[("some name", array(&a)), ("b", array(&b))], None, false).unwrap();
        let read = arrays(&path, Mode::Map).unwrap();
        for name in ["some name", "b"] {
            let tensor = read.get(name).unwrap().tensor().unwrap();
            assert!(tensor.as_ptr().addr().is_multiple_of(tensorferry_core::ALIGNMENT), "{name}");
        }
    }
}

#[test]
fn one_array_is_read_back_from_npy_raw_and_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for dtype in DType::ALL {
        for shape in SHAPES {
            let tensor = values(dtype, shape);
            if dtype != DType::BFloat16 {
                save(path("a.npy"), &array(&tensor), None).unwrap();
                assert_same(&open_npy(path("a.npy")).unwrap(), &tensor);
            }
            save(path("a.bin"), &array(&tensor), None).unwrap();
            for mode in [Mode::Map, Mode::Read] {
                let mut raw =
                    Raw { shape: tensorferry_core::Shape::fixed(shape), ..Raw::new(dtype) };
                assert_same(
                    &open_raw(&[path("a.bin")], &raw, mode).unwrap().read().unwrap(),
                    &tensor,
                );
                if shape.len() > 1 && shape[1] > 0 {
                    raw.shape = tensorferry_core::Shape::new(
                        [None].into_iter().chain(shape[1..].iter().copied().map(Some)),
                    );
                    assert_same(
                        &open_raw(&[path("a.bin")], &raw, mode).unwrap().read().unwrap(),
                        &tensor,
                    );
                }
            }
            let records = save(path("a.tfrecord"), &array(&tensor), None);
            if shape.is_empty() {
                assert_eq!(records.unwrap_err().code(), "argument");
                continue;
            }
            records.unwrap();
            let bytes = Tensor::new(
                DType::UInt8,
                tensorferry_core::ByteOrder::Native,
                tensorferry_core::Layout::contiguous(
                    &[shape[0], tensor.layout().nbytes() / shape[0].max(1)],
                    1,
                )
                .unwrap(),
                tensor.buffer().clone(),
                tensor.offset(),
            );
            for mode in [Mode::Map, Mode::Read] {
                let read = open_with(
                    &[path("a.tfrecord")],
                    &OpenOptions {
                        format: Some(Format::TfRecordBytes),
                        mode,
                        ..OpenOptions::default()
                    },
                )
                .unwrap()
                .array()
                .unwrap();
                let bytes = bytes.as_ref().unwrap();
                if shape[0] > 0 {
                    assert_same(&read.read().unwrap(), bytes);
                    assert_same(
                        &read
                            .rows(&[shape[0] - 1, 0])
                            .unwrap()
                            .index(&[tensorferry_core::Index::At(1)])
                            .unwrap(),
                        &bytes.index(&[tensorferry_core::Index::At(0)]).unwrap(),
                    );
                } else {
                    assert_eq!(read.len(), 0);
                }
            }
        }
    }
}

#[test]
fn what_is_opened_is_saved_without_being_in_memory_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // More than one chunk, of a file that is read: big-endian and column-major too.
    let tensor = Tensor::from_vec((0_u32..3 << 20).collect(), &[3 << 10, 1 << 10]).unwrap();
    save(path("a.npy"), &array(&tensor), None).unwrap();
    let columns = tensor.layout().shape().to_vec();
    let turned = Tensor::new(
        DType::UInt32,
        tensorferry_core::ByteOrder::Native,
        tensorferry_core::Layout::fortran(&columns, 4).unwrap(),
        tensor.buffer().clone(),
        0,
    )
    .unwrap();
    save(path("columns.npy"), &array(&turned), None).unwrap();
    for (name, expected) in [("a.npy", &tensor), ("columns.npy", &turned)] {
        let opened = open_with(&[path(name)], &Mode::Read.into()).unwrap().array().unwrap();
        save(path("b.npy"), &opened, None).unwrap();
        assert_same(&open_npy(path("b.npy")).unwrap(), expected);
        save_arrays(path("b.npz"), &[("x", opened.clone())], None, true).unwrap();
        assert_same(
            &arrays(&path("b.npz"), Mode::Auto).unwrap().get("x").unwrap().read().unwrap(),
            expected,
        );
        save_arrays(path("b.safetensors"), &[("x", opened)], None, false).unwrap();
        assert_same(
            &arrays(&path("b.safetensors"), Mode::Auto).unwrap().get("x").unwrap().read().unwrap(),
            expected,
        );
    }
}

#[test]
fn examples_are_read_back_as_the_lists_that_hold_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tfrecord");
    let named = |dtype, shape: &[usize]| array(&values(dtype, shape));
    let images = named(DType::UInt8, &[9, 4, 5]);
    let written = [
        ("label", named(DType::Int32, &[9])),
        ("image", images.clone()),
        ("point", named(DType::Float32, &[9, 3])),
        ("half", named(DType::BFloat16, &[9])),
        ("flag", named(DType::Bool, &[9])),
        ("empty", named(DType::Int64, &[9, 0])),
    ];
    save_arrays(&path, &written, None, false).unwrap();
    for mode in [Mode::Map, Mode::Read] {
        let read = arrays(&path, mode).unwrap();
        assert_eq!(
            read.names().collect::<Vec<_>>(),
            ["empty", "flag", "half", "image", "label", "point"]
        );
        let get = |name: &str| read.get(name).unwrap().read().unwrap();
        assert_same(&get("label"), &values(DType::Int64, &[9]));
        assert_same(&get("flag"), &values(DType::Int64, &[9]));
        assert_same(&get("half"), &values(DType::Float32, &[9]));
        assert_same(&get("point"), &values(DType::Float32, &[9, 3]));
        assert_same(&get("image"), &values(DType::UInt8, &[9, 4, 5]));
        assert_same(&get("empty"), &values(DType::Int64, &[9, 0]));
        assert_same(
            &read
                .get("point")
                .unwrap()
                .rows(&[8, 0, 8])
                .unwrap()
                .index(&[tensorferry_core::Index::At(1)])
                .unwrap(),
            &values(DType::Float32, &[9, 3]).index(&[tensorferry_core::Index::At(0)]).unwrap(),
        );
        read.verify().unwrap();
    }
    let refused =
        |arrays: &[(&str, Array)]| save_arrays(&path, arrays, None, false).unwrap_err().code();
    assert_eq!(refused(&[("x", named(DType::Float64, &[2]))]), "unsupported_dtype");
    assert_eq!(refused(&[("x", named(DType::Complex64, &[2]))]), "unsupported_dtype");
    assert_eq!(
        refused(&[("x", named(DType::Int8, &[2])), ("y", named(DType::Int8, &[3]))]),
        "argument"
    );
    assert_eq!(
        refused(&[("x", named(DType::Int8, &[2])), ("x", named(DType::Int8, &[2]))]),
        "argument"
    );
    assert_eq!(refused(&[("", named(DType::Int8, &[2]))]), "argument");
    let large = array(&Tensor::from_vec(vec![1, u64::MAX], &[2]).unwrap());
    assert!(
        save_arrays(&path, &[("x", large)], None, false)
            .unwrap_err()
            .to_string()
            .contains("[1] = 18446744073709551615")
    );
    assert!(arrays(&path, Mode::Auto).is_ok(), "the old file is whole");
}

/// A file with every single damage: truncated, or one bit changed.
fn damages(good: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let cut = (0..good.len()).map(|len| (format!("cut off at {len}"), good[..len].to_vec()));
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1 << (at * 5 % 8);
        (format!("a bit of byte {at}"), bytes)
    });
    cut.chain(flipped)
}

/// All arrays of a damaged file by name, opened in a format and mode.
fn everything(path: &Path, format: Format, mode: Mode) -> Result<Vec<(String, Tensor)>> {
    match open_with(&[path], &OpenOptions { format: Some(format), mode, ..OpenOptions::default() })?
    {
        Opened::Array(array) => Ok(vec![(String::new(), array.read()?)]),
        Opened::Arrays(arrays) => {
            arrays.verify()?;
            arrays.read()
        }
    }
}

fn written(directory: &TempDir, name: &str, compress: bool) -> (PathBuf, Vec<u8>) {
    let path = directory.path().join(name);
    let named =
        [("x", array(&values(DType::Int16, &[3, 2]))), ("y", array(&values(DType::Float32, &[3])))];
    save_arrays(&path, &named, None, compress).unwrap();
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// Whether two files have equal contents, apart from names.
fn same(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> bool {
    let one = |(_, x): &(String, Tensor), (_, y): &(String, Tensor)| {
        x.dtype() == y.dtype()
            && x.shape() == y.shape()
            && x.as_view().as_bytes() == y.as_view().as_bytes()
    };
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| one(x, y)))
}

#[test]
fn damaged_archives_and_records_are_errors_or_hold_what_they_held() {
    let directory = tempfile::tempdir().unwrap();
    for (name, format, compress) in [
        ("a.npz", Format::Npz, false),
        ("b.npz", Format::Npz, true),
        ("a.tfrecord", Format::TfRecord, false),
    ] {
        let (path, good) = written(&directory, name, compress);
        let expected = everything(&path, format, Mode::Read).unwrap();
        let mut refused = 0;
        for (damage, bytes) in damages(&good) {
            fs::write(&path, &bytes).unwrap();
            match everything(&path, format, Mode::Read) {
                Err(error) => {
                    assert!(error.to_string().contains(name), "{damage}: {error}");
                    refused += 1;
                }
                // Fields that no checksum covers, such as names and dates. For TFRecord, the
                // records before a truncation between two records.
                Ok(read) if format == Format::TfRecord => {
                    let rows = read[0].1.shape()[0];
                    assert!(damage.starts_with("cut") && rows < 3, "{damage}");
                }
                Ok(read) => assert!(same(&read, &expected) || read.len() < 2, "{name}: {damage}"),
            }
        }
        assert!(refused > good.len(), "{name}: {refused} of {}", good.len() * 2);
    }
}

#[test]
fn damaged_safetensors_are_an_error_or_arrays_of_bytes_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (path, good) = written(&directory, "a.safetensors", false);
    for (damage, bytes) in damages(&good) {
        fs::write(&path, &bytes).unwrap();
        for mode in [Mode::Map, Mode::Read] {
            match everything(&path, Format::SafeTensors, mode) {
                Err(error) => {
                    assert!(error.to_string().contains("a.safetensors"), "{damage}: {error}")
                }
                Ok(read) => assert!(!damage.starts_with("cut") && read.len() <= 2, "{damage}"),
            }
        }
    }
}

#[test]
fn shards_of_named_arrays_go_together_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (extension, compress) in
        [("npz", false), ("npz", true), ("safetensors", false), ("tfrecord", false)]
    {
        let rows = [2, 3, 1];
        for (at, rows) in rows.iter().enumerate() {
            let named = [
                ("x", array(&values(DType::Float32, &[*rows, 2]))),
                ("y", array(&values(DType::Int64, &[*rows]))),
            ];
            save_arrays(path(&format!("part-{at}.{extension}")), &named, None, compress).unwrap();
        }
        for mode in [Mode::Map, Mode::Read] {
            let all = arrays(&path(&format!("part-*.{extension}")), mode).unwrap();
            let (x, y) = (all.get("x").unwrap(), all.get("y").unwrap());
            assert_eq!((x.shape(), y.shape(), x.paths().len()), (&[6, 2][..], &[6][..], 3));
            let expected: Vec<i64> =
                rows.iter().flat_map(|rows| (0..*rows).map(|i| i64::from(i % 3 == 0))).collect();
            assert_eq!(
                y.read().unwrap().view::<i64>().unwrap().iter().collect::<Vec<_>>(),
                expected
            );
        }
        for at in 0..rows.len() {
            fs::remove_file(path(&format!("part-{at}.{extension}"))).unwrap();
        }
    }
    let one = |name: &str| array(&values(DType::Int8, &[name.len()]));
    let paths = [path("a.safetensors"), path("b.safetensors")];
    save_arrays(&paths[0], &[("x", one("x")), ("y", one("y"))], None, false).unwrap();
    save_arrays(&paths[1], &[("z", one("z"))], None, false).unwrap();
    assert_eq!(
        open_with(&paths, &Mode::Auto.into()).unwrap().arrays().unwrap().len(),
        3,
        "files that share no name are one whole"
    );
    save_arrays(&paths[1], &[("z", one("z")), ("x", one("x"))], None, false).unwrap();
    let said = open_with(&paths, &Mode::Auto.into()).unwrap_err().to_string();
    assert!(said.contains("b.safetensors") && said.contains("share some names"), "{said}");
    save_arrays(&paths[1], &[("x", one("x"))], None, false).unwrap();
    assert!(open_with(&paths, &Mode::Auto.into()).is_err(), "a part of the names");
}

#[test]
fn names_and_formats_that_do_not_go_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let one = array(&values(DType::Int8, &[2]));
    let said = |result: Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "argument");
        error.to_string()
    };
    assert!(said(save(path("a.npz"), &one, None)).contains("by name"));
    assert!(said(save(path("a"), &one, None)).contains("extension"));
    assert!(
        said(save_arrays(path("a.npy"), &[("x", one.clone())], None, false))
            .contains("without a name")
    );
    assert!(
        said(save_arrays(path("a.safetensors"), &[("x", one.clone())], None, true))
            .contains("not compressed")
    );
    assert!(
        said(save_arrays(path("a.safetensors"), &[("__metadata__", one.clone())], None, false))
            .contains("__metadata__")
    );
    assert!(
        said(save_arrays(path("a.npz"), &[("x", one.clone()), ("x", one.clone())], None, false))
            .contains("two arrays")
    );
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing was written");
    save_arrays(path("a.npz"), &[] as &[(&str, Array)], None, false).unwrap();
    assert!(arrays(&path("a.npz"), Mode::Auto).unwrap().is_empty());
    save(path("no extension"), &one, Some(Format::Npy)).unwrap();
    let read = open(path("no extension")).unwrap();
    assert!(read.clone().arrays().is_err());
    assert_eq!(read.array().unwrap().len(), 2);
    save_arrays(path("b"), &[("x", one)], Some(Format::TfRecord), false).unwrap();
    assert!(open(path("b")).unwrap().array().is_err());
    assert!(
        said(open_with(&[path("b"), path("no extension")], &Mode::Auto.into()).map(drop))
            .contains("tfrecord")
    );
}

#[test]
fn records_that_are_no_rows_are_refused_naming_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tfrecord");
    let mut bytes = Vec::new();
    [&b"abc"[..], b"def", b"gh", b""].iter().for_each(|record| index::frame(record, &mut bytes));
    fs::write(&path, &bytes).unwrap();
    let said = open(&path).unwrap_err().to_string();
    assert!(said.contains("record 2 has 2") && said.contains("has 3 bytes"), "{said}");
    let index =
        index::Index::build(&crate::storage::local::open(&path).unwrap(), &CancelToken::default())
            .unwrap();
    let records: Vec<(u64, u64)> = (0..index.records()).map(|at| index.record(at)).collect();
    assert_eq!(records, [(12, 3), (31, 3), (50, 2), (68, 0)]);
}

#[test]
fn lengths_of_long_and_short_records_are_collected_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tfrecord");
    for lens in [
        vec![0; 100_000],
        vec![5; 100_000],
        vec![1_000_000; 5],
        vec![3, 1_000_000, 0, 700_000, 1, 2, 300_000, 262_128, 262_127],
    ] {
        let mut bytes = Vec::new();
        lens.iter().for_each(|len| index::frame(&vec![7; *len], &mut bytes));
        fs::write(&path, &bytes).unwrap();
        let index = index::Index::build(
            &crate::storage::local::open(&path).unwrap(),
            &CancelToken::default(),
        )
        .unwrap();
        let found: Vec<usize> =
            (0..index.records()).map(|at| usize::try_from(index.record(at).1).unwrap()).collect();
        assert_eq!(found, lens);
    }
}
