//! How a command ends: what it says on stderr, and its exit status.

use crate::interrupt;
use crate::words::printable;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use tensorferry::{Error, Format, Misfits};

/// The exit statuses, as `--help` tells them.
pub(crate) const STATUSES: &str = "Exit status: 0 done; 1 the data are damaged or do not fit; 2 \
    the arguments are wrong; 3 the system \
                                   refused (no such file, no permission, a full disk, no memory); \
                                   129, 130, 143 a signal (a \
                                   lost terminal, Ctrl-C, SIGTERM); 141 nobody reads the output.";

/// The data are not as they should be.
const DATA: u8 = 1;
/// The arguments are wrong: clap's number.
const USAGE: u8 = 2;
/// The system refused something.
const SYSTEM: u8 = 3;
/// A write to a closed pipe, as shells tell of a process that SIGPIPE ended.
const NOBODY_READS: u8 = 128 + 13;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for does not go.
    Wrong(String),
    /// The library's error.
    Library(Error),
    /// The result cannot be written to stdout.
    Output(io::Error),
    /// What does not fit, of each array.
    Misfits(Vec<String>),
    /// Everything was said already; the worst of it has this exit status.
    Said(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// Of writing to stdout: errors of files are the library's.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The library's error of a failed operation on a file.
pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

pub(crate) fn wrong(what: impl Into<String>) -> Failure {
    Failure::Wrong(what.into())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => f.write_str(what),
            Self::Library(error) => f.write_str(&as_options(&error.to_string())),
            Self::Output(error) => write!(f, "stdout: {error}"),
            Self::Misfits(said) => f.write_str(&as_options(&said.join("; "))),
            Self::Said(_) => Ok(()),
        }
    }
}

/// What an error says of arguments, as the options of the command that they are.
pub(crate) fn as_options(words: &str) -> String {
    let mut words = words
        .trim_start_matches("open: ")
        .trim_start_matches("open_raw: ")
        .replace("Keep dtype=", "Keep --dtype ")
        .replace("Pass format=", "Pass --format");
    words = words.replace(
        &format!("{:?}", Format::ALL.map(Format::name)),
        &Format::ALL.map(Format::name).join(", "),
    );
    words = words.replace("or open it with open_raw", "or its dtype with --raw-dtype");
    words = words.replace("Use open_raw, with its dtype", "Pass --raw-dtype");
    for casting in ["saturate", "wrap", "checked"] {
        words = words.replace(&format!("casting=\"{casting}\""), &format!("--casting {casting}"));
    }
    for mode in ["map", "read"] {
        words = words.replace(&format!("mode=\"{mode}\""), &format!("--mode {mode}"));
    }
    words
}

/// The exit status of a library's error.
pub(crate) fn status_of(error: &Error) -> u8 {
    match error.code() {
        "io" | "allocation" => SYSTEM,
        "argument" | "cast_not_defined" => USAGE,
        "stopped" => interrupt::status().unwrap_or(DATA),
        _ => DATA,
    }
}

/// The values that do not fit, if an error says so of some.
pub(crate) fn misfits(error: &Error) -> Option<&Misfits> {
    match error {
        Error::ValuesDoNotFit(misfits) => Some(misfits),
        Error::InFile { source, .. }
        | Error::AtRow { source, .. }
        | Error::AtElement { source, .. }
        | Error::InComponent { source, .. } => misfits(source),
        _ => None,
    }
}

/// Whether an error says that a file is not as it should be, and not that it could not be looked
/// at.
pub(crate) fn is_damage(error: &Error) -> bool {
    status_of(error) == DATA && error.code() != "unsupported_dtype"
}

/// Says on stderr that something went wrong, in one line that starts as all of this command do.
pub(crate) fn complain(what: impl fmt::Display) {
    // Where stderr is closed there is nobody to tell.
    let line = format!("tensorferry: error: {}\n", printable(&what.to_string()));
    // In one piece: others may write there, too.
    let _said = io::stderr().write_all(line.as_bytes());
}

/// Tells of arguments that are wrong, or writes the help that they ask for.
pub(crate) fn not_parsed(error: &clap::Error) -> u8 {
    // Without arguments it is help that is shown.
    if error.use_stderr()
        && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let _said = write!(io::stderr(), "tensorferry: ");
    }
    let printed = error.print();
    match printed {
        Err(closed) if closed.kind() == ErrorKind::BrokenPipe && !error.use_stderr() => {
            NOBODY_READS
        }
        _ => u8::try_from(error.exit_code()).unwrap_or(USAGE),
    }
}

/// Damage is worse than what could not be looked at.
pub(crate) fn worse(a: u8, b: u8) -> u8 {
    if a == DATA || b == DATA { DATA } else { a.max(b) }
}

/// The exit status of a failure.
pub(crate) fn status_of_failure(failure: &Failure) -> u8 {
    match failure {
        Failure::Wrong(_) => USAGE,
        Failure::Library(error) => status_of(error),
        Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => NOBODY_READS,
        Failure::Output(_) => SYSTEM,
        Failure::Misfits(_) => DATA,
        Failure::Said(status) => *status,
    }
}

/// What went wrong, for `--json`.
pub(crate) fn as_json(failure: &Failure) -> Value {
    let code = match failure {
        Failure::Wrong(_) => "argument",
        Failure::Library(error) => error.code(),
        Failure::Output(_) => "io",
        Failure::Misfits(_) | Failure::Said(_) => "values_do_not_fit",
    };
    json!({"code": code, "message": failure.to_string(), "exit_status": status_of_failure(failure)})
}

/// Says what went wrong, and gives the exit status.
pub(crate) fn status(done: Outcome) -> u8 {
    let Err(failure) = done else { return 0 };
    let status = status_of_failure(&failure);
    match failure {
        // Whoever closed stdout, or pressed Ctrl-C, knows.
        Failure::Said(_) | Failure::Library(Error::Stopped) => {}
        Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Failure::Misfits(said) => said.iter().for_each(|one| complain(as_options(one))),
        failure => complain(&failure),
    }
    status
}
