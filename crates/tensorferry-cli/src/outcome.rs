//! How a command ends: its errors on stderr, and its exit status.

use crate::doctor::Elsewhere;
use crate::interrupt;
use crate::words::printable;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use tensorferry::error::{
    Advice, ConversionAdvice, CoreError, FileAdvice, FileHint, Hint, IoError,
};
use tensorferry::{Error, ErrorKind, Format, Misfits};

/// The exit statuses, for `--help`.
pub(crate) const STATUSES: &str = "Exit status: 0 success; 1 the data are damaged or do not fit, \
    or doctor found a problem; 2 the arguments are wrong; 3 the system refused (no such file, no \
    permission, a full disk, no memory); 129, 130, 143 a signal (a lost terminal, Ctrl-C, \
    SIGTERM); 141 the output was closed.";

/// The data are damaged, or do not fit.
const DATA: u8 = 1;
/// The arguments are wrong; clap uses the same status.
const USAGE: u8 = 2;
/// The system refused something.
const SYSTEM: u8 = 3;
/// stdout is a closed pipe: the status that shells report for SIGPIPE.
const CLOSED_PIPE: u8 = 128 + 13;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments are wrong.
    Wrong(String),
    /// An error of the library.
    Library(Error),
    /// Writing to stdout failed.
    Output(io::Error),
    /// A message for each array with values that do not fit.
    Misfits(Vec<String>),
    /// An error of another process.
    Elsewhere(Elsewhere),
    /// All errors were printed before; the worst has this exit status.
    Reported(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Self::Library(error.into())
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        Self::Library(error.into())
    }
}

/// For writes to stdout; errors of files are the library's.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The library's error of a failed operation on a file.
pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> IoError {
    move |source| IoError::Io { action, path: path.to_owned(), source }
}

pub(crate) fn wrong(what: impl Into<String>) -> Failure {
    Failure::Wrong(what.into())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => f.write_str(what),
            Self::Library(error) => f.write_str(&message(error)),
            Self::Output(error) => write!(f, "stdout: {error}"),
            Self::Misfits(messages) => f.write_str(&messages.join("; ")),
            Self::Elsewhere(error) => f.write_str(&error.message),
            Self::Reported(_) => Ok(()),
        }
    }
}

/// Advice in the options of the command.
struct InOptions;

impl ConversionAdvice for InOptions {
    fn misfits(&self, misfits: &Misfits) -> String {
        let castings = misfits.possible_castings().iter();
        let castings: Vec<String> =
            castings.map(|casting| format!("--casting {casting}")).collect();
        format!("Keep --dtype {}, or pass {}.", misfits.from, castings.join(" or "))
    }

    fn wrapped_float(&self) -> String {
        "Pass --casting checked or --casting saturate.".into()
    }
}

impl FileAdvice for InOptions {
    fn hint(&self, hint: FileHint) -> String {
        let formats = || Format::ALL.map(Format::name).join(", ");
        match hint {
            FileHint::Format => format!("Pass --format, one of {}.", formats()),
            FileHint::FormatOrRaw => {
                format!("Pass --format, one of {}, or its dtype with --raw-dtype.", formats())
            }
            FileHint::Raw => "Pass --raw-dtype.".into(),
            FileHint::Features => "Choose arrays with --array.".into(),
            FileHint::NoFeatures => "Leave out --array.".into(),
            FileHint::Map => "Open it with --mode map.".into(),
            FileHint::Read => "Open it with --mode read.".into(),
            FileHint::Replace => "To replace it, pass --force.".into(),
            _ => String::new(),
        }
    }
}

impl Advice for InOptions {
    /// The command does not change elements: its datasets need no such advice.
    fn choose(&self, _: Hint) -> String {
        String::new()
    }
}

/// The library's message, with advice in the options of the command. A message about files does not
/// begin with the library's function.
pub(crate) fn message(error: &Error) -> String {
    let message = error.message(&InOptions);
    ["open: ", "open_raw: "]
        .iter()
        .find_map(|function| message.strip_prefix(function))
        .unwrap_or(&message)
        .to_owned()
}

/// The exit status for an error of the library.
pub(crate) fn status_of(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Allocation => SYSTEM,
        ErrorKind::Interrupted => interrupt::status().unwrap_or(DATA),
        _ if matches!(error.code(), "argument" | "cast_not_defined") => USAGE,
        _ => DATA,
    }
}

/// The values that do not fit, if the error is about such values.
pub(crate) fn misfits(error: &Error) -> Option<&Misfits> {
    match error.core() {
        Some(CoreError::ValuesDoNotFit(misfits)) => Some(misfits),
        _ => None,
    }
}

/// Whether an error means that a file is damaged, not that it could not be checked.
pub(crate) fn is_damage(error: &Error) -> bool {
    status_of(error) == DATA && error.code() != "unsupported_dtype"
}

/// Prints an error on stderr, as one line.
pub(crate) fn complain(what: impl fmt::Display) {
    let line = format!("tensorferry: error: {}\n", printable(&what.to_string()));
    // One write, so that lines of other processes do not mix in.
    let _ignored = io::stderr().write_all(line.as_bytes());
}

/// Prints clap's error, or the help that was asked for.
pub(crate) fn not_parsed(error: &clap::Error) -> u8 {
    // Without arguments, clap shows help.
    if error.use_stderr()
        && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let _ignored = write!(io::stderr(), "tensorferry: ");
    }
    let printed = error.print();
    match printed {
        Err(closed) if closed.kind() == io::ErrorKind::BrokenPipe && !error.use_stderr() => {
            CLOSED_PIPE
        }
        _ => u8::try_from(error.exit_code()).unwrap_or(USAGE),
    }
}

/// The worse of two statuses: damage is worse than a file that was not checked.
pub(crate) fn worse(a: u8, b: u8) -> u8 {
    if a == DATA || b == DATA { DATA } else { a.max(b) }
}

/// The exit status of a failure.
pub(crate) fn status_of_failure(failure: &Failure) -> u8 {
    match failure {
        Failure::Wrong(_) => USAGE,
        Failure::Library(error) => status_of(error),
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => CLOSED_PIPE,
        Failure::Output(_) => SYSTEM,
        Failure::Misfits(_) => DATA,
        Failure::Elsewhere(error) => error.exit_status,
        Failure::Reported(status) => *status,
    }
}

/// An error, for `--json`.
pub(crate) fn as_json(failure: &Failure) -> Value {
    let code = match failure {
        Failure::Wrong(_) => "argument",
        Failure::Library(error) => error.code(),
        Failure::Elsewhere(error) => &error.code,
        Failure::Output(_) => "io",
        Failure::Misfits(_) | Failure::Reported(_) => "values_do_not_fit",
    };
    let errno = match failure {
        Failure::Library(error) => error.system().and_then(io::Error::raw_os_error),
        Failure::Elsewhere(error) => error.errno,
        _ => None,
    };
    let mut described = json!({
        "code": code,
        "message": failure.to_string(),
        "exit_status": status_of_failure(failure),
    });
    if let Some(errno) = errno {
        described["errno"] = json!(errno);
    }
    described
}

/// Prints the error of an outcome, and returns the exit status.
pub(crate) fn status(done: Outcome) -> u8 {
    let Err(failure) = done else { return 0 };
    let status = status_of_failure(&failure);
    match failure {
        // Interruptions and closed pipes are not errors to print.
        Failure::Reported(_) | Failure::Library(Error::Interrupted) => {}
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Failure::Misfits(messages) => messages.iter().for_each(complain),
        failure => complain(&failure),
    }
    status
}
