//! Shuffled batches of two arrays, saved in the middle of an epoch and resumed: `stream_batches`.
#![allow(clippy::print_stdout, reason = "a program that prints for a person")]

use tensorferry::dataset::{
    Checkpoint, Dataset, Element, Epoch, Function, Options, ShuffleOptions,
};
use tensorferry::{Casting, DType, Result, Tensor};

/// Pictures of 8 by 8 pixels, the labels that say what they are, and what is to become of both.
fn batches() -> Result<Dataset> {
    let count = 1000_i32;
    let pixels = (0..count * 64).map(|i| u8::try_from(i % 251).unwrap_or(u8::MAX)).collect();
    let images = Tensor::from_vec(pixels, &[1000, 8, 8])?;
    let labels = Tensor::from_vec((0..count).map(|i| i64::from(i % 10)).collect(), &[1000])?;
    // Pixels become floats and labels int32, checked, in the pass that puts the rows into their
    // batch.
    Dataset::from_tensor_slices([images, labels])?
        .shuffle(ShuffleOptions::seeded(7))?
        .cast(&[Some(DType::Float32), Some(DType::Int32)], Casting::Checked)?
        .batch(64)
        .map(|batches| batches.prefetch(Some(2)))
}

/// The labels of a batch.
fn labels(batch: &Element) -> Result<Vec<i32>> {
    Ok(batch[1].tensor()?.view::<i32>()?.iter().collect())
}

fn main() -> Result<()> {
    let dataset = batches()?;
    println!("{dataset}");

    // Every epoch is in an order of its own; the same epoch is always in the same.
    for epoch in 0..2 {
        for batch in dataset.iter_with(Epoch(epoch), &Options::default()).take(1) {
            let batch = batch?;
            println!(
                "epoch {epoch}: images {:?}, labels {:?} ...",
                batch[0].tensor()?.shape(),
                &labels(&batch)?[..8]
            );
        }
    }

    // A training run that ends after five batches leaves these bytes ...
    let mut iter = dataset.iter();
    for batch in iter.by_ref().take(5) {
        batch?;
    }
    let bytes = iter.checkpoint()?.to_bytes();
    let left: Result<Vec<_>> = iter.map(|batch| labels(&batch?)).collect();
    // ... and the next resumes from them with the sixth, in the same order.
    let resumed = batches()?.resume(&Checkpoint::from_bytes(&bytes)?, &Options::default())?;
    let again: Result<Vec<_>> = resumed.map(|batch| labels(&batch?)).collect();
    let left = left?;
    println!(
        "resumed from {} bytes: {} batches left, the same: {}",
        bytes.len(),
        left.len(),
        left == again?
    );

    // Functions may look at elements, too.
    let fives = Function::new("fives", |batch: Element| Ok(labels(&batch)?.contains(&5)));
    println!("{} batches of epoch 0 have a 5 in them", dataset.filter(fives).iter().count());
    Ok(())
}
