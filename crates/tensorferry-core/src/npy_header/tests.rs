//! Headers of every version and writer, and hostile ones.

use super::*;
use alloc::vec;

/// A file of a version with a dict.
fn file(version: u8, dict: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[version, 0]);
    let len = u32::try_from(dict.len()).unwrap().to_le_bytes();
    bytes.extend_from_slice(if version == 1 { &len[..2] } else { &len });
    bytes.extend_from_slice(dict);
    bytes
}

fn read(dict: &str) -> Result<Header> {
    parse(&file(1, dict.as_bytes()))
}

#[test]
fn literals_of_numpy_and_other_writers_are_read() {
    for dict in [
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }          \n",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'shape':(2,3,),'fortran_order':False,'descr':'<i4'}",
        "  {\t\"shape\" : ( 2 , 3 ) ,\n \"descr\" : \"<i4\" , 'fortran_order' : False , } ",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2L, 3L), }\n",
        "{u'descr': u'<i4', u'fortran_order': False, u'shape': (2, 3), }\n",
    ] {
        let header = read(dict).unwrap();
        assert_eq!(
            (header.dtype, header.order, header.fortran),
            (DType::Int32, ByteOrder::Native, false),
            "{dict}"
        );
        assert_eq!(header.layout, Layout::contiguous(&[2, 3], 4).unwrap());
        assert_eq!(
            (header.data_offset, header.file_len()),
            (10 + dict.len(), (10 + dict.len() + 24) as u64)
        );
    }
}

#[test]
fn every_version_shape_and_order_is_read() {
    for version in 1..=3 {
        let dict = "{'descr': '>f8', 'fortran_order': True, 'shape': (5, 0, 7)}";
        let header = parse(&file(version, dict.as_bytes())).unwrap();
        assert_eq!(
            (header.dtype, header.order, header.fortran),
            (DType::Float64, ByteOrder::Swapped, true)
        );
        assert_eq!(header.layout, Layout::fortran(&[5, 0, 7], 8).unwrap());
    }
    assert_eq!(
        read("{'descr': '|b1', 'fortran_order': False, 'shape': ()}").unwrap().layout.ndim(),
        0
    );
    assert_eq!(
        read("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}").unwrap().layout.shape(),
        &[3]
    );
}

#[test]
fn written_headers_are_aligned_and_read_back() {
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::BFloat16) {
        for (shape, fortran) in [
            (&[][..], false),
            (&[7], false),
            (&[3, 4], true),
            (&[1; 64], false),
            (&[0, 1 << 40], true),
        ] {
            for order in [ByteOrder::Native, ByteOrder::Swapped] {
                let bytes = write(dtype, order, shape, fortran).unwrap();
                assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')));
                let header = parse(&bytes).unwrap();
                let order = if dtype.size() == 1 { ByteOrder::Native } else { order };
                assert_eq!((header.dtype, header.order, header.fortran), (dtype, order, fortran));
                assert_eq!((header.layout.shape(), header.data_offset), (shape, bytes.len()));
            }
        }
    }
    let error = write(DType::BFloat16, ByteOrder::Native, &[1], false).unwrap_err();
    assert!(error.to_string().contains("float32"), "{error}");
}

#[test]
fn other_dtypes_are_named() {
    for descr in [
        "'|O'",
        "'<M8[ns]'",
        "'<U5'",
        "'|S3'",
        "'<V2'",
        "'<f16'",
        "''",
        "'\u{e9}'",
        "[('a', '<i4'), ('b', '<f8', (2,))]",
        "('<i4', (2,))",
    ] {
        let dict = alloc::format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,)}}");
        match read(&dict) {
            Err(Error::UnsupportedDType { place: "npy header", descr: named }) => {
                assert!(named.contains(descr.trim_matches('\'')), "{named} for {descr}");
            }
            other => panic!("{descr}: {other:?}"),
        }
    }
    let long = alloc::format!("{{'descr': '{}'}}", "x".repeat(1000));
    assert!(matches!(read(&long), Err(Error::UnsupportedDType { descr, .. }) if descr.len() < 100));
}

/// `"@"` marks the offset that the error has to name.
#[test]
fn hostile_dicts_are_refused_at_the_offset_of_the_mistake() {
    let nested = alloc::format!("{{'descr': {}@", "[".repeat(32)) + &"[".repeat(1000);
    for marked in [
        "@",
        "@[]",
        "{@",
        "{@descr: 1}",
        "{'descr@",
        "{'de@\\x73cr': '<i4'}",
        "{'descr' @'<i4'}",
        "{'descr': @",
        "{'descr': @4}",
        "{'descr': [('a', '<i4'@",
        nested.as_str(),
        "@{}",
        "@{'descr': '<i4', 'shape': ()}",
        "@{'descr': '<i4', 'fortran_order': False}",
        "@{'fortran_order': False, 'shape': ()}",
        "{'descr': '<i4', @'descr': '<i4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (), @'x': 1}",
        "{'descr': '<i4', 'fortran_order': @0, 'shape': ()}",
        "{'descr': '<i4', 'fortran_order': @Falsey, 'shape': ()}",
        "{'descr': '<i4' @'fortran_order': False, 'shape': ()}",
        "{,@".trim_end_matches('@'),
        "{'descr': '<i4', 'fortran_order': False, 'shape': @3}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': @[3]}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (3@)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (3 @4)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (@,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (@-1,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (@03,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1@.5,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (@True,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (@99999999999999999999999,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape':@ (4611686018427387904, 2)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape':@ (0, 4611686018427387904, 4)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': ()} @{",
        "{'descr': '<i4', 'fortran_order': False, 'shape': ()}@\0",
        "{'descr': '<i4', 'fortran_order': False, 'shape': @__import__('os')}",
    ] {
        let dict = marked.replace('@', "");
        let at = 10 + marked.find('@').unwrap_or(1);
        match read(&dict) {
            Err(Error::Malformed { format: "npy", offset, .. }) => {
                assert_eq!(offset, at as u64, "{marked}")
            }
            other => panic!("{marked}: {other:?}"),
        }
    }
    let many = alloc::format!(
        "{{'descr': '<i4', 'fortran_order': False, 'shape': ({})}}",
        "1, ".repeat(65)
    );
    assert!(matches!(read(&many), Err(Error::Malformed { .. })));
}

