//! Any bytes as a TFRecord file, and as its records: an error, or rows within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorferry::{DType, FeatureSpec, Format, Mode, OpenOptions, Shape, TensorSpec, open_with};
use tensorferry_fuzz::{check, file};

fuzz_target!(|bytes: &[u8]| {
    // Deflate compresses by at most 1032 to 1.
    let most = bytes.len() * 1032;
    check(bytes, Format::TfRecord, most);
    check(bytes, Format::TfRecordBytes, most);
    // Valid records, so that the fuzzer need not guess checksums: several of one or more lengths,
    // with an Example in each.
    let Some((&first, rest)) = bytes.split_first() else { return };
    let step = usize::from(first % 64) + 1;
    let records: Vec<&[u8]> = rest.chunks(step).collect();
    rows(&records);
    rows(&[rest]);
    rows(&[rest, rest]);
    let (left, right) = rest.split_at(rest.len() / 2);
    rows(&[left, right, left]);
});

fn rows(records: &[&[u8]]) {
    let framed: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
    // A feature without values has rows of no bytes; a feature of numbers has eight bytes for each
    // number.
    check(&framed, Format::TfRecord, framed.len() * 8);
    varying(&framed);
    let equal = records.windows(2).all(|pair| pair[0].len() == pair[1].len());
    let array = open_with(
        &[file(&framed)],
        &OpenOptions {
            format: Some(Format::TfRecordBytes),
            mode: Mode::Read,
            ..OpenOptions::default()
        },
    )
    .and_then(|opened| opened.array());
    assert_eq!(array.is_ok(), equal);
    if let Ok(array) = array {
        let read = array.read().expect("valid records");
        assert_eq!(read.as_view().as_bytes(), Some(records.concat().as_slice()));
    }
}

/// Rows of features of any length: an error, or all values within the file.
fn varying(framed: &[u8]) {
    let path = file(framed);
    for dtype in [DType::Int64, DType::Float32, DType::UInt8] {
        let spec = FeatureSpec::from(TensorSpec::new(dtype, Shape::new([None])));
        let options = OpenOptions {
            format: Some(Format::TfRecord),
            features: vec![(String::new(), Some(spec.clone())), ("a".to_owned(), Some(spec))],
            ..OpenOptions::default()
        };
        let Ok(arrays) = open_with(&[&path], &options).and_then(|opened| opened.arrays()) else {
            continue;
        };
        for (_, rows) in arrays.ragged() {
            let values = rows.values().read().expect("they were counted");
            assert!(values.layout().nbytes() <= framed.len() * 8);
        }
    }
}

fn frame(record: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| {
        crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let len = (record.len() as u64).to_le_bytes();
    [&len[..], &masked(&len), record, &masked(record)].concat()
}
