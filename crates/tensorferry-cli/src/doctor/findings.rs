//! Sections of facts, and problems.

use serde_json::Value;

/// What was found out.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(super) name: String,
    /// For `--json`.
    pub(super) value: Value,
    /// For people.
    pub(super) text: String,
}

/// Facts about one thing.
#[derive(Debug)]
pub(crate) struct Section {
    pub(super) name: String,
    pub(super) facts: Vec<Fact>,
}

/// Something is broken.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(super) what: String,
    pub(super) way_out: String,
}

/// A section, and what is broken there.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(super) sections: Vec<Section>,
    pub(super) problems: Vec<Problem>,
}

impl Section {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), facts: Vec::new() }
    }

    /// Adds a fact, if it is known.
    pub(super) fn add(&mut self, name: &str, text: Option<impl Into<String>>) {
        if let Some(text) = text.map(Into::into) {
            self.add_as(name, Value::from(text.clone()), text);
        }
    }

    /// Adds a fact that is written in another way for people.
    pub(super) fn add_as(&mut self, name: &str, value: impl Into<Value>, text: impl Into<String>) {
        let (value, text) = (value.into(), text.into());
        self.facts.push(Fact { name: name.into(), value, text });
    }

    /// Adds a number of bytes, if it is known.
    pub(super) fn add_bytes(&mut self, name: &str, count: Option<u64>) {
        if let Some(count) = count {
            let text = crate::words::bytes(usize::try_from(count).unwrap_or(usize::MAX));
            self.add_as(name, count, text);
        }
    }
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { what: what.into(), way_out: way_out.into() }
    }
}

impl From<Section> for Findings {
    fn from(section: Section) -> Self {
        Self { sections: vec![section], problems: Vec::new() }
    }
}

impl Findings {
    pub(crate) fn append(&mut self, other: Self) {
        self.sections.extend(other.sections);
        self.problems.extend(other.problems);
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
