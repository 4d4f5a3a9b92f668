//! A diagnosis of this machine and process: sections of facts, and problems.

mod build;
mod environment;
mod files;
mod findings;
mod host;
mod memory;
mod system;

pub(crate) use findings::Findings;
pub use host::Host;

use crate::words::printable;
use findings::Problem;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

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
    let text = printable(text);
    match std::env::home_dir().as_deref().and_then(std::path::Path::to_str) {
        Some(home) if home.len() > 1 => text.replace(&format!("{home}/"), "~/"),
        _ => text,
    }
}
