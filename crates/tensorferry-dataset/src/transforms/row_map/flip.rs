//! `flip`: reverses elements along axes, at random.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::shuffle::prng::{Purpose, Random, Seed, mix};
use crate::stage::Dataset;
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, misfit, select};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::convert::rows::reverse;
use tensorferry_core::{Dims, TensorSpec};

const STAGE: &str = "flip";

/// How [`Dataset::flip`] chooses elements and components.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlipOptions<'a> {
    /// Probability that an element is reversed; 0.5 by default.
    pub probability: f64,
    /// The seed of the choice. By default, a seed is drawn and recorded in checkpoints.
    pub seed: Option<u64>,
    /// Whether to reverse each component; all by default.
    pub which: Option<&'a [bool]>,
}

impl Default for FlipOptions<'_> {
    fn default() -> Self {
        Self { probability: 0.5, seed: None, which: None }
    }
}

struct Flip {
    axes: Vec<i64>,
    probability: f64,
    seed: Seed,
    which: Option<Vec<bool>>,
    /// Bytes per value of each component.
    itemsizes: Vec<usize>,
}

impl Dataset {
    /// Reverses elements along all of `axes`; negative axes count from the last. Each element is
    /// reversed with the given probability. The components that `which` selects (by default all)
    /// are reversed together.
    ///
    /// The choice follows from `seed`, `axes`, the element's index and the epoch. Without a seed,
    /// one is drawn and recorded in checkpoints.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, FlipOptions};
    ///
    /// let image = Tensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[1, 2, 3])?;
    /// let options = FlipOptions { probability: 1.0, ..FlipOptions::default() };
    /// let flipped = Dataset::from_tensor_slices([image])?.flip(&[1], options)?.get(0)?;
    /// let flipped = flipped[0].tensor()?.view::<u8>()?;
    /// assert_eq!(flipped.as_slice(), Some(&[3, 2, 1, 6, 5, 4][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no axis, if an axis is given twice or a component lacks it,
    /// if the probability is not between 0 and 1, or if the length of `which` differs from the
    /// number of components. If an element of unknown shape lacks an axis, computing it is an
    /// error.
    pub fn flip(&self, axes: &[i64], options: FlipOptions<'_>) -> Result<Self> {
        let FlipOptions { probability, seed, which } = options;
        // A certain outcome needs no seed.
        let certain = (probability == 0.0 || probability == 1.0).then_some(0);
        Flip::over(self, axes, probability, Seed::new(certain.or(seed)), which)
    }
}

impl Flip {
    fn over(
        input: &Dataset,
        axes: &[i64],
        probability: f64,
        seed: Seed,
        which: Option<&[bool]>,
    ) -> Result<Dataset> {
        let wrong = |what: String| Error::Argument { stage: STAGE, what };
        if !(0.0..=1.0).contains(&probability) {
            return Err(wrong(format!(
                "probability has to be at least 0 and at most 1, not {probability:?}"
            )));
        }
        if axes.is_empty() {
            return Err(wrong("no axis to flip along was given".into()));
        }
        let known = |spec: &TensorSpec| match spec.shape.dims() {
            Some(dims) => flags(axes, dims.len()).map(drop),
            None => Ok(()),
        };
        let changes =
            select(input, STAGE, which, |_| Ok(true), |spec| known(spec).map(|()| spec.clone()))?;
        let itemsizes = input
            .spec()
            .iter()
            .map(|part| part.tensor().map_or(1, |spec| spec.dtype.size()))
            .collect();
        let which = which.map(<[bool]>::to_vec);
        Ok(row_mapped(
            input,
            Self { axes: axes.to_vec(), probability, seed, which, itemsizes },
            changes,
        ))
    }

    fn is_certain(&self) -> bool {
        self.probability == 0.0 || self.probability == 1.0
    }

    /// The draws of an epoch, one per element. They depend on the axes, so that flips along
    /// different axes are independent even with the same seed.
    fn random(&self, epoch: u64) -> Random {
        let seed = self
            .axes
            .iter()
            .fold(self.seed.value, |seed, axis| mix(seed ^ mix(axis.cast_unsigned() ^ (1 << 63))));
        Random::new(Purpose::Flip, seed, epoch)
    }
}

