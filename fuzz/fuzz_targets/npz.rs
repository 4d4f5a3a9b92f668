//! Any bytes as a `.npz` file: an error, or arrays no larger than its bytes can encode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorferry::Format;
use tensorferry_fuzz::check;

fuzz_target!(|bytes: &[u8]| {
    check(bytes, Format::Npz, bytes.len().saturating_mul(1032));
    // A valid archive around the bytes, so that the fuzzer need not find one first.
    let Some((&method, member)) = bytes.split_first() else { return };
    check(&archive(method, member), Format::Npz, member.len().saturating_mul(1032));
});

/// An archive of one member `x.npy`: the bytes stored, or declared as deflated.
fn archive(method: u8, member: &[u8]) -> Vec<u8> {
    let len = u32::try_from(member.len()).expect("fuzzers make short inputs").to_le_bytes();
    // The first bytes give the uncompressed size of a deflated member.
    let (method, size) = match (method % 2, member.first_chunk::<4>()) {
        (1, Some(guess)) => (8_u16, [guess[0], guess[1], guess[2] % 16, 0]),
        _ => (0, len),
    };
    let fields = |out: &mut Vec<u8>| {
        out.extend(20_u16.to_le_bytes());
        out.extend([0, 0]);
        out.extend(method.to_le_bytes());
        out.extend([0; 4]);
        out.extend(crc32fast::hash(member).to_le_bytes());
        out.extend(len);
        out.extend(size);
        out.extend(5_u16.to_le_bytes());
        out.extend([0, 0]);
    };
    let mut out = b"PK\x03\x04".to_vec();
    fields(&mut out);
    out.extend(b"x.npy");
    out.extend(member);
    let directory = out.len();
    out.extend(b"PK\x01\x02\x14\x00");
    fields(&mut out);
    out.extend([0; 14]);
    out.extend(b"x.npy");
    let len = out.len() - directory;
    out.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    out.extend(u32::try_from(len).expect("short").to_le_bytes());
    out.extend(u32::try_from(directory).expect("short").to_le_bytes());
    out.extend([0, 0]);
    out
}
