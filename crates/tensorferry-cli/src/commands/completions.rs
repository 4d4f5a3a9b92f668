//! `tensorferry completions`: completion scripts for shells.

use crate::outcome::Outcome;
use clap_complete::Shell;
use std::io::Write;

/// Print the completion script of a shell
///
/// For example: tensorferry completions bash >
/// ~/.local/share/bash-completion/completions/tensorferry
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, mut command: clap::Command, out: &mut dyn Write) -> Outcome {
        // Written to memory first: the generator aborts if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "tensorferry", &mut script);
        if self.shell == Shell::Bash {
            script = with_files(&String::from_utf8_lossy(&script)).into_bytes();
        }
        Ok(out.write_all(&script)?)
    }
}

/// Completes file names in bash, quoted where needed.
const FILES: &str = r#"_tensorferry_files() {
    local file
    COMPREPLY=()
    while IFS= read -r file; do
        COMPREPLY+=("$file")
    done < <(compgen -f -- "$1")
    compopt -o filenames 2>/dev/null || true
}

"#;

/// Subcommands whose arguments are files.
const TAKE_FILES: [&str; 5] = ["inspect", "check", "convert", "stream", "merge"];

/// Adds file names to the bash script: the generator completes only options. After a subcommand
/// that takes files, a word without a leading dash is a file.
fn with_files(script: &str) -> String {
    let mut out = String::from(FILES);
    let mut files = false;
    for line in script.lines() {
        let text = line.trim_start();
        if let Some(case) = text.strip_suffix(')').filter(|case| case.starts_with("tensorferry")) {
            files = TAKE_FILES.iter().any(|name| case == format!("tensorferry__subcmd__{name}"));
        }
        let indent = &line[..line.len() - text.len()];
        match text {
            "if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then" if files => {
                out.push_str(&format!("{indent}if [[ ${{cur}} == -* ]] ; then"));
            }
            // The second of two such lines, outside the `if`.
            r#"COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )"#
                if files && indent.len() == 12 =>
            {
                out.push_str(&format!("{indent}_tensorferry_files \"${{cur}}\""));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}
