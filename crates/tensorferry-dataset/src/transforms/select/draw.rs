//! `draw`: elements drawn at random, with replacement.
//!
//! # Rationale
//! Draw `i` of an epoch follows from the seed, the epoch and `i`. Weighted draws use the alias
//! method (Walker, "An efficient method for generating discrete random variables", ACM TOMS 1977;
//! built as in Vose, IEEE TSE 1991): two random numbers and one look into a table for each.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::{Columns, RowPart};
use crate::shuffle::prng::{self, Purpose, Random, Seed};
use crate::spec::Cardinality;
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage};
use crate::transforms::select::select::no_random_access;
use std::sync::Arc;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::room::Room;

/// How [`Dataset::draw`] draws.
#[derive(Clone, Debug)]
pub struct DrawOptions {
    /// How many draws; as many as there are elements if `None`.
    pub num_samples: Option<u64>,
    /// A weight of at least 0 for each element; all are equal if `None`.
    pub weights: Option<Vec<f64>>,
    /// The seed. If `None`, one is drawn, and checkpoints record it.
    pub seed: Option<u64>,
    /// Whether each epoch has draws of its own; true by default.
    pub rerandomize_each_iteration: bool,
}

impl Default for DrawOptions {
    fn default() -> Self {
        Self { num_samples: None, weights: None, seed: None, rerandomize_each_iteration: true }
    }
}

#[derive(Clone)]
struct Draw {
    input: Dataset,
    /// Number of elements of the input.
    n: u64,
    len: u64,
    weights: Option<Arc<Alias>>,
    seed: Seed,
    rerandomize: bool,
}

impl Dataset {
    /// Elements drawn at random, with replacement, from an indexed dataset: with `weights`, an
    /// element's chance is its part of their sum. The result is indexed. Weights take 8 bytes of
    /// memory for each element.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset, DrawOptions};
    ///
    /// let weights = Some(vec![0.0, 1.0, 3.0]);
    /// let drawn = Dataset::range(0, 3, 1, DType::Int64)?.draw(DrawOptions {
    ///     num_samples: Some(100),
    ///     weights,
    ///     ..DrawOptions::default()
    /// })?;
    /// assert_eq!(drawn.cardinality(), Cardinality::Finite(100));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the dataset is not indexed, not finite, or empty although there are
    /// draws; if there is not one weight for each element, or they are negative, not finite, or
    /// all 0.
    pub fn draw(&self, options: DrawOptions) -> Result<Self> {
        let wrong = |what: &str| Err(Error::Argument { stage: "sample", what: what.into() });
        let n = match self.cardinality() {
            _ if !self.indexed => return Err(no_random_access("sample")),
            Cardinality::Finite(n) => n,
            _ => return wrong("the dataset is infinite. Sample before repeat."),
        };
        let len = options.num_samples.unwrap_or(n);
        if n == 0 && len > 0 {
            return wrong("the dataset is empty, so nothing can be drawn.");
        }
        let weights = match options.weights {
            Some(weights) if n > 0 => Some(Arc::new(Alias::new(&weights, n)?)),
            _ => None,
        };
        let (seed, rerandomize) = (Seed::new(options.seed), options.rerandomize_each_iteration);
        Ok(Self::of(Draw { input: self.clone(), n, len, weights, seed, rerandomize }))
    }
}

/// Weights, as a table of columns of equal chance, each shared by two elements.
struct Alias {
    /// Chance of a column's own element, in units of 2^-32, and the other element.
    columns: Vec<(u32, u32)>,
    hash: u64,
}

impl Alias {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "chances of at least 0 are rounded, and saturate; there are less than 2^32 columns"
    )]
    fn new(weights: &[f64], n: u64) -> Result<Self> {
        let sum = checked_sum(weights, n)?;
        let mut columns = Vec::new();
        columns.make_room(weights.len())?;
        let (mut chances, mut small, mut large) = (Vec::new(), Vec::new(), Vec::new());
        chances.make_room(weights.len())?;
        small.make_room(weights.len())?;
        large.make_room(weights.len())?;
        let (mut hash, mut heaviest) = (0, 0);
        for (at, &weight) in weights.iter().enumerate() {
            let chance = weight / sum * weights.len() as f64;
            hash = prng::hashed(hash, weight.to_bits());
            heaviest = if weight > weights[heaviest] { at } else { heaviest };
            columns.push((u32::MAX, at as u32));
            chances.push(chance);
            if chance < 1.0 { small.push(at) } else { large.push(at) }
        }
        while let (Some(&few), Some(&many)) = (small.last(), large.last()) {
            small.pop();
            columns[few] = ((chances[few] * 4_294_967_296.0) as u32, many as u32);
            chances[many] -= 1.0 - chances[few];
            if chances[many] < 1.0 {
                large.pop();
                small.push(many);
            }
        }
        // What rounding left over is an element's own column, unless its weight is 0.
        for few in small.into_iter().filter(|&few| weights[few] == 0.0) {
            columns[few] = (0, heaviest as u32);
        }
        Ok(Self { columns, hash })
    }

    /// The element of two random numbers.
    fn element(&self, column: u64, chance: u64) -> u64 {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        let (own, other) = self.columns[column];
        if chance >> 32 < u64::from(own) { column as u64 } else { u64::from(other) }
    }
}

