use crate::ShuffleOptions;
use crate::epochs::*;
use crate::error::Result;
use crate::execute::options::Options;
use crate::stage::Element;
use crate::user_fn::function::Function;
use tensorferry_core::DType;

fn rows() -> Dataset {
    Dataset::range(0, 12, 1, DType::Int64).unwrap()
}

fn next(dataset: &Dataset) -> u64 {
    EpochCounter::new(dataset.clone()).next().0
}

#[test]
fn plans_that_are_written_again_count_on_and_others_count_apart() -> Result<()> {
    let shuffled = rows().shuffle(ShuffleOptions::seeded(7))?;
    let (train, valid) = (|| shuffled.skip(Some(4)), || shuffled.take(Some(4)));
    for epoch in 0..3 {
        assert_eq!(next(&train()), epoch);
        assert_eq!(next(&train().batch(2)?.prefetch(Some(2))), epoch);
    }
    assert_eq!((next(&valid()), next(&train().batch(2)?), next(&shuffled)), (0, 3, 0));
    // Another source is another plan, as is another function of the same name.
    assert_eq!(next(&rows().shuffle(ShuffleOptions::seeded(7))?.skip(Some(4))), 0);
    let keep = |identity| {
        shuffled.filter(Function::new("keep", |_: Element| Ok(true)).identified(identity))
    };
    assert_eq!((next(&keep(1)), next(&keep(2)), next(&keep(1))), (0, 0, 1));
    Ok(())
}

#[test]
fn a_plan_counts_at_any_of_its_sources() -> Result<()> {
    let rows = rows();
    let numbered = || Dataset::zip(vec![Dataset::range(0, 99, 1, DType::Int64)?, rows.clone()]);
    assert_eq!((next(&numbered()?), next(&numbered()?), next(&numbered()?)), (0, 1, 2));
    Ok(())
}

#[test]
fn set_reaches_what_is_made_of_the_plan_and_nothing_else() -> Result<()> {
    let rows = rows();
    let batches = EpochCounter::new(rows.batch(2)?);
    assert_eq!((batches.next().0, batches.next().0), (0, 1));
    EpochCounter::new(rows.clone()).set(5);
    assert_eq!((batches.upcoming().0, batches.next().0, batches.next().0), (5, 5, 6));
    assert_eq!((next(&rows), next(&rows.skip(Some(1))), next(&rows)), (5, 5, 6));
    batches.set(1);
    assert_eq!((batches.last_set(), batches.next().0, next(&rows)), (Some(1), 1, 7));
    let copied = |mark, family| {
        let passes = EpochCounter::new(rows.clone());
        passes.mark(mark, family);
        passes
    };
    assert_eq!((copied(1, 0).next().0, copied(1, 0).next().0, copied(2, 0).next().0), (5, 6, 5));
    assert_eq!((copied(1, 1).next().0, copied(1, 1).like(rows.clone()).next().0), (0, 1));
    copied(0, 1).set(3);
    assert_eq!((copied(1, 1).next().0, copied(1, 0).next().0), (3, 7));
    let alone = EpochCounter::alone(rows.clone());
    assert_eq!((alone.next().0, alone.next().0), (0, 1));
    alone.set(9);
    assert_eq!((alone.next().0, next(&rows)), (9, 8));
    Ok(())
}

#[test]
fn a_resumed_pass_hands_its_seeds_and_its_epoch_to_those_after_it() -> Result<()> {
    let made = || rows().shuffle(ShuffleOptions::default());
    let (old, new) = (EpochCounter::new(made()?), EpochCounter::new(made()?));
    let _first = old.next();
    let mut iter = old.dataset().iter_with(old.next(), &Options::default());
    drop(iter.next());
    let saved = iter.checkpoint()?;
    let resumed = new.dataset().resume(&saved, &Options::default())?;
    new.resumed(&resumed);
    let numbers = |passes: &EpochCounter| -> Vec<i64> {
        let iter = passes.dataset().iter_with(passes.next(), &Options::default());
        iter.map(|element| {
            element.unwrap()[0].tensor().unwrap().view::<i64>().unwrap().get(&[]).unwrap()
        })
        .collect()
    };
    assert_eq!(numbers(&new), numbers(&old));
    assert_eq!(
        numbers(&EpochCounter::new(new.dataset().cache())),
        numbers(&EpochCounter::new(old.dataset().cache()))
    );
    Ok(())
}

#[test]
fn sources_that_are_gone_are_forgotten() {
    for _ in 0..10_000 {
        assert_eq!(next(&rows()), 0);
    }
    assert!(REGISTRY.lock().roots.len() < 5_000);
}
