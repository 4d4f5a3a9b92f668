//! How the plan of a state differs from another one, as text.

const BUILD: &str = "Build the dataset as it was when the state was saved.";

/// A stage's number in its plan, and its description.
type Numbered<'a> = (usize, &'a str);

/// Names the first stage that differs. `old` is the beginning of a plan's description, and
/// `is_cut` tells whether more followed.
///
/// The number of shards and the sizes of batches may differ in many plans, so other differences
/// come first.
pub(crate) fn difference(old: &str, is_cut: bool, new: &str) -> String {
    let all = |plan| -> Vec<Numbered<'_>> { (1..).zip(str::split(plan, " | ")).collect() };
    let (old, new) = (all(old), all(new));
    let rest = |stages: &[Numbered<'_>]| -> Vec<(usize, String)> {
        let rest = stages.iter().filter(|(_, stage)| !stage.starts_with("shard("));
        rest.map(|(number, stage)| (*number, any_size(stage))).collect()
    };
    let (old_rest, new_rest) = (rest(&old), rest(&new));
    let same = old_rest.iter().zip(&new_rest).take_while(|(old, new)| old.1 == new.1).count();
    let old_at = old_rest.get(same).and_then(|(number, _)| old.get(number - 1));
    let new_at = new_rest.get(same).and_then(|(number, _)| new.get(number - 1));
    match (old_at, new_at) {
        (Some((_, old)), Some((number, new)))
            if is_cut && any_size(new).starts_with(&any_size(old)) =>
        {
            format!("they differ in stage {number}, {new}, or after it. {BUILD}")
        }
        (None, Some((number, new))) if is_cut => {
            format!("they differ in stage {number}, {new}, or after it. {BUILD}")
        }
        (Some((_, old)), Some((number, new))) => {
            format!("stage {number} was {old} and is now {new}. {BUILD}")
        }
        (Some((number, old)), None) => {
            format!("stage {number} was {old} and is now missing. {BUILD}")
        }
        (None, Some((number, new))) => {
            format!("stage {number} is now {new}, where the plan ended. {BUILD}")
        }
        (None, None) if is_cut => {
            format!("they differ after what the state keeps of the plan. {BUILD}")
        }
        (None, None) => of_sizes(&old, &new),
    }
}

/// The difference of plans that differ in shards and sizes of batches only.
fn of_sizes(old: &[Numbered<'_>], new: &[Numbered<'_>]) -> String {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let now = match (old.get(same), new.get(same)) {
        (Some((_, old)), Some((number, new))) => {
            format!("stage {number} was {old} and is now {new}")
        }
        (Some((number, old)), None) => format!("stage {number} was {old} and is now missing"),
        (None, Some((number, new))) => format!("stage {number} is now {new}"),
        (None, None) => "they are equal".into(),
    };
    format!(
        "{now}. A run resumes with another number of shards or batch size if only maps, enumerate, \
        components, batches and prefetch come after them."
    )
}

/// A stage's description without the size of its batches.
fn any_size(stage: &str) -> String {
    let Some((name, arguments)) = stage.split_once('(') else { return stage.to_owned() };
    if !["batch", "padded_batch", "ragged_batch"].contains(&name) {
        return stage.to_owned();
    }
    let rest = arguments.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{name}({}", rest.replace(", drop_remainder", "").trim_start_matches(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_batch_sizes_are_blamed_last() {
        let what = |old, new| difference(old, false, new);
        let found = what("range(9) | shard(2, 0) | batch(2)", "range(8) | shard(3, 0) | batch(4)");
        assert!(found.starts_with("stage 1 was range(9) and is now range(8)"), "{found}");
        let found = what("r | shard(2, 0) | batch(2) | take(3)", "r | batch(4) | take(4)");
        assert!(found.starts_with("stage 3 was take(3) and is now take(4)"), "{found}");
        let found = what("r | batch(2) | take(3)", "r | batch(4) | take(3)");
        assert!(found.starts_with("stage 2 was batch(2) and is now batch(4). A run"), "{found}");
        assert!(what("r | batch(2)", "r | batch(2, drop_remainder)").contains("stage 2 was"));
        assert!(what("r | padded_batch(2, (x))", "r | padded_batch(2, (y))").contains(BUILD));
    }
}
