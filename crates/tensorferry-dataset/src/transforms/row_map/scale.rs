//! `scale`: multiplies and adds in float32.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::stage::Dataset;
use crate::transforms::row_map::boxes::known;
use crate::transforms::row_map::factor::{Factor, factors};
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, misfit, select_at};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::convert::rows::{Factors, scale};
use tensorferry_core::{DType, Dims, Kind, TensorSpec};

/// What to multiply by and to add.
type Pair = (Factor, Factor);

struct Scale {
    asked: Asked,
    parts: Vec<Part>,
}

/// The arguments.
#[derive(Clone)]
enum Asked {
    Same(Pair, Option<Vec<bool>>),
    Each(Vec<Option<Pair>>),
}

/// What is known of a component.
struct Part {
    from: Option<DType>,
    pair: Option<Pair>,
    /// The factors of rows of the shape in the specification.
    known: Option<(Dims, Factors)>,
}

impl Dataset {
    /// Computes `x * mul + add` in float32 for the components that `which` selects, by default all.
    /// `mul` and `add` are numbers, or arrays that broadcast against the last dimensions of the
    /// components: see [`Factor`].
    ///
    /// `x`, `mul` and `add` are rounded to the nearest float32, then the product, then the sum. The
    /// result is the same on every machine: a fused multiply-add, which rounds once, is not used.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let images = Tensor::from_vec(vec![0_u8, 64, 255, 128], &[2, 2])?;
    /// let dataset = Dataset::from_tensor_slices([images])?.scale(1.0 / 256.0, -0.5, None)?;
    /// let element = dataset.get(0)?;
    /// let row = element[0].tensor()?.view::<f32>()?;
    /// assert_eq!(row.as_slice(), Some(&[-0.5, -0.25][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `mul` or `add` is not finite in float32, if one does not broadcast
    /// against a component, if a component to scale is complex or a dataset, or if the length of
    /// `which` differs from the number of components. If an element of unknown shape does not
    /// match, computing it is an error.
    pub fn scale(
        &self,
        mul: impl Into<Factor>,
        add: impl Into<Factor>,
        which: Option<&[bool]>,
    ) -> Result<Self> {
        Scale::over(self, Asked::Same((mul.into(), add.into()), which.map(<[bool]>::to_vec)))
    }

    /// As [`Dataset::scale`], with the factor and the summand of each component; `None` keeps it.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let sources = [Tensor::from_vec(vec![4_u8], &[1])?, Tensor::from_vec(vec![4_u8], &[1])?];
    /// let factors = [Some((0.5.into(), 0.0.into())), None];
    /// let element = Dataset::from_tensor_slices(sources)?.scale_each(&factors)?.get(0)?;
    /// assert_eq!(element[0].tensor()?.view::<f32>()?.as_slice(), Some(&[2.0][..]));
    /// assert_eq!(element[1].tensor()?.view::<u8>()?.as_slice(), Some(&[4][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::scale`].
    pub fn scale_each(&self, factors: &[Option<Pair>]) -> Result<Self> {
        Scale::over(self, Asked::Each(factors.to_vec()))
    }
}

impl Asked {
    /// Whether each component is scaled; `None` for all.
    fn which(&self) -> Option<Vec<bool>> {
        match self {
            Self::Same(_, which) => which.clone(),
            Self::Each(pairs) => Some(pairs.iter().map(Option::is_some).collect()),
        }
    }

    /// The factors of component `at`, if it is scaled.
    fn pair(&self, at: usize) -> Option<&Pair> {
        match self {
            Self::Same(pair, _) => Some(pair),
            Self::Each(pairs) => pairs.get(at)?.as_ref(),
        }
    }

    fn check(&self) -> Result<()> {
        let pairs: Vec<&Pair> = match self {
            Self::Same(pair, _) => vec![pair],
            Self::Each(pairs) => pairs.iter().flatten().collect(),
        };
        match pairs.iter().find(|(mul, add)| !mul.is_finite() || !add.is_finite()) {
            Some((mul, add)) => {
                let what = format!("mul={mul} and add={add} have to be finite in float32");
                Err(Error::Argument { stage: "scale", what })
            }
            None => Ok(()),
        }
    }
}

impl Scale {
    fn over(input: &Dataset, asked: Asked) -> Result<Dataset> {
        asked.check()?;
        let which = asked.which();
        let pairs: Vec<Option<&Pair>> = (0..input.spec().len()).map(|at| asked.pair(at)).collect();
        let changes = select_at(
            input,
            "scale",
            which.as_deref(),
            |_| Ok(true),
            |at, spec| scaled(spec, pairs[at]),
        )?;
        let part = |(at, part): (usize, &crate::spec::Component)| {
            let (spec, pair) = (part.tensor(), asked.pair(at).cloned());
            let known = spec.and_then(TensorSpec::fixed).zip(pair.as_ref()).and_then(
                |((shape, _), (mul, add))| Some((shape.clone(), factors(mul, add, &shape)?)),
            );
            Part { from: spec.map(|spec| spec.dtype), pair, known }
        };
        let parts = input.spec().iter().enumerate().map(part).collect();
        Ok(row_mapped(input, Self { asked, parts }, changes))
    }
}

