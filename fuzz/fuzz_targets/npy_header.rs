//! Any bytes as a `.npy` file: an error, or a consistent header that survives writing and reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorferry_core::npy_header::AnyHeader;
use tensorferry_core::{Layout, npy_header};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let Some((&version, dict)) = bytes.split_first() else { return };
    check(&framed(version % 3 + 1, dict));
    check(&framed(version % 3 + 1, &expand(dict)));
});

/// The bytes as the dict of a header, so that the fuzzer need not find the framing first.
fn framed(version: u8, dict: &[u8]) -> Vec<u8> {
    let mut framed = b"\x93NUMPY".to_vec();
    framed.extend_from_slice(&[version, 0]);
    let len = u32::try_from(dict.len()).expect("fuzzers make short inputs").to_le_bytes();
    framed.extend_from_slice(if version == 1 { &len[..2] } else { &len });
    framed.extend_from_slice(dict);
    framed
}

/// Maps low bytes to words of a header, so that whole dicts appear within seconds.
fn expand(bytes: &[u8]) -> Vec<u8> {
    const WORDS: [&str; 28] = [
        "{'descr':",
        "'shape':",
        "'fortran_order':",
        "(",
        ")",
        "}",
        ",",
        "True",
        "False",
        "'<i4'",
        "'>f8'",
        "'|b1'",
        "[('a', '<i4')]",
        "[('a', [",
        "('b', '<U3', (2,))",
        "(('t', 'c'), '>f8')",
        "]",
        "'|O'",
        "0",
        "1",
        "3",
        "18446744073709551615",
        "4611686018427387904",
        "L",
        "-",
        " ",
        "{'fortran_order': False, 'descr': '<c16', 'shape': (",
        ")}\n",
    ];
    bytes
        .iter()
        .flat_map(|byte| {
            WORDS
                .get(usize::from(*byte))
                .map_or(core::slice::from_ref(byte), |word| word.as_bytes())
        })
        .copied()
        .collect()
}

/// Fields of structured arrays lie in their records.
fn check_records(bytes: &[u8]) {
    let Ok(AnyHeader::Records(header)) = npy_header::parse_any(bytes) else { return };
    assert!(header.data_offset <= bytes.len());
    let size = header.record.size;
    assert_eq!(header.layout.nbytes(), header.layout.len() * size);
    for field in &header.record.fields {
        assert_eq!(field.shape.len(), field.strides.len());
        let Ok((dtype, _)) = field.content else { continue };
        let last = field
            .shape
            .iter()
            .zip(&field.strides)
            .map(|(dim, stride)| dim.checked_sub(1).map(|last| last * stride));
        let Some(last) = last.sum::<Option<usize>>() else { continue };
        assert!(field.offset + last + dtype.size() <= size);
    }
}

fn check(bytes: &[u8]) {
    check_records(bytes);
    let Ok(header) = npy_header::parse(bytes) else { return };
    assert!(header.data_offset <= bytes.len());
    assert_eq!(npy_header::length(bytes).ok(), Some(header.data_offset));
    let (shape, itemsize) = (header.layout.shape(), header.dtype.size());
    let layout = if header.fortran {
        Layout::fortran(shape, itemsize)
    } else {
        Layout::contiguous(shape, itemsize)
    };
    assert_eq!(layout.as_ref().ok(), Some(&header.layout));
    let written = npy_header::write(header.dtype, header.order, shape, header.fortran)
        .expect("what was read can be written");
    let again = npy_header::parse(&written).expect("what was written can be read");
    assert_eq!(
        (again.dtype, again.order, again.fortran),
        (header.dtype, header.order, header.fortran)
    );
    assert_eq!((&again.layout, again.data_offset % 64), (&header.layout, 0));
}
