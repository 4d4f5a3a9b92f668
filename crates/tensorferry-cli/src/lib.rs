//! The `tensorferry` command as a library. Each subcommand is a file in `commands`.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod convert;
mod doctor;
mod interrupt;
mod outcome;
mod progress;
mod report;
mod summary;
mod usage;
mod warnings;
mod words;

pub use doctor::{Elsewhere, Host, ShardState};

use clap::{CommandFactory, Parser};
use serde_json::json;
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::time::Duration;
use tensorferry::dataset::CancelToken;

/// Work with arrays in files of any size: .npy, .npz, .safetensors, TFRecord and raw files.
#[derive(Parser)]
#[command(name = "tensorferry", bin_name = "tensorferry", version, after_help = outcome::STATUSES)]
enum Command {
    Inspect(commands::Inspect),
    Check(commands::Check),
    Convert(commands::Convert),
    Stream(commands::Stream),
    Merge(commands::Merge),
    Doctor(commands::Doctor),
    Completions(commands::Completions),
}

/// How long the end of the command waits for the removal of what an interrupted upload left.
const CLEANUP: Duration = Duration::from_secs(2);

/// Runs the command with these arguments, the first of which is its name. Prints errors on stderr,
/// and returns the exit status.
pub fn run<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> u8 {
    run_in(None, arguments)
}

/// [`run`] in a program that has facts of its own for `tensorferry doctor`.
pub fn run_in<T: Into<OsString> + Clone>(
    host: Option<&dyn Host>,
    arguments: impl IntoIterator<Item = T>,
) -> u8 {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => return outcome::not_parsed(&error),
    };
    tensorferry::buffers::spare_address_space();
    warnings::begin();
    let cancel = interrupt::cancel_token();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = command.run(host, &mut out, &cancel);
    // Output appears before the error.
    let flushed = out.flush();
    let status = outcome::status(done.and_then(|()| Ok(flushed?)));
    tensorferry::await_cleanup(CLEANUP);
    status
}

/// [`run_in`] as a function of a larger program: it handles no signals, and prints nothing but
/// progress and warnings. Returns the exit status and the output, which for `--json` has the error
/// too.
pub fn run_inside<T: Into<OsString> + Clone>(
    host: Option<&dyn Host>,
    arguments: impl IntoIterator<Item = T>,
    cancel: &CancelToken,
) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let done = match Command::try_parse_from(arguments) {
        Ok(command) => command.run(host, &mut out, cancel),
        Err(error) => {
            let failure = outcome::wrong(error.to_string());
            let written = writeln!(out, "{}", json!({"error": outcome::as_json(&failure)}));
            written.map_err(Into::into).and(Err(failure))
        }
    };
    (done.as_ref().err().map_or(0, outcome::status_of_failure), out)
}

impl Command {
    fn run(
        self,
        host: Option<&dyn Host>,
        out: &mut impl Write,
        cancel: &CancelToken,
    ) -> outcome::Outcome {
        match self {
            Self::Inspect(inspect) => inspect.run(out, cancel),
            Self::Check(check) => check.run(out, cancel),
            Self::Convert(convert) => convert.run(host, out, cancel),
            Self::Stream(stream) => stream.run(out, cancel),
            Self::Merge(merge) => merge.run(out),
            Self::Doctor(doctor) => doctor.run(host, out, cancel),
            Self::Completions(completions) => completions.run(Self::command(), out),
        }
    }
}
