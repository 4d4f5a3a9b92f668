use crate::error::Error;
use crate::format::npy::*;
use crate::open::open_npy;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tensorferry_core::Error as CoreError;
use tensorferry_core::Tensor;
use tensorferry_core::{Buffer, DType, Index, Kind, Layout};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/data/npy")
}

/// The elements in row-major order as complex numbers. Read byte by byte, independently of the code
/// under test.
fn values(tensor: &Tensor) -> Vec<(f64, f64)> {
    let (shape, strides, size) = (tensor.shape(), tensor.layout().strides(), tensor.dtype().size());
    (0..tensor.layout().len())
        .map(|mut at| {
            let mut start = tensor.offset().cast_signed();
            for (&dim, &stride) in shape.iter().zip(strides).rev() {
                start += (at % dim).cast_signed() * stride;
                at /= dim;
            }
            let start = start.unsigned_abs();
            number(
                tensor.dtype(),
                tensor.byte_order(),
                &tensor.buffer().as_slice()[start..start + size],
            )
        })
        .collect()
}

fn number(dtype: DType, order: ByteOrder, bytes: &[u8]) -> (f64, f64) {
    if dtype.kind() == Kind::Complex {
        let half = if dtype == DType::Complex64 { DType::Float32 } else { DType::Float64 };
        let (re, im) = bytes.split_at(half.size());
        return (number(half, order, re).0, number(half, order, im).0);
    }
    let mut little = bytes.to_vec();
    if (order == ByteOrder::Swapped) == cfg!(target_endian = "little") {
        little.reverse();
    }
    let bits = little.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let unused = 64 - 8 * u32::try_from(bytes.len()).unwrap();
    let value = match dtype {
        DType::Float64 => f64::from_bits(bits),
        DType::Float32 => f64::from(f32::from_bits(u32::try_from(bits).unwrap())),
        DType::Float16 => half::f16::from_bits(u16::try_from(bits).unwrap()).to_f64(),
        _ if dtype.kind() == Kind::Signed => ((bits << unused).cast_signed() >> unused) as f64,
        _ => bits as f64,
    };
    (value, 0.0)
}

/// Element `i` of every golden array, as tests/support/data/make_npy.py says.
fn expected(dtype: DType, i: usize) -> (f64, f64) {
    let n = i as f64;
    match dtype.kind() {
        Kind::Bool => (f64::from(u8::from(i.is_multiple_of(3))), 0.0),
        Kind::Unsigned => (n, 0.0),
        Kind::Signed => (n - 5.0, 0.0),
        Kind::Float => ((n - 5.0) / 2.0, 0.0),
        Kind::Complex => ((n - 5.0) / 2.0, n),
        other => panic!("no golden array is {other:?}"),
    }
}

#[test]
fn every_file_by_numpy_is_read() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 34);
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let tensor = open_npy(&path).unwrap();
        assert_eq!(
            Some(tensor.dtype()),
            DType::from_name(name.split('_').next().unwrap()),
            "{name}"
        );
        let shape: &[usize] = match name.split('_').nth(1).unwrap() {
            "scalar" => &[],
            "0" => &[0],
            "2x3" => &[2, 3],
            "3x4" => &[3, 4],
            "2x3x4" => &[2, 3, 4],
            "3x0x2" => &[3, 0, 2],
            "rank" => &[[1; 31].as_slice(), &[2]].concat(),
            other => panic!("{other}"),
        };
        assert_eq!(tensor.shape(), shape, "{name}");
        assert_eq!(
            tensor.byte_order() == ByteOrder::Swapped,
            name.ends_with("_big") == cfg!(target_endian = "little"),
            "{name}"
        );
        assert_eq!(!tensor.layout().is_c_contiguous(), name.contains("fortran"), "{name}");
        assert_eq!(tensor.as_ptr().addr() % 64, 0, "{name}: NumPy aligns the data");
        let expected: Vec<_> =
            (0..tensor.layout().len()).map(|i| expected(tensor.dtype(), i)).collect();
        assert_eq!(values(&tensor), expected, "{name}");
    }
}

