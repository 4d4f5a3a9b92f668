//! `tensorferry merge`: one state of the states of all ranks.

use crate::outcome::{Failure, Outcome, io};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorferry::dataset::{self, Checkpoint, Epoch};

/// Merge the states of all ranks of a run into one, and print it as JSON
///
/// The files have the JSON of what state_dict() of the iterators returned, or lists of it. Any
/// number of ranks resumes from the result, with batches of any size. For example: tensorferry
/// merge rank-*.json > state.json
#[derive(Debug, clap::Args)]
pub(crate) struct Merge {
    /// Files with the states, one of each rank
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The version of a state.
const VERSION: u32 = 1;

impl Merge {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Outcome {
        let mut states = Vec::new();
        for file in &self.files {
            let text = std::fs::read(file).map_err(io("read", file))?;
            let found: Value = serde_json::from_slice(&text)
                .map_err(|error| not_a_state(file, &error.to_string()))?;
            match found {
                Value::Array(all) => {
                    for state in &all {
                        states.push(checkpoint(file, state)?);
                    }
                }
                one => states.push(checkpoint(file, &one)?),
            }
        }
        let merged = Checkpoint::merge(&states)?;
        let state = json!({
            "version": VERSION,
            "epoch": merged.epoch().0,
            "position": merged.position(),
            "data": STANDARD.encode(merged.to_bytes()),
        });
        Ok(writeln!(out, "{state}")?)
    }
}

fn not_a_state(file: &Path, why: &str) -> Failure {
    let what = format!("{}: this is not the JSON of a state: {why}", file.display());
    dataset::Error::State { what }.into()
}

fn checkpoint(file: &Path, state: &Value) -> Outcome<Checkpoint> {
    let number = |name: &str| {
        let missing = || not_a_state(file, &format!("{name} is not a whole number"));
        state.get(name).and_then(Value::as_u64).ok_or_else(missing)
    };
    if number("version")? != u64::from(VERSION) {
        return Err(not_a_state(file, "it is of another version"));
    }
    let data =
        state.get("data").and_then(Value::as_str).and_then(|data| STANDARD.decode(data).ok());
    let data = data.ok_or_else(|| not_a_state(file, "its data are damaged"))?;
    let saved = Checkpoint::from_bytes(&data)?;
    Ok(saved.moved(Epoch(number("epoch")?), number("position")?)?)
}
