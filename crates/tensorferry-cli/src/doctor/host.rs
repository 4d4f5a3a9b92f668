//! Facts of the program that runs the command, where it is not the binary: Python.

use super::findings::{Findings, Problem, Section};
use serde_json::Value;

/// The program that runs the command, where it is not the binary.
pub trait Host {
    /// Facts for `tensorferry doctor`, as a JSON document:
    /// `{"sections": [{"name", "facts": [{"name", "value", "text"}]}], "problems": [{"what",
    /// "way_out"}]}`. Frameworks are imported, each for at most this many seconds; 0 imports none.
    ///
    /// # Errors
    /// A message, if the facts cannot be gathered.
    fn facts(&self, seconds: u64) -> Result<String, String>;

    /// Has a cluster write the shards of `convert --ray`, each as `convert --only NUMBER` does.
    /// Calls `next` with what becomes of each, and with `None` now and then. If that returns false,
    /// what runs is cancelled.
    ///
    /// # Errors
    /// The first error of a shard, or that of the cluster.
    fn write_shards(
        &self,
        shards: &[usize],
        next: &mut (dyn FnMut(Option<ShardState>) -> bool + Send),
    ) -> Result<(), Elsewhere>;
}

/// What becomes of a shard that a cluster writes, by its number.
#[derive(Clone, Copy, Debug)]
pub enum ShardState {
    /// A task is about to write it.
    Begun(usize),
    /// It is there.
    Finished(usize),
}

/// The error of work in another process, as its `--json` says it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The stable code.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// The exit status of the command.
    pub exit_status: u8,
    /// The number of the system's error, if it was one.
    pub errno: Option<i32>,
}

pub(super) fn findings(host: &dyn Host, seconds: u64) -> Findings {
    let found = host.facts(seconds).and_then(|text| read(&text).map_err(|error| error.to_string()));
    found.unwrap_or_else(|error| Findings {
        sections: Vec::new(),
        problems: vec![Problem::new(
            format!("the facts about Python could not be gathered: {error}"),
            "Report it, with this output.",
        )],
    })
}

fn read(text: &str) -> serde_json::Result<Findings> {
    let document: Value = serde_json::from_str(text)?;
    let list = |name: &str| document[name].as_array().into_iter().flatten();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sections = list("sections").map(|section| {
        let mut read = Section::new(&word(&section["name"]));
        for fact in section["facts"].as_array().into_iter().flatten() {
            read.add_as(&word(&fact["name"]), fact["value"].clone(), word(&fact["text"]));
        }
        read
    });
    let problems = list("problems")
        .map(|problem| Problem::new(word(&problem["what"]), word(&problem["way_out"])));
    Ok(Findings { sections: sections.collect(), problems: problems.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Said(Result<String, String>);

    impl Host for Said {
        fn facts(&self, _: u64) -> Result<String, String> {
            self.0.clone()
        }

        fn write_shards(
            &self,
            _: &[usize],
            _: &mut (dyn FnMut(Option<ShardState>) -> bool + Send),
        ) -> Result<(), Elsewhere> {
            Ok(())
        }
    }

    #[test]
    fn sections_and_problems_are_taken_over() {
        let text = r#"{"sections": [{"name": "python", "facts": [{"name": "version",
            "value": [3, 11], "text": "3.11"}]}], "problems": [{"what": "a", "way_out": "b"}]}"#;
        let found = findings(&Said(Ok(text.into())), 1);
        assert_eq!(found.sections[0].name, "python");
        assert_eq!(found.sections[0].facts[0].text, "3.11");
        assert_eq!(found.problems[0].way_out, "b");
    }

    #[test]
    fn a_host_that_fails_is_a_problem() {
        for said in [Err("no memory".to_owned()), Ok("{".to_owned())] {
            let found = findings(&Said(said), 1);
            assert_eq!((found.sections.len(), found.problems.len()), (0, 1));
        }
    }
}
