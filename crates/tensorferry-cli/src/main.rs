//! The `tensorferry` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tensorferry_cli::run(std::env::args_os()))
}