/// The specification of a scaled component.
fn scaled(spec: &TensorSpec, pair: Option<&Pair>) -> Result<TensorSpec, Obstacle> {
    if spec.dtype.kind() == Kind::Complex {
        return Err(Obstacle::optional("a complex number has no float32 equivalent."));
    }
    if let (Some(dims), Some((mul, add))) = (spec.shape.dims(), pair)
        && let Some(obstacle) = mul.obstacle(dims).or_else(|| add.obstacle(dims))
    {
        return Err(Obstacle::optional(obstacle));
    }
    Ok(TensorSpec::new(DType::Float32, spec.shape.clone()))
}

impl RowMap for Scale {
    fn stage(&self) -> &'static str {
        "scale"
    }

    fn describe(&self) -> String {
        match &self.asked {
            Asked::Same((mul, add), which) => {
                format!("scale({mul}, {add}{})", chosen(which.as_deref()))
            }
            Asked::Each(pairs) => {
                let pair = |pair: &Option<Pair>| match pair {
                    Some((mul, add)) => format!("({mul}, {add})"),
                    None => "_".into(),
                };
                format!("scale({})", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        Self::over(input, self.asked.clone())
    }

    fn keeps_length(&self, at: usize, ndim: usize) -> bool {
        self.parts[at].pair.as_ref().is_none_or(|(mul, add)| mul.ndim().max(add.ndim()) < ndim)
    }

    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims> {
        if let Some((mul, add)) = &self.parts[at].pair {
            let dims = known(row);
            if let Some(obstacle) = mul.obstacle(&dims).or_else(|| add.obstacle(&dims)) {
                return Err(misfit(at, row, Obstacle::optional(obstacle)));
            }
        }
        Ok(row.into())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let Part { from: Some(from), pair: Some((mul, add)), known } = &self.parts[at] else {
            return Ok(());
        };
        let made;
        let factors = match known {
            Some((shape, factors)) if shape.as_slice() == block.shape => factors,
            _ => match factors(mul, add, block.shape) {
                Some(factors) => {
                    made = factors;
                    &made
                }
                None => return Ok(()), // rows without elements
            },
        };
        // False only for complex numbers and unequal lengths, which are refused before.
        let scaled = scale(*from, block.rows, factors, block.out);
        debug_assert!(scaled);
        Ok(())
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a test rounds as the documentation says"
)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, shapeless, small_numbers, values};
    use crate::testing::assert_rebuilds;
    use tensorferry_core::Tensor;
    use tensorferry_core::convert::scalar::Value;

    #[test]
    fn every_real_dtype_is_scaled_in_two_roundings() {
        for from in DType::ALL.into_iter().filter(|dtype| dtype.kind() != Kind::Complex) {
            let input = Dataset::from_tensor_slices([small_numbers(from, &[3, 2500], 3)]).unwrap();
            let scaled = input.scale(0.1, -1e-3, None).unwrap();
            for (got, was) in elements(&scaled).iter().zip(elements(&input)) {
                let expected: Vec<Value> = values(&was[0])
                    .into_iter()
                    .map(|value| match value {
                        Value::Bool(value) => f32::from(u8::from(value)),
                        Value::Int(value) => value as f32,
                        Value::Float(value) | Value::Complex(value, _) => value as f32,
                    })
                    .map(|value| Value::Float(f64::from(value * 0.1_f32 + -1e-3_f32)))
                    .collect();
                assert_eq!(values(&got[0]), expected, "{from}");
            }
        }
    }

    #[test]
    fn values_are_rounded_to_float32_first_and_each_step_after() {
        let numbers = Tensor::from_vec(
            vec![16_777_217.0_f64, 1e300, -1e300, f64::NAN, 1.0 + f64::from(f32::EPSILON)],
            &[1, 5],
        )
        .unwrap();
        let scaled = Dataset::from_tensor_slices([numbers])
            .unwrap()
            .scale(1.0 + f64::from(f32::EPSILON), -1.0, None)
            .unwrap();
        let got = scaled.get(0).unwrap()[0]
            .tensor()
            .unwrap()
            .view::<f32>()
            .unwrap()
            .as_slice()
            .unwrap()
            .to_vec();
        assert_eq!(got[0], 16_777_218.0 - 1.0);
        assert_eq!(got[1], f32::INFINITY);
        assert_eq!(got[2], f32::NEG_INFINITY);
        assert!(got[3].is_nan());
        assert_eq!(got[4], 2.0 * f32::EPSILON, "a fused multiply-add would keep epsilon squared");
        let large = Tensor::from_vec(vec![i64::MAX, u32::MAX.into()], &[2]).unwrap();
        let kept = Dataset::from_tensor_slices([large]).unwrap().scale(1.0, 0.0, None).unwrap();
        assert_eq!(values(&elements(&kept)[0][0]), [Value::Float(9_223_372_036_854_775_808.0)]);
        assert_eq!(values(&elements(&kept)[1][0]), [Value::Float(4_294_967_296.0)]);
    }

    #[test]
    fn complex_numbers_and_arguments_past_float32_are_refused_when_it_is_built() {
        let input = Dataset::from_tensor_slices([
            small_numbers(DType::Complex64, &[2], 1),
            small_numbers(DType::UInt8, &[2], 1),
        ])
        .unwrap();
        let error = input.scale(1.0, 0.0, None).err().unwrap();
        assert_eq!(
            error.to_string(),
            "scale: component 0 (complex64[]): a complex number has no float32 equivalent. To \
            leave a component out, pass which of them to change."
        );
        assert!(input.scale(1e39, 0.0, Some(&[false, true])).is_err());
        let chosen = input.scale(2.0, 0.5, Some(&[false, true])).unwrap();
        assert!(chosen.to_string().ends_with(" | scale(2.0, 0.5, which=[1])"), "{chosen}");
    }

    fn array(values: &[f32], shape: &[usize]) -> Factor {
        Factor::array(&Tensor::from_vec(values.to_vec(), shape).unwrap()).unwrap()
    }

    fn floats(plain: &crate::all_ways::Plain) -> Vec<f32> {
        plain.2.chunks(4).map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap())).collect()
    }

    #[test]
    fn arrays_broadcast_against_the_last_dimensions() {
        let shape = [2_usize, 70, 3];
        let input =
            Dataset::from_tensor_slices([small_numbers(DType::Int16, &[3, 2, 70, 3], 7)]).unwrap();
        for lens in [&[][..], &[1], &[3], &[70, 1], &[1, 3], &[2, 1, 1], &[2, 70, 3], &[1, 70, 1]] {
            let count = lens.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|at| at as f32 * 0.3 + 0.1).collect();
            for (add, step) in [(array(&[0.5, -1.5, 2.5], &[3]), true), (0.5.into(), false)] {
                let scaled = input.scale(array(&values, lens), add, None).unwrap();
                let all = all_ways(&scaled, 0);
                for (got, was) in all.iter().zip(elements(&input)) {
                    let got = floats(&got.as_ref().unwrap()[0]);
                    for (at, (got, was)) in got.iter().zip(was[0].2.chunks(2)).enumerate() {
                        let place = [at / 210, at / 3 % 70, at % 3];
                        let mut index = 0;
                        for (axis, len) in (3 - lens.len()..).zip(lens) {
                            index = index * len + if *len == 1 { 0 } else { place[axis] };
                        }
                        let x = f32::from(i16::from_ne_bytes(was.try_into().unwrap()));
                        let add = if step { [0.5, -1.5, 2.5][at % 3] } else { 0.5 };
                        assert_eq!(*got, x * values[index] + add, "{lens:?} {at} of {shape:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_component_has_its_own_factors() {
        let sources =
            [small_numbers(DType::UInt8, &[4, 2], 1), small_numbers(DType::UInt8, &[4], 2)];
        let input = Dataset::from_tensor_slices(sources).unwrap();
        let pairs = [Some((array(&[2.0, 3.0], &[2]), 1.0.into())), None];
        let scaled = input.scale_each(&pairs).unwrap();
        for (got, was) in elements(&scaled).iter().zip(elements(&input)) {
            let x = |at: usize| f32::from(was[0].2[at]);
            assert_eq!(floats(&got[0]), [x(0) * 2.0 + 1.0, x(1) * 3.0 + 1.0]);
            assert_eq!(got[1], was[1]);
        }
        assert!(scaled.to_string().contains(" | scale((float32[2] hash="), "{scaled}");
        assert!(scaled.to_string().ends_with(", 1.0), _)"), "{scaled}");
        assert_rebuilds(&scaled);
        assert_eq!(
            input.scale_each(&pairs[..1]).err().unwrap().to_string(),
            "scale: which selects from 1 components; elements have 2"
        );
    }

    #[test]
    fn factors_that_do_not_broadcast_are_refused_when_it_is_built_or_at_their_element() {
        let input =
            Dataset::from_tensor_slices([small_numbers(DType::UInt8, &[4, 2, 3], 1)]).unwrap();
        for lens in [&[2][..], &[3, 3], &[1, 2, 3]] {
            let factor = array(&vec![1.0; lens.iter().product()], lens);
            let error = input.scale(1.0, factor.clone(), None).err().unwrap().to_string();
            assert!(error.contains("do not broadcast against its last dimensions"), "{error}");
            let late = shapeless(&input).scale(factor, 0.0, None).unwrap();
            assert!(all_ways(&late, 0).iter().all(|element| {
                element.as_ref().is_err_and(|error| error.contains("do not broadcast"))
            }));
        }
        let infinite = input.scale(array(&[1.0, f32::INFINITY, 0.0], &[3]), 0.0, None);
        assert!(infinite.err().unwrap().to_string().contains("finite"));
        let complex = small_numbers(DType::Complex64, &[2], 1);
        assert!(Factor::array(&complex).is_err());
    }
}