/// Whether each of `ndim` dimensions is flipped.
fn flags(axes: &[i64], ndim: usize) -> Result<Vec<bool>, Obstacle> {
    let mut flags = vec![false; ndim];
    for &axis in axes {
        let at = if axis < 0 { axis.saturating_add_unsigned(ndim as u64) } else { axis };
        match usize::try_from(at).ok().and_then(|at| flags.get_mut(at)) {
            Some(flag) if !*flag => *flag = true,
            Some(_) => return Err(format!("axis {axis} is named twice").into()),
            None => {
                let what = format!("it has {ndim} dimensions, none of them {axis}.");
                return Err(Obstacle::optional(what));
            }
        }
    }
    Ok(flags)
}

/// Merges consecutive dimensions with equal flags. In the result, flags alternate and the last
/// dimension is flipped. Also returns the number of bytes that stay together.
fn merged(shape: &[usize], flags: &[bool], itemsize: usize) -> (Vec<(usize, bool)>, usize) {
    let mut dims = Vec::<(usize, bool)>::new();
    for (&len, &flag) in shape.iter().zip(flags) {
        match dims.last_mut() {
            Some((before, same)) if *same == flag => *before *= len,
            _ => dims.push((len, flag)),
        }
    }
    let mut unit = itemsize;
    if let Some((len, false)) = dims.last() {
        unit *= len;
        dims.pop();
    }
    (dims, unit)
}

/// Copies packed values to their flipped positions.
fn flip(from: &[u8], to: &mut [u8], dims: &[(usize, bool)], unit: usize) {
    match dims {
        [] => to.copy_from_slice(from),
        [_last] => reverse(from, to, unit),
        [(len, flipped), inner @ ..] => {
            let step = from.len() / len;
            for (at, to) in to.chunks_exact_mut(step).enumerate() {
                let at = if *flipped { len - 1 - at } else { at };
                flip(&from[at * step..(at + 1) * step], to, inner, unit);
            }
        }
    }
}