#[test]
fn what_is_saved_is_byte_for_byte_what_numpy_saves() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("saved.npy");
    for entry in fs::read_dir(golden()).unwrap() {
        let golden = entry.unwrap().path();
        let name = golden.file_stem().unwrap().to_str().unwrap();
        if ["_big", "_v2", "_v3", "_header"].iter().any(|other| name.ends_with(other)) {
            continue;
        }
        save_npy(&path, &open_npy(&golden).unwrap().as_view()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&golden).unwrap(), "{name}");
    }
}

/// An array of that layout whose element `i` in memory is `i`, as two-byte integers.
fn counting(order: ByteOrder, shape: &[usize], strides: &[isize], start: usize) -> Tensor {
    let span = Layout::strided(shape, strides, 2).unwrap().span();
    let len = start + span.end.unsigned_abs();
    let swap = (order == ByteOrder::Swapped) == cfg!(target_endian = "little");
    let bytes = (0..len.div_ceil(2)).flat_map(|i| {
        let i = u16::try_from(i % 65_536).unwrap();
        if swap { i.to_be_bytes() } else { i.to_le_bytes() }
    });
    let buffer = Buffer::from_vec(bytes.collect::<Vec<u8>>());
    Tensor::new(DType::UInt16, order, Layout::strided(shape, strides, 2).unwrap(), buffer, start)
        .unwrap()
}

#[test]
fn any_layout_and_byte_order_is_saved_in_order() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("saved.npy");
    for order in [ByteOrder::Native, ByteOrder::Swapped] {
        for tensor in [
            counting(order, &[], &[], 0),
            counting(order, &[0, 3], &[6, 2], 0),
            counting(order, &[5], &[-2], 8),
            counting(order, &[3, 4], &[2, 6], 0),
            counting(order, &[3, 4], &[7, 20], 1),
            counting(order, &[3, 4], &[0, 2], 0),
            counting(order, &[2, 3, 4], &[2, 16, 4], 0),
            counting(order, &[2, 700_001], &[2, 4], 0), // rows longer than a chunk
            // many rows per chunk, the last chunk short
            counting(order, &[700_001, 2], &[2, 1_400_002], 0),
            counting(order, &[2, 3, 300_000], &[600_000, 1_200_000, 2], 0),
        ] {
            save_npy(&path, &tensor.as_view()).unwrap();
            let saved = open_npy(&path).unwrap();
            assert_eq!((saved.shape(), saved.byte_order()), (tensor.shape(), ByteOrder::Native));
            assert!(values(&saved) == values(&tensor), "{:?}", tensor.layout());
        }
    }
}