#[test]
fn python_2_longs_end_with_version_2() {
    let dict = b"{'descr': '<i4', 'fortran_order': False, 'shape': (3L,)}";
    assert!(parse(&file(2, dict)).is_ok());
    assert!(matches!(parse(&file(3, dict)), Err(Error::Malformed { .. })));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = write(DType::Int32, ByteOrder::Native, &[3], false).unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(parse(&bytes[..len]), Err(Error::WrongLength { .. })), "{len}");
    }
    assert!(parse(&bytes).is_ok());
}

#[test]
fn foreign_files_unknown_versions_and_wrong_lengths_are_refused() {
    let malformed: Vec<Vec<u8>> = vec![
        b"PK\x03\x04".to_vec(),
        b"\x93NUMPX\x01\x00\x10\x00".to_vec(),
        b"\x93NUMPY\x00\x00\x10\x00\x00\x00".to_vec(),
        b"\x93NUMPY\x01\x01\x10\x00\x00\x00".to_vec(),
        b"\x93NUMPY\x04\x00\x10\x00\x00\x00".to_vec(),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
        b"\x93NUMPY\x03\x00\x01\x00\x01\x00".to_vec(),
        file(3, b"{'descr': '\xff<i4', 'fortran_order': False, 'shape': ()}"),
    ];
    for bytes in malformed {
        assert!(matches!(parse(&bytes), Err(Error::Malformed { .. })), "{bytes:?}");
    }
}

fn records(descr: &str) -> Result<RecordHeader, Error> {
    let dict = alloc::format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2, 3)}}");
    match parse_any(&file(1, dict.as_bytes()))? {
        AnyHeader::Records(header) => Ok(header),
        AnyHeader::Array(_) => panic!("{descr} is not structured"),
    }
}

#[test]
fn fields_follow_one_another() {
    let header = records(
        "[('a', '|u1'), ('', '|V3'), (('a title', 'b'), '>f4', (3, 2)), ('s', '<U2'), \
        ('p', [('x', '<i2'), ('t', '<M8[ns]'), ('y', '<f8', 2)], (5,)), ('e', '<c8', (0,)),]",
    )
    .unwrap();
    let found: Vec<_> = header
        .record
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.offset, field.shape.to_vec(), &field.strides[..]))
        .collect();
    let expected: [(&str, usize, Vec<usize>, &[usize]); 7] = [
        ("a", 0, vec![], &[]),
        ("b", 4, vec![3, 2], &[8, 4]),
        ("s", 28, vec![], &[]),
        ("p.x", 36, vec![5], &[26]),
        ("p.t", 38, vec![5], &[26]),
        ("p.y", 46, vec![5, 2], &[26, 8]),
        ("e", 166, vec![0], &[8]),
    ];
    assert_eq!(found, expected);
    assert_eq!((header.record.size, header.layout.strides()), (166, &[498, 166][..]));
    let big = if cfg!(target_endian = "little") { ByteOrder::Swapped } else { ByteOrder::Native };
    assert_eq!(header.record.fields[1].content, Ok((DType::Float32, big)));
    assert_eq!(header.record.fields[2].content, Err("<U2".into()));
}

#[test]
fn hostile_records_are_refused() {
    for descr in [
        "[('a', '<i4'), ('a', '<i4')]",
        "[('', '<i4')]",
        "[('a', '<i4', (4611686018427387904,))]",
        "[('a', '<i4', (-1,))]",
        "[('a', [('x', '<i4', (4294967296,))], (4294967296,))]",
        "[('a', '|V9223372036854775807'), ('b', '<i4')]",
        "[('a',)]",
        "[('a')]",
        "[('a', '<i4'",
        "['a', '<i4']",
        "[]x",
        "[('a', '<i4', (2,), 3)]",
        "[('a', '<i4', (3074457345618258603,)), ('b', '|u1')]",
    ] {
        assert!(matches!(records(descr), Err(Error::Malformed { .. })), "{descr}");
    }
    for descr in ["[('a', '|O')]", "[('a', '|V-1')]", "[('a', '|S+1')]", "[('a', '<q9')]"] {
        assert!(matches!(records(descr), Err(Error::UnsupportedDType { .. })), "{descr}");
    }
    let deep = alloc::format!("{}{}", "[('a', ".repeat(1000), "'<i4'");
    assert!(matches!(records(&deep), Err(Error::Malformed { .. })));
}
