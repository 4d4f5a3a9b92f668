//! `random_crop`: crops each element at a random position.

use crate::checkpoint::change::Change;
use crate::error::{Error, Hint, Result};
use crate::shuffle::prng::{Purpose, Random, Seed};
use crate::stage::{Dataset, Element};
use crate::transforms::row_map::boxes::{cut, known, words};
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, misfit, select};
use crate::transforms::row_map::stage::row_mapped;
use std::ops::Range;
use tensorferry_core::{Dims, Shape, TensorSpec};

const STAGE: &str = "random_crop";

/// How [`Dataset::random_crop`] chooses positions and components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CropOptions<'a> {
    /// The seed of the positions. By default, a seed is drawn and recorded in checkpoints.
    pub seed: Option<u64>,
    /// Whether to crop each component; all by default.
    pub which: Option<&'a [bool]>,
}

struct RandomCrop {
    size: Vec<Option<usize>>,
    seed: Seed,
    which: Option<Vec<bool>>,
    /// Indices of the cropped components.
    cropped: Vec<usize>,
}

impl Dataset {
    /// Crops the leading dimensions of each element to the lengths `size`, at a position that is
    /// uniformly distributed. `None` keeps a dimension, as do dimensions beyond `size`. The
    /// components that `which` selects (by default all) are cropped at the same position.
    ///
    /// The position follows from `seed`, the element's index and the epoch. Without a seed, one is
    /// drawn and recorded in checkpoints.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{CropOptions, Dataset};
    ///
    /// let image = Tensor::from_vec((0_u8..24).collect(), &[1, 4, 6])?;
    /// let options = CropOptions { seed: Some(4), ..CropOptions::default() };
    /// let crops =
    ///     Dataset::from_tensor_slices([image])?.random_crop(&[Some(2), Some(3)], options)?;
    /// let crop = crops.get(0)?;
    /// assert_eq!(crop[0].tensor()?.view::<u8>()?.as_slice(), Some(&[8, 9, 10, 14, 15, 16][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if a component has too few or too short dimensions, if known dimensions
    /// of several components differ, or if the length of `which` differs from the number of
    /// components. For unknown dimensions, the error comes when an element is computed.
    pub fn random_crop(&self, size: &[Option<usize>], options: CropOptions<'_>) -> Result<Self> {
        let CropOptions { seed, which } = options;
        RandomCrop::over(self, size, Seed::new(seed), which)
    }
}

impl RandomCrop {
    fn over(
        input: &Dataset,
        size: &[Option<usize>],
        seed: Seed,
        which: Option<&[bool]>,
    ) -> Result<Dataset> {
        if size.is_empty() || size.contains(&Some(0)) {
            let what = format!(
                "at least one length has to be given, and each has to be at least 1, not {}",
                words(size)
            );
            return Err(Error::Argument { stage: STAGE, what });
        }
        let changes = select(input, STAGE, which, |_| Ok(true), |spec| cropped(spec, size))?;
        let is_cropped =
            |(at, change): (usize, &Option<TensorSpec>)| change.is_some().then_some(at);
        let cropped: Vec<usize> = changes.iter().enumerate().filter_map(is_cropped).collect();
        let dims =
            cropped.iter().filter_map(|&at| Some((at, input.spec()[at].tensor()?.shape.dims()?)));
        together(size, dims).map_err(|error| input.explain(error))?;
        Ok(row_mapped(
            input,
            Self { size: size.to_vec(), seed, which: which.map(<[bool]>::to_vec), cropped },
            changes,
        ))
    }

    /// The range of each leading dimension that is kept.
    fn ranges<'a>(
        &'a self,
        random: Random,
        index: u64,
        shape: &'a [usize],
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let first = index.wrapping_mul(self.size.len() as u64);
        let part = move |(at, (size, len)): (u64, (&Option<usize>, &usize))| {
            let size = size.unwrap_or(*len);
            let places = (len.saturating_sub(size) + 1) as u64;
            // Less than a length, so it fits.
            let start = usize::try_from(random.below(first.wrapping_add(at), places)).unwrap_or(0);
            start..start + size
        };
        (0..).zip(self.size.iter().zip(shape)).map(part)
    }
}

/// The specification of a cropped component.
fn cropped(spec: &TensorSpec, size: &[Option<usize>]) -> Result<TensorSpec, Obstacle> {
    let Some(dims) = spec.shape.dims() else {
        return Ok(TensorSpec::new(spec.dtype, Shape::unknown()));
    };
    fits(size, dims)?;
    let left = (0..dims.len()).map(|at| size.get(at).copied().flatten().or(dims[at]));
    Ok(TensorSpec::new(spec.dtype, Shape::new(left)))
}