fn file(directory: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join("file.npy");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_file_shorter_than_its_header_promises_is_never_mapped() {
    let directory = TempDir::new().unwrap();
    let whole = fs::read(golden().join("int32_2x3.npy")).unwrap();
    for len in 0..whole.len() {
        let path = file(&directory, &whole[..len]);
        let error = open_npy(&path).unwrap_err();
        assert!(error.to_string().contains("file.npy"), "{error}");
        assert_eq!(error.code(), if len == 0 { "malformed" } else { "wrong_length" }, "{len}");
    }
    let vast = npy_header::write(DType::UInt8, ByteOrder::Native, &[1 << 60], false).unwrap();
    assert_eq!(open_npy(file(&directory, &vast)).unwrap_err().code(), "wrong_length");
}

#[test]
fn bytes_after_the_array_are_left_alone() {
    let directory = TempDir::new().unwrap();
    let mut bytes = fs::read(golden().join("int32_2x3.npy")).unwrap();
    bytes.extend_from_slice(&bytes.clone());
    let tensor = open_npy(file(&directory, &bytes)).unwrap();
    assert_eq!(tensor.view::<i32>().unwrap().as_slice(), Some(&[-5, -4, -3, -2, -1, 0][..]));
}

#[test]
fn elements_may_start_at_any_byte() {
    let directory = TempDir::new().unwrap();
    let dict = b"{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}";
    let mut bytes = b"\x93NUMPY\x01\x00\x37\x00".to_vec();
    bytes.extend_from_slice(dict);
    bytes.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    let tensor = open_npy(file(&directory, &bytes)).unwrap();
    assert_eq!(tensor.offset() % 4, 1);
    assert_eq!(values(&tensor), [(1.0, 0.0), (2.0, 0.0)]);
}

#[test]
fn what_is_no_file_is_an_error_that_names_it() {
    let directory = TempDir::new().unwrap();
    let missing = open_npy(directory.path().join("missing.npy")).unwrap_err();
    assert!(
        matches!(&missing, Error::Io { action: "open", .. })
            && missing.to_string().contains("missing.npy"),
        "{missing}"
    );
    assert!(matches!(open_npy(directory.path()), Err(Error::Io { action: "open", .. })));
    #[cfg(unix)]
    assert!(matches!(open_npy("/dev/null"), Err(Error::Io { action: "open", .. })));
}

#[test]
fn dtypes_that_are_not_ours_name_the_file() {
    let directory = TempDir::new().unwrap();
    let dict = b"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}";
    let mut bytes = b"\x93NUMPY\x01\x00\x36\x00".to_vec();
    bytes.extend_from_slice(dict);
    let error = open_npy(file(&directory, &bytes)).unwrap_err();
    assert_eq!(error.code(), "unsupported_dtype");
    assert!(error.to_string().contains("file.npy") && error.to_string().contains("|O"), "{error}");
}

#[test]
fn a_failed_save_keeps_the_old_file_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, b"old");
    let to = Destination { path: &path, options: &WriteOptions::default(), bytes: 0 };
    let failed = atomic_write(&to, |file| {
        file.write_all(b"half of the new").unwrap();
        Err(Error::Core(CoreError::Allocation { bytes: 1 }))
    });
    assert!(failed.is_err());
    let tensor = Tensor::from_vec(vec![half::bf16::ONE], &[1]).unwrap();
    assert_eq!(save_npy(&path, &tensor.as_view()).unwrap_err().code(), "unsupported_dtype");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn saving_over_an_open_file_leaves_its_tensor_as_it_was() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("array.npy");
    save_npy(&path, &Tensor::from_vec(vec![1_i32, 2, 3], &[3]).unwrap().as_view()).unwrap();
    let old = open_npy(&path).unwrap();
    save_npy(&path, &old.index(&[Index::At(2)]).unwrap().as_view()).unwrap();
    assert_eq!(old.view::<i32>().unwrap().as_slice(), Some(&[1, 2, 3][..]));
    assert_eq!(open_npy(&path).unwrap().view::<i32>().unwrap().as_slice(), Some(&[3][..]));
}

#[cfg(unix)]
#[test]
fn saving_follows_links_and_refuses_what_is_no_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = TempDir::new().unwrap();
    let (path, link) = (directory.path().join("array.npy"), directory.path().join("link.npy"));
    let tensor = Tensor::from_vec(vec![1_u8], &[1]).unwrap();
    fs::write(&path, b"old").unwrap();
    symlink(&path, &link).unwrap();
    save_npy(&link, &tensor.as_view()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(open_npy(&path).unwrap().shape(), &[1]);
    let ordinary = directory.path().join("ordinary");
    fs::write(&ordinary, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&ordinary), "as any new file");
    for target in [directory.path(), Path::new("/dev/null"), Path::new("/nowhere/at/all.npy")] {
        assert!(
            matches!(save_npy(target, &tensor.as_view()), Err(Error::Io { .. })),
            "{}",
            target.display()
        );
    }
}
