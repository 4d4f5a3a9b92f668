//! Pseudo-random numbers that stay the same in every version: what a seed gives is part of what is promised.

/// A bijection of 64-bit numbers whose every output bit depends on every input bit (the finaliser of SplitMix64, Steele et al.,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A seed for a stage to which the user gave none.
#[must_use]
pub(crate) fn draw_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's per-process random keys, drawn from the operating system; each RandomState has keys of its own.
    RandomState::new().hash_one(0_u64)
}

/// A hash of bytes that is the same in every version and on every machine. Not for bytes that an adversary chooses.
#[must_use]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = mix(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mix(state ^ u64::from_le_bytes(word)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    state
}