/// Checks that known dimensions are at least as long as the crop.
fn fits(size: &[Option<usize>], dims: &[Option<usize>]) -> Result<(), Obstacle> {
    if dims.len() < size.len() {
        return Err(Obstacle::optional(format!(
            "it has fewer dimensions than the {} to crop.",
            size.len()
        )));
    }
    let short = |(size, dim): (&Option<usize>, &Option<usize>)| {
        size.zip(*dim).is_some_and(|(size, dim)| dim < size)
    };
    if size.iter().zip(dims).any(short) {
        return Err(Obstacle::optional(format!(
            "it is smaller than the crop, {}. Pad it first, with pad_to.",
            words(size)
        )));
    }
    Ok(())
}

/// Checks that the cropped dimensions of all components have the same length, if known.
fn together<'a>(
    size: &[Option<usize>],
    parts: impl Iterator<Item = (usize, &'a [Option<usize>])> + Clone,
) -> Result<()> {
    for axis in (0..size.len()).filter(|axis| size[*axis].is_some()) {
        let mut known = parts.clone().filter_map(|(at, dims)| Some((at, (*dims.get(axis)?)?)));
        let Some((first, len)) = known.next() else { continue };
        if let Some((other, its)) = known.find(|(_, its)| *its != len) {
            let parts = Box::new([(first.into(), len), (other.into(), its)]);
            let error = Error::UnequalLengths { stage: STAGE, axis: Some(axis), parts };
            return Err(error.with_hint(Hint::CropTwice));
        }
    }
    Ok(())
}