/// The sum of the weights.
///
/// # Errors
/// [`Error::Argument`], naming the first weight that is not one.
fn checked_sum(weights: &[f64], n: u64) -> Result<f64> {
    let wrong = |what: String| Err(Error::Argument { stage: "sample", what });
    if weights.len() as u64 != n || u32::try_from(n).is_err() {
        return wrong(format!(
            "{} weights for {n} elements. Give one for each, of at most 2^32 elements.",
            weights.len()
        ));
    }
    let bad = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0);
    if let Some(at) = bad {
        return wrong(format!(
            "weights have to be finite and at least 0, and that at position {at} is {}.",
            weights[at]
        ));
    }
    let sum: f64 = weights.iter().sum();
    match sum {
        _ if !sum.is_finite() => wrong("the sum of the weights is not finite. Scale them.".into()),
        0.0 => wrong("all weights are 0, so nothing can be drawn.".into()),
        sum => Ok(sum),
    }
}

impl Draw {
    /// The random numbers of an epoch.
    fn random(&self, cx: &Context) -> Random {
        let round = if self.rerandomize { cx.epoch.0 } else { 0 };
        Random::new(Purpose::Draw, self.seed.value, round)
    }

    /// The input's index of a draw.
    fn index(&self, draw: u64, random: Random) -> u64 {
        let column = random.below(draw.wrapping_mul(2), self.n);
        let chance = || random.at(draw.wrapping_mul(2).wrapping_add(1));
        self.weights.as_ref().map_or(column, |weights| weights.element(column, chance()))
    }
}

