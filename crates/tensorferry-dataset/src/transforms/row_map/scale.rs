//! `scale`: multiplies and adds in float32.
#![allow(
    clippy::cast_possible_truncation,
    reason = "arguments become float32 by rounding; that they stay finite is checked"
)]

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::stage::Dataset;
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, select};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::{
    ByteOrder, Casting, DType, Dims, Kind, TensorSpec, View, ViewMut, convert_into,
};

/// Values to convert at once: input and output fit in a core's innermost cache.
const PART: usize = 2048;

struct Scale {
    mul: f64,
    add: f64,
    which: Option<Vec<bool>>,
    from: Vec<Option<DType>>,
}

impl Dataset {
    /// Computes `x * mul + add` in float32 for the components that `which` selects, by default all.
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
    /// [`Error::Argument`] if `mul` or `add` is not finite in float32, if a component to scale is
    /// complex or a dataset, or if the length of `which` differs from the number of components.
    pub fn scale(&self, mul: f64, add: f64, which: Option<&[bool]>) -> Result<Self> {
        if !(mul as f32).is_finite() || !(add as f32).is_finite() {
            let what = format!("mul={mul:?} and add={add:?} have to be finite in float32");
            return Err(Error::Argument { stage: "scale", what });
        }
        let changes = select(
            self,
            "scale",
            which,
            |_| Ok(true),
            |spec| match spec.dtype.kind() {
                Kind::Complex => {
                    Err(Obstacle::optional("a complex number has no float32 equivalent."))
                }
                _ => Ok(TensorSpec::new(DType::Float32, spec.shape.clone())),
            },
        )?;
        let from = self.spec().iter().map(|part| part.tensor().map(|spec| spec.dtype)).collect();
        let map = Scale { mul, add, which: which.map(<[bool]>::to_vec), from };
        Ok(row_mapped(self, map, changes))
    }
}

impl RowMap for Scale {
    fn stage(&self) -> &'static str {
        "scale"
    }

    fn describe(&self) -> String {
        format!("scale({:?}, {:?}{})", self.mul, self.add, chosen(self.which.as_deref()))
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        input.scale(self.mul, self.add, self.which.as_deref())
    }

    fn keeps_length(&self) -> bool {
        true
    }

    fn shape(&self, _at: usize, row: &[usize]) -> Result<Dims> {
        Ok(row.into())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let Some(from) = self.from[at] else { return Ok(()) };
        let (mul, add) = (self.mul as f32, self.add as f32);
        for (rows, out) in block.rows.chunks(PART * from.size()).zip(block.out.chunks_mut(PART * 4))
        {
            let shape = [rows.len() / from.size()];
            let rows = View::from_bytes(from, ByteOrder::Native, rows, &shape)?;
            // Here, `Saturate` rounds to the nearest float32 for every dtype and never fails.
            convert_into(
                &rows,
                &mut ViewMut::from_bytes(DType::Float32, out, &shape)?,
                Casting::Saturate,
            )?;
            for value in out.as_chunks_mut().0 {
                *value = (f32::from_ne_bytes(*value) * mul + add).to_ne_bytes();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{elements, small_numbers, values};
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
}