impl RowMap for RandomCrop {
    fn stage(&self) -> &'static str {
        STAGE
    }

    fn describe(&self) -> String {
        let seed = self.seed.describe().map(|seed| format!(", {seed}")).unwrap_or_default();
        format!("{STAGE}({}{seed}{})", words(&self.size), chosen(self.which.as_deref()))
    }

    fn rebuild(&self, input: &Dataset, change: &mut Change) -> Result<Dataset> {
        Self::over(input, &self.size, self.seed.rebuilt(change), self.which.as_deref())
    }

    fn seed(&self) -> Option<&Seed> {
        Some(&self.seed)
    }

    fn depends_on_epoch(&self) -> bool {
        true
    }

    fn check(&self, element: &Element) -> Result<()> {
        let part = |&at: &usize| Ok((at, known(element[at].tensor()?.shape())));
        let parts: Vec<_> = self.cropped.iter().map(part).collect::<Result<_>>()?;
        together(&self.size, parts.iter().map(|(at, dims)| (*at, dims.as_slice())))
    }

    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims> {
        let misfit = |what| misfit(at, row, what);
        fits(&self.size, &known(row)).map_err(misfit)?;
        Ok((0..row.len())
            .map(|axis| self.size.get(axis).copied().flatten().unwrap_or(row[axis]))
            .collect())
    }

    fn apply(&self, _at: usize, block: Block<'_>) -> Result<()> {
        let random = Random::new(Purpose::Crop, self.seed.value, block.epoch.0);
        let shape = block.shape;
        let mut ranges = Vec::with_capacity(self.size.len());
        for (index, row, out) in block.each() {
            ranges.clear();
            ranges.extend(self.ranges(random, index, shape));
            cut(row, shape, &ranges, out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{Plain, all_ways, context, elements, shapeless, small_numbers, tensor};
    use crate::testing::{assert_rebuilds, assert_resumes, counting};
    use crate::{BatchOptions, CropOptions};
    use tensorferry_core::{DType, Index, Tensor};
    use tensorferry_io::gather::rows_out::packed;

    /// Elements whose values are all different.
    fn numbered(shape: &[usize]) -> Dataset {
        all_numbered(&[shape])
    }

    fn all_numbered(shapes: &[&[usize]]) -> Dataset {
        let part = |shape: &&[usize]| {
            let len = i64::try_from(shape.iter().product::<usize>()).unwrap();
            Tensor::from_vec((0..len).collect(), shape).unwrap()
        };
        Dataset::from_tensor_slices(shapes.iter().map(part).collect::<Vec<_>>()).unwrap()
    }

    /// The box at a position, as the strided copy of the core crate returns it.
    fn oracle(plain: &Plain, ranges: &[Range<usize>]) -> Vec<u8> {
        let index: Vec<Index> = ranges
            .iter()
            .map(|range| Index::Slice { start: range.start, step: 1, len: range.len() })
            .collect();
        packed(&tensor(plain.0, &plain.1, &plain.2).index(&index).unwrap())
            .unwrap()
            .as_view()
            .as_bytes()
            .unwrap()
            .to_vec()
    }

    /// The position of each crop. Panics if a crop is not a box of its element.
    fn places(input: &Dataset, cropped: &Dataset, at: usize, epoch: u64) -> Vec<Vec<usize>> {
        let was = elements(input);
        let got: Vec<_> =
            all_ways(cropped, epoch).into_iter().map(|element| element.unwrap()).collect();
        let place = |(got, was): (&Vec<Plain>, &Vec<Plain>)| {
            let (got, was) = (&got[at], &was[at]);
            let first = was.2.chunks(8).position(|value| value == &got.2[..8]).unwrap();
            let mut rest = first;
            let mut starts: Vec<usize> =
                was.1.iter().rev().map(|len| (rest % len, rest /= len).0).collect();
            starts.reverse();
            let ranges: Vec<_> =
                starts.iter().zip(&got.1).map(|(&start, len)| start..start + len).collect();
            assert_eq!(got.2, oracle(was, &ranges));
            starts
        };
        got.iter().zip(&was).map(place).collect()
    }

    #[test]
    fn every_crop_is_a_box_of_its_element_and_lies_anywhere() {
        let cases: [(&[usize], &[Option<usize>]); 8] = [
            (&[9], &[Some(4)]),
            (&[5, 7], &[Some(2), Some(3)]),
            (&[5, 7], &[None, Some(3)]),
            (&[5, 7], &[Some(2)]),
            (&[4, 5, 3], &[Some(3), Some(2)]),
            (&[4, 5, 3], &[Some(4), Some(5), Some(1)]),
            (&[3, 4, 2, 3], &[Some(1), None, Some(1), Some(2)]),
            (&[3, 4], &[Some(3), Some(4)]),
        ];
        for (shape, size) in cases {
            let input = numbered(&[&[400], shape].concat());
            let cropped = input
                .random_crop(size, CropOptions { seed: Some(3), ..CropOptions::default() })
                .unwrap();
            let places = places(&input, &cropped, 0, 1);
            for axis in 0..shape.len() {
                let most = size.get(axis).copied().flatten().map_or(0, |len| shape[axis] - len);
                let starts: std::collections::BTreeSet<usize> =
                    places.iter().map(|place| place[axis]).collect();
                assert_eq!(starts, (0..=most).collect(), "{shape:?} {size:?}");
            }
        }
    }

    #[test]
    fn every_dtype_is_cropped() {
        for dtype in DType::ALL {
            let input =
                Dataset::from_tensor_slices([small_numbers(dtype, &[20, 4, 6], 1)]).unwrap();
            let bytes = Dataset::from_tensor_slices([tensor(
                DType::UInt8,
                &[20, 4, 6, dtype.size()],
                &elements(&input)
                    .iter()
                    .flat_map(|element| element[0].2.clone())
                    .collect::<Vec<u8>>(),
            )])
            .unwrap();
            let crops = |dataset: &Dataset| -> Vec<Vec<u8>> {
                let cropped = dataset
                    .random_crop(
                        &[Some(2), Some(5)],
                        CropOptions { seed: Some(8), ..CropOptions::default() },
                    )
                    .unwrap();
                elements(&cropped).into_iter().map(|mut element| element.remove(0).2).collect()
            };
            assert_eq!(crops(&input), crops(&bytes), "{dtype}");
        }
    }

    #[test]
    fn every_place_is_as_likely() {
        // 4 x 5 positions: chi-square with 19 degrees of freedom, mean 19, standard deviation 6.2.
        let input = numbered(&[1, 5, 7]).repeat(Some(10_000));
        let cropped = input
            .random_crop(
                &[Some(2), Some(3)],
                CropOptions { seed: Some(1), ..CropOptions::default() },
            )
            .unwrap();
        let mut counts = [0_u32; 20];
        for index in 0..10_000 {
            let first = cropped.get(index).unwrap()[0]
                .tensor()
                .unwrap()
                .view::<i64>()
                .unwrap()
                .iter()
                .next()
                .unwrap();
            counts[usize::try_from(first / 7 * 5 + first % 7).unwrap()] += 1;
        }
        let chi: f64 = counts.iter().map(|&count| (f64::from(count) - 500.0).powi(2) / 500.0).sum();
        assert!(chi < 19.0 + 4.0 * 6.2, "{chi} {counts:?}");
    }

    #[test]
    fn places_are_those_of_every_version_and_others_in_every_epoch() {
        let input = numbered(&[6, 9, 9]);
        let cropped = input
            .random_crop(
                &[Some(3), Some(3)],
                CropOptions { seed: Some(7), ..CropOptions::default() },
            )
            .unwrap();
        let [first, second] = [0, 1].map(|epoch| places(&input, &cropped, 0, epoch));
        assert_eq!(first, [[1, 1], [2, 2], [2, 2], [1, 5], [4, 3], [1, 3]]);
        assert_eq!(second, [[6, 6], [5, 6], [6, 1], [2, 2], [4, 5], [6, 5]]);
        assert!(cropped.depends_on_epoch());
    }

    #[test]
    fn components_are_cropped_at_the_same_place() {
        let input = all_numbered(&[&[50, 9, 9], &[50, 9, 9, 3], &[50]]);
        let cropped = input
            .random_crop(
                &[Some(4), Some(5)],
                CropOptions { seed: Some(7), which: Some(&[true, true, false]) },
            )
            .unwrap();
        let (image, mask) = (places(&input, &cropped, 0, 0), places(&input, &cropped, 1, 0));
        assert!(image.iter().zip(&mask).all(|(image, mask)| image == &mask[..2]));
        let apart = input
            .random_crop(
                &[Some(4), Some(5)],
                CropOptions { seed: Some(7), which: Some(&[true, false, false]) },
            )
            .unwrap();
        assert_eq!(
            places(&input, &apart, 0, 0),
            image,
            "the same seed crops at the same place in another stage too"
        );
    }

    #[test]
    fn a_drawn_seed_is_another_every_time_and_can_be_put_back() {
        let input = numbered(&[50, 30]);
        let [one, other] =
            [0, 1].map(|_| input.random_crop(&[Some(4)], CropOptions::default()).unwrap());
        assert_ne!(elements(&one), elements(&other));
        let mut change = Change { seeds: one.drawn_seeds().into(), ..Change::default() };
        assert_eq!(elements(&other.rebuild(&mut change).unwrap()), elements(&one));
        assert!(one.to_string().ends_with(" | random_crop([4])"), "{one}");
        let given = numbered(&[1, 3, 3])
            .random_crop(&[None, Some(2)], CropOptions { seed: Some(9), which: Some(&[true]) })
            .unwrap();
        assert!(
            given.to_string().ends_with(" | random_crop([None, 2], seed=9, which=[0])"),
            "{given}"
        );
    }

    #[test]
    fn what_cannot_be_cropped_is_refused_when_it_is_built_or_at_its_element() {
        let input = all_numbered(&[&[4, 5, 6], &[4, 5, 7], &[4]]);
        let error = |size: &[Option<usize>], which: [bool; 3]| {
            input
                .random_crop(size, CropOptions { which: Some(&which), ..CropOptions::default() })
                .err()
                .unwrap()
                .to_string()
        };
        assert!(error(&[Some(6)], [true, false, false]).starts_with(
            "random_crop: component 0 (int64[5, 6]): it is smaller than the crop, [6]."
        ));
        assert!(
            error(&[Some(2)], [true, true, true])
                .contains("component 2 (int64[]): it has fewer dimensions than the 1 to crop")
        );
        assert!(error(&[None, Some(2)], [true, true, false]).contains(
            "components 0 and 1 are cropped at the same place, but their dimensions \
                    1 differ: 6 and 7"
        ));
        assert!(error(&[], [true, false, false]).contains("at least 1"));
        assert!(
            error(&[Some(0)], [true, false, false]).contains("each has to be at least 1, not [0]")
        );
        assert!(
            input
                .random_crop(
                    &[Some(2), None],
                    CropOptions { which: Some(&[true, true, false]), ..CropOptions::default() }
                )
                .is_ok()
        );
        for (size, expected) in [
            (
                [Some(2), Some(2)],
                "random_crop: element 2: components 0 and 1 are cropped at the same place",
            ),
            (
                [Some(6), None],
                "random_crop: element 2: component 0, of shape [5, 6]: it is smaller",
            ),
        ] {
            let late = shapeless(&input)
                .random_crop(
                    &size,
                    CropOptions { seed: Some(1), which: Some(&[true, true, false]) },
                )
                .unwrap();
            let failed = late.stage.get(2, &context(0)).err().unwrap().to_string();
            assert!(failed.starts_with(expected), "{failed}");
        }
    }

    #[test]
    fn streams_resume_anywhere() {
        let dataset = counting(13)
            .batch_with(4, BatchOptions::DROP_REMAINDER)
            .unwrap()
            .random_crop(&[Some(2)], CropOptions { seed: Some(5), ..CropOptions::default() })
            .unwrap();
        assert_resumes(&dataset);
        assert_rebuilds(&dataset);
    }
}