impl Stage for Draw {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        let weights = self.weights.as_ref().map(|weights| format!("weights={:016x}", weights.hash));
        let once = (!self.rerandomize).then(|| "rerandomize_each_iteration=False".into());
        let given = [Some(self.len.to_string()), weights, self.seed.describe(), once];
        format!("sample({})", given.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        if !inputs[0].indexed || inputs[0].cardinality() != Cardinality::Finite(self.n) {
            return Err(no_random_access("sample"));
        }
        let seed = self.seed.rebuilt(change);
        Ok(Dataset::of(Self { input: inputs[0].clone(), seed, ..self.clone() }))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { depends_on_epoch: self.rerandomize || inputs.depends_on_epoch, ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(self.index(index, self.random(cx)), cx)
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        let random = self.random(cx);
        for request in &mut *requests {
            request.index = self.index(request.index, random);
        }
        self.input.stage.lengths(at, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let random = self.random(cx);
        for part in &mut *parts {
            part.index = self.index(part.index, random);
        }
        self.input.stage.gather_parts(at, parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let random = self.random(cx);
        for request in &mut *requests {
            request.index = self.index(request.index, random);
        }
        self.input.stage.gather(columns, requests, out, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, first, range, rows,
        values,
    };

    fn drawn(n: i64, draws: u64, weights: Option<&[f64]>) -> Dataset {
        range(n)
            .draw(DrawOptions {
                num_samples: Some(draws),
                weights: weights.map(Into::into),
                seed: Some(7),
                ..DrawOptions::default()
            })
            .unwrap()
    }

    /// These never change.
    #[test]
    fn draws_of_a_seed_are_pinned() {
        assert_eq!(values(&drawn(10, 10, None)), PINNED);
        assert_eq!(values(&drawn(4, 10, Some(&[1.0, 0.0, 2.0, 5.0]))), PINNED_WEIGHTED);
    }

    const PINNED: [i64; 10] = [6, 6, 0, 1, 4, 2, 2, 9, 0, 9];
    const PINNED_WEIGHTED: [i64; 10] = [2, 2, 3, 0, 3, 3, 3, 3, 0, 3];

    #[test]
    fn draws_are_distributed_as_their_weights() {
        let weights: Vec<f64> = (0..100).map(|at| f64::from(at % 7) * 0.3).collect();
        let sum: f64 = weights.iter().sum();
        let mut counts = [0_u32; 100];
        for value in values(&drawn(100, 200_000, Some(&weights))) {
            counts[usize::try_from(value).unwrap()] += 1;
        }
        let mut chi = 0.0;
        for (&count, weight) in counts.iter().zip(&weights) {
            let expected = 200_000.0 * weight / sum;
            assert!(expected > 0.0 || count == 0);
            chi +=
                if expected > 0.0 { (f64::from(count) - expected).powi(2) / expected } else { 0.0 };
        }
        // 85 positive weights: mean 84, standard deviation 13.
        assert!((chi - 84.0).abs() < 4.0 * 13.0, "{chi}");
    }

    #[test]
    fn the_table_holds_exactly_the_weights() {
        for n in [1_usize, 2, 3, 10, 1000] {
            let weights: Vec<f64> =
                crate::all_ways::noise(n as u64).take(n).map(|bits| (bits % 5) as f64).collect();
            if weights.iter().all(|weight| *weight == 0.0) {
                continue;
            }
            let table = Alias::new(&weights, n as u64).unwrap();
            let mut chances = vec![0.0; n];
            for (at, &(own, other)) in table.columns.iter().enumerate() {
                let own = f64::from(own) / 4_294_967_296.0;
                chances[at] += own;
                chances[other as usize] += 1.0 - own;
            }
            let sum: f64 = weights.iter().sum();
            for (chance, weight) in chances.iter().zip(&weights) {
                assert!((chance / n as f64 - weight / sum).abs() < 1e-9);
                assert!(*weight > 0.0 || *chance == 0.0);
            }
        }
    }

    #[test]
    fn epochs_differ_unless_told_otherwise_and_batches_agree() -> Result<()> {
        let weights: Vec<f64> = (0..50).map(f64::from).collect();
        let epoch = |dataset: &Dataset, epoch| -> Vec<i64> {
            let all = dataset.iter_with(Epoch(epoch), &Options::default());
            all.map(|element| first(&element.unwrap())).collect()
        };
        for weights in [None, Some(weights)] {
            let options = DrawOptions { weights, seed: Some(1), ..DrawOptions::default() };
            let anew = range(50).draw(options.clone())?;
            assert_ne!(epoch(&anew, 0), epoch(&anew, 1));
            assert_eq!(rows(&anew.batch(7)?).concat(), values(&anew));
            let once =
                range(50).draw(DrawOptions { rerandomize_each_iteration: false, ..options })?;
            assert_eq!([epoch(&once, 0), epoch(&once, 1)], [epoch(&anew, 0), epoch(&anew, 0)]);
            for dataset in [anew.clone(), once, anew.shard(2, 1)?.batch(4)?] {
                assert_resumes(&dataset);
                assert_rejects_damage(&dataset);
                assert_rebuilds(&dataset);
            }
        }
        let seeds: Vec<_> = (0..2).map(|_| range(50).draw(DrawOptions::default())).collect();
        assert_ne!(values(seeds[0].as_ref().unwrap()), values(seeds[1].as_ref().unwrap()));
        Ok(())
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let said = |input: Dataset, weights: Option<&[f64]>| {
            let weights = weights.map(Into::into);
            let drawn =
                input.draw(DrawOptions { num_samples: Some(5), weights, ..DrawOptions::default() });
            drawn.unwrap_err().to_string()
        };
        assert!(said(range(3), Some(&[1.0])).contains("1 weights for 3 elements"));
        assert!(said(range(2), Some(&[1.0, -1.0])).contains("at position 1 is -1"));
        assert!(said(range(2), Some(&[f64::NAN, 1.0])).contains("at position 0 is NaN"));
        assert!(said(range(2), Some(&[0.0, 0.0])).contains("all weights are 0"));
        assert!(said(range(2), Some(&[f64::MAX, f64::MAX])).contains("not finite"));
        assert!(said(range(0), None).contains("empty"));
        assert!(said(range(2).repeat(None), None).contains("infinite"));
        assert!(said(counting(2), None).contains("no random access"));
        let none = DrawOptions { num_samples: None, ..DrawOptions::default() };
        assert_eq!(values(&range(0).draw(none).unwrap()), [0; 0]);
    }
}
