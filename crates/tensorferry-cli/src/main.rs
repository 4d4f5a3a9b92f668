//! The `tensorferry` command.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

/// No memory is an error with its own words, not the end of the process.
#[global_allocator]
static ALLOCATOR: tensorferry::buffers::SpareAllocator = tensorferry::buffers::SpareAllocator;

fn main() -> ExitCode {
    tensorferry::buffers::keep_spare();
    // Without the stack's names: to find them takes memory, of which there may be none, and nobody
    // else can say anything meanwhile.
    std::panic::set_hook(Box::new(|panic| {
        let _unsaid = writeln!(std::io::stderr(), "tensorferry: {panic}");
    }));
    ExitCode::from(tensorferry_cli::run(std::env::args_os()))
}