impl RowMap for Flip {
    fn stage(&self) -> &'static str {
        STAGE
    }

    fn describe(&self) -> String {
        let seed = if self.is_certain() { None } else { self.seed.describe() };
        let seed = seed.map(|seed| format!(", {seed}")).unwrap_or_default();
        format!(
            "{STAGE}({:?}, {:?}{seed}{})",
            self.axes,
            self.probability,
            chosen(self.which.as_deref())
        )
    }

    fn rebuild(&self, input: &Dataset, change: &mut Change) -> Result<Dataset> {
        Self::over(
            input,
            &self.axes,
            self.probability,
            self.seed.rebuilt(change),
            self.which.as_deref(),
        )
    }

    fn seed(&self) -> Option<&Seed> {
        Some(&self.seed)
    }

    fn depends_on_epoch(&self) -> bool {
        !self.is_certain()
    }

    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims> {
        let misfit = |what| misfit(at, row, what);
        flags(&self.axes, row.len()).map_err(misfit)?;
        Ok(row.into())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let flags = flags(&self.axes, block.shape.len()).map_err(Obstacle::mismatch)?;
        let (dims, unit) = merged(block.shape, &flags, self.itemsizes[at]);
        let random = self.random(block.epoch.0);
        for (index, row, out) in block.each() {
            if !row.is_empty() && random.unit(index) < self.probability {
                flip(row, out, &dims, unit);
            } else {
                out.copy_from_slice(row);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{Plain, all_ways, context, elements, shapeless, small_numbers};
    use crate::stage::Epoch;
    use crate::testing::{assert_rebuilds, assert_resumes, counting, range};
    use crate::{BatchOptions, FlipOptions};
    use tensorferry_core::{DType, Index, Tensor};
    use tensorferry_io::gather::rows_out::packed;

    fn images(shape: &[usize]) -> Dataset {
        Dataset::from_tensor_slices([small_numbers(DType::Int16, shape, 3)]).unwrap()
    }

    /// A component flipped by the strided copy of the core crate.
    fn oracle(plain: &Plain, axes: &[i64]) -> Vec<u8> {
        let tensor = crate::all_ways::tensor(plain.0, &plain.1, &plain.2);
        let flags = flags(axes, plain.1.len()).unwrap();
        let index: Vec<Index> = flags
            .iter()
            .zip(&plain.1)
            .map(|(flag, &len)| match (flag, len) {
                (true, 1..) => Index::Slice { start: len - 1, step: -1, len },
                _ => Index::Slice { start: 0, step: 1, len },
            })
            .collect();
        packed(&tensor.index(&index).unwrap()).unwrap().as_view().as_bytes().unwrap().to_vec()
    }

    #[test]
    fn a_certain_flip_is_a_strided_copy_in_every_dtype_shape_and_axis() {
        let shapes: [&[usize]; 7] =
            [&[7], &[4, 5], &[3, 4, 3], &[2, 3, 4, 5], &[1, 6, 2], &[3, 0, 2], &[2, 5, 16]];
        for dtype in DType::ALL {
            for shape in shapes {
                let rows: Vec<usize> = [&[5], shape].concat();
                let input = Dataset::from_tensor_slices([small_numbers(dtype, &rows, 1)]).unwrap();
                let ndim = i64::try_from(shape.len()).unwrap();
                for set in 1..1_u32 << ndim {
                    let axes: Vec<i64> = (0..ndim)
                        .filter(|axis| set >> axis & 1 == 1)
                        .map(|axis| if set % 2 == 0 { axis - ndim } else { axis })
                        .collect();
                    let flipped = input
                        .flip(&axes, FlipOptions { probability: 1.0, ..FlipOptions::default() })
                        .unwrap();
                    for (got, was) in elements(&flipped).iter().zip(elements(&input)) {
                        assert_eq!(
                            got[0],
                            (dtype, shape.to_vec(), oracle(&was[0], &axes)),
                            "{dtype} {shape:?} {axes:?}"
                        );
                    }
                }
            }
        }
    }

    fn flipped(dataset: &Dataset, epoch: u64) -> Vec<bool> {
        let turned: Vec<u8> = [1_i64, 0].iter().flat_map(|value| value.to_ne_bytes()).collect();
        all_ways(dataset, epoch)
            .into_iter()
            .map(|element| element.unwrap()[0].2 == turned)
            .collect()
    }

    /// Elements `[0, 1]`, which show whether they were flipped.
    fn pairs(count: usize) -> Dataset {
        Dataset::from_tensor_slices([
            Tensor::from_vec([0_i64, 1].repeat(count), &[count, 2]).unwrap()
        ])
        .unwrap()
    }

    #[test]
    fn which_elements_are_flipped_is_that_of_every_version() {
        let drawn = |epoch| {
            flipped(
                &pairs(12)
                    .flip(&[0], FlipOptions { seed: Some(7), ..FlipOptions::default() })
                    .unwrap(),
                epoch,
            )
        };
        let words = |flags: Vec<bool>| {
            flags.into_iter().map(|flag| if flag { 'x' } else { '.' }).collect::<String>()
        };
        assert_eq!([words(drawn(0)), words(drawn(1))], ["x...xxxx..xx", ".x...x......"]);
    }

    #[test]
    fn elements_are_flipped_as_often_as_asked() {
        for (probability, expected) in [(0.0, 0.0), (0.25, 2500.0), (0.5, 5000.0), (1.0, 10_000.0)]
        {
            let dataset = pairs(10_000)
                .flip(&[0], FlipOptions { probability, seed: Some(1), ..FlipOptions::default() })
                .unwrap();
            let count = flipped(&dataset, 2).into_iter().filter(|flag| *flag).count();
            // The standard deviation is at most 50.
            assert!(
                (count as f64 - expected).abs()
                    < if expected % 10_000.0 == 0.0 { 0.5 } else { 200.0 },
                "{probability}: {count}"
            );
        }
    }

    #[test]
    fn axes_and_epochs_draw_independently_with_one_seed_and_components_together() {
        let pairs = Tensor::from_vec([0_i64, 1].repeat(2000), &[2000, 2]).unwrap();
        let both =
            Dataset::from_tensor_slices([pairs, small_numbers(DType::Int16, &[2000, 3, 5], 3)])
                .unwrap();
        let one =
            both.flip(&[-1], FlipOptions { seed: Some(3), ..FlipOptions::default() }).unwrap();
        let as_asked = |at: usize, axes: &[i64]| {
            let was = elements(&both);
            elements(
                &both
                    .flip(
                        axes,
                        FlipOptions {
                            seed: Some(3),
                            which: Some(&[at == 0, at == 1]),
                            ..FlipOptions::default()
                        },
                    )
                    .unwrap(),
            )
            .iter()
            .zip(&was)
            .map(|(got, was)| got[at].2 == oracle(&was[at], axes))
            .collect::<Vec<bool>>()
        };
        let (first, second) = (as_asked(0, &[-1]), as_asked(1, &[-1]));
        assert_eq!(first, second);
        assert_eq!(flipped(&one, 0), first);
        let agree = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        // Expected: 1,000 of 2,000, with a standard deviation of 22.
        for other in [as_asked(1, &[0]), as_asked(1, &[0, 1]), flipped(&one, 1)] {
            assert!((900..1100).contains(&agree(&first, &other)));
        }
    }

    #[test]
    fn seeds_are_drawn_only_where_something_is_left_to_chance() {
        for probability in [0.0, 1.0] {
            let certain =
                pairs(3).flip(&[0], FlipOptions { probability, ..FlipOptions::default() }).unwrap();
            assert!(certain.drawn_seeds().is_empty() && !certain.depends_on_epoch());
        }
        let [one, other] = [0, 1].map(|_| pairs(200).flip(&[0], FlipOptions::default()).unwrap());
        assert_ne!(flipped(&one, 0), flipped(&other, 0));
        let mut change = Change { seeds: one.drawn_seeds().into(), ..Change::default() };
        assert_eq!(flipped(&other.rebuild(&mut change).unwrap(), 0), flipped(&one, 0));
        assert!(one.depends_on_epoch() && one.to_string().ends_with(" | flip([0], 0.5)"));
        let given = pairs(2)
            .flip(&[0], FlipOptions { probability: 0.25, seed: Some(9), which: Some(&[true]) })
            .unwrap();
        assert!(given.to_string().ends_with(" | flip([0], 0.25, seed=9, which=[0])"), "{given}");
    }

    #[test]
    fn what_cannot_be_flipped_is_refused_when_it_is_built_or_at_its_element() {
        let input = images(&[4, 2, 3]);
        let error = |axes: &[i64], probability| {
            input
                .flip(axes, FlipOptions { probability, ..FlipOptions::default() })
                .err()
                .unwrap()
                .to_string()
        };
        assert!(
            error(&[2], 0.5).starts_with(
                "flip: component 0 (int16[2, 3]): it has 2 dimensions, none of them 2."
            )
        );
        assert!(error(&[-3], 0.5).contains("none of them -3"));
        assert!(error(&[i64::MIN], 0.5).contains("none of them -9"));
        assert!(error(&[1, -1], 0.5).contains("axis -1 is named twice"));
        assert!(error(&[], 0.5).contains("no axis"));
        for probability in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(error(&[0], probability).contains("probability has to be"));
        }
        let late = shapeless(&input)
            .flip(&[2], FlipOptions { seed: Some(1), ..FlipOptions::default() })
            .unwrap();
        let failed = late.stage.get(3, &context(0)).err().unwrap().to_string();
        assert!(
            failed
                .starts_with("flip: element 3: component 0, of shape [2, 3]: it has 2 dimensions"),
            "{failed}"
        );
    }

    #[test]
    fn streams_draw_by_the_elements_number_and_resume_anywhere() {
        let stacked = |numbers: Dataset| {
            numbers
                .batch_with(2, BatchOptions::DROP_REMAINDER)
                .unwrap()
                .flip(&[0], FlipOptions { seed: Some(5), ..FlipOptions::default() })
                .unwrap()
        };
        assert_resumes(&stacked(counting(13)));
        assert_rebuilds(&stacked(counting(13)));
        let cx = context(4);
        let values = |dataset: &Dataset| {
            let mut stream = crate::testing::Pass(dataset.element_iter(&cx).unwrap());
            crate::testing::rest(&mut stream)
        };
        assert_eq!(values(&stacked(counting(13))), values(&stacked(range(13))));
        assert_eq!(cx.epoch, Epoch(4));
    }
}
