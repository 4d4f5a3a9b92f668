//! `tensorferry completions`: what a shell completes.

use crate::outcome::Outcome;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

/// Print the completions of a shell
///
/// For example: tensorferry completions bash > ~/.local/share/bash-completion/completions/tensorferry
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Whose
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Outcome {
        // The generator ends the process where it cannot write: memory takes everything.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Command::command(), "tensorferry", &mut script);
        Ok(out.write_all(&script)?)
    }
}
