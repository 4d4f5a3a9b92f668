//! A diagnosis of this machine and process: sections of facts, and problems.

mod build;
mod environment;
mod files;
mod findings;
mod host;
mod memory;
mod system;

pub(crate) use findings::Findings;
pub use host::{Elsewhere, Host, ShardState};

use crate::words::printable;
use findings::Problem;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;

/// The version of the `--json` document: it changes if a name changes its meaning or is removed.
const VERSION: u32 = 1;

/// The diagnosis, part by part. The last part takes time: the host may import frameworks.
pub(crate) fn parts(host: Option<&dyn Host>, seconds: u64) -> impl Iterator<Item = Findings> + '_ {
    let own: [fn() -> Findings; 5] = [
        build::findings,
        system::findings,
        memory::findings,
        files::findings,
        environment::findings,
    ];
    own.into_iter().map(|part| part()).chain(host.map(move |host| host::findings(host, seconds)))
}

/// Writes sections as text.
pub(crate) fn write(out: &mut dyn Write, findings: &Findings) -> io::Result<()> {
    for section in &findings.sections {
        writeln!(out, "{}", printable(&section.name))?;
        let widest = section.facts.iter().map(|fact| fact.name.chars().count()).max().unwrap_or(0);
        let width = widest.max(16);
        if section.facts.is_empty() {
            writeln!(out, "  none")?;
        }
        for fact in &section.facts {
            writeln!(out, "  {:<width$}  {}", printable(&fact.name), shown(&fact.text))?;
        }
    }
    out.flush()
}

/// Writes the verdict as text.
pub(crate) fn write_verdict(out: &mut dyn Write, problems: &[Problem]) -> io::Result<()> {
    writeln!(out, "problems")?;
    if problems.is_empty() {
        writeln!(out, "  none")?;
    }
    for problem in problems {
        writeln!(out, "  {}\n    {}", shown(&problem.what), shown(&problem.way_out))?;
    }
    Ok(())
}

/// Writes the diagnosis as JSON.
pub(crate) fn write_json(out: &mut dyn Write, found: Findings) -> io::Result<()> {
    let mut sections = Map::new();
    for section in found.sections {
        let facts = section.facts.into_iter().map(|fact| (fact.name, fact.value));
        sections.insert(section.name, Value::Object(facts.collect()));
    }
    let problems: Vec<Value> = found
        .problems
        .iter()
        .map(|problem| json!({"what": problem.what, "way_out": problem.way_out}))
        .collect();
    let document = json!({
        "version": VERSION,
        "ok": problems.is_empty(),
        "problems": problems,
        "sections": sections,
    });
    writeln!(out, "{document:#}")
}

/// Text without control characters, and with `~` for the user's folder: it is pasted in public.
fn shown(text: &str) -> String {
    let home = std::env::home_dir();
    let home = home.as_deref().and_then(Path::to_str).unwrap_or_default();
    without_home(&printable(text), home)
}

/// Replaces paths that begin with a folder.
fn without_home(text: &str, home: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(home).filter(|_| home.len() > 1) {
        let (before, found) = rest.split_at(at);
        let after = &found[home.len()..];
        shown.push_str(before);
        // Not within the path of another folder, or a longer name.
        let begins =
            !shown.ends_with(|last: char| last.is_alphanumeric() || "/._-~".contains(last));
        shown.push_str(if begins && after.starts_with('/') { "~" } else { home });
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_in_the_users_folder_are_shortened() {
        for (text, expected) in [
            ("/home/a/b: ext4, /home/a/c", "~/b: ext4, ~/c"),
            ("/mnt/home/a/b", "/mnt/home/a/b"),
            ("/home/ab", "/home/ab"),
            ("PATH=/home/a/b", "PATH=~/b"),
        ] {
            assert_eq!(without_home(text, "/home/a"), expected);
        }
        assert_eq!(without_home("/a/b", "/"), "/a/b");
        assert_eq!(without_home("/a/b", ""), "/a/b");
    }
}
