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

pub use doctor::Host;

use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::time::Duration;

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
    let done = match command {
        Command::Inspect(inspect) => inspect.run(&mut out, &cancel),
        Command::Check(check) => check.run(&mut out, &cancel),
        Command::Convert(convert) => convert.run(&mut out, &cancel),
        Command::Stream(stream) => stream.run(&mut out, &cancel),
        Command::Merge(merge) => merge.run(&mut out),
        Command::Doctor(doctor) => doctor.run(host, &mut out, &cancel),
        Command::Completions(completions) => completions.run(Command::command(), &mut out),
    };
    // Output appears before the error.
    let flushed = out.flush();
    let status = outcome::status(done.and_then(|()| Ok(flushed?)));
    tensorferry::await_cleanup(CLEANUP);
    status
}
