//! The `tensorferry` command.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

/// Makes a failed allocation an error, not an abort.
#[global_allocator]
static ALLOCATOR: tensorferry::buffers::SpareAllocator = tensorferry::buffers::SpareAllocator;

fn main() -> ExitCode {
    tensorferry::buffers::keep_spare();
    // Without a backtrace: making one allocates, and memory may have run out.
    std::panic::set_hook(Box::new(|panic| {
        let _ignored = writeln!(std::io::stderr(), "tensorferry: {panic}");
    }));
    ExitCode::from(tensorferry_cli::run(std::env::args_os()))
}
