//! What a command asked object stores for, as text and JSON.

use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};
use tensorferry::RequestCounts;

/// `12 requests, 3.00 MiB; 1 repeated, 2 sent twice; 5.00 MiB from the cache, 1.00 MiB not in it`
pub(crate) fn words(counts: &RequestCounts) -> String {
    let mut words = format!(
        "{} requests, {}; {} repeated",
        HumanCount(counts.requests),
        BinaryBytes(counts.bytes),
        HumanCount(counts.retries)
    );
    if counts.hedges > 0 {
        words += &format!(", {} sent twice", HumanCount(counts.hedges));
    }
    if counts.cache_bytes + counts.cache_missed > 0 {
        let (hit, missed) = (BinaryBytes(counts.cache_bytes), BinaryBytes(counts.cache_missed));
        words += &format!("; {hit} from the cache, {missed} not in it");
    }
    words
}

pub(crate) fn json(counts: &RequestCounts) -> Value {
    json!({
        "requests": counts.requests,
        "bytes": counts.bytes,
        "retries": counts.retries,
        "hedges": counts.hedges,
        "cache_bytes": counts.cache_bytes,
        "cache_missed_bytes": counts.cache_missed,
    })
}
