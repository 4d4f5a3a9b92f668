//! `pad_to`: pads elements to one shape.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::stage::Dataset;
use crate::transforms::row_map::boxes::{fill, known, place, words};
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, misfit, select};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::{Casting, Dims, Shape, Tensor, TensorSpec, ViewMut, convert_into};
use tensorferry_io::gather::rows_out::packed;

const STAGE: &str = "pad_to";

/// How [`Dataset::pad_to`] pads.
#[derive(Clone, Debug, Default)]
pub struct PadToOptions<'a> {
    /// The scalar to pad with, which each padded dtype must be able to represent; 0 by default.
    pub value: Option<Tensor>,
    /// Whether to pad each component; all by default.
    pub which: Option<&'a [bool]>,
}

struct PadTo {
    lens: Vec<Option<usize>>,
    value: Tensor,
    which: Option<Vec<bool>>,
    /// The value in each component's dtype; empty for components that are not padded.
    values: Vec<Vec<u8>>,
}

impl Dataset {
    /// Pads elements at the end of each dimension to `lens`; `None` keeps a dimension's length. To
    /// pad to the longest element of a batch, use [`Dataset::padded_batch`].
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, PadToOptions};
    ///
    /// let rows = Tensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[2, 3])?;
    /// let value = Some(Tensor::from_vec(vec![9_i64], &[])?);
    /// let options = PadToOptions { value, ..PadToOptions::default() };
    /// let padded = Dataset::from_tensor_slices([rows])?.pad_to(&[Some(5)], options)?.get(1)?;
    /// let padded = padded[0].tensor()?.view::<u8>()?;
    /// assert_eq!(padded.as_slice(), Some(&[4, 5, 6, 9, 9][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the value is not a scalar, if a component to pad has another number
    /// of dimensions or a known dimension that is larger, or if the length of `which` differs from
    /// the number of components; [`tensorferry_core::Error::ValuesDoNotFit`] or
    /// [`tensorferry_core::Error::CastNotDefined`] if a dtype cannot represent the value. For
    /// unknown dimensions, the error comes when an element is computed.
    pub fn pad_to(&self, lens: &[Option<usize>], options: PadToOptions<'_>) -> Result<Self> {
        let PadToOptions { value, which } = options;
        let value = match value {
            Some(value) => value,
            None => Tensor::from_vec(vec![0_u8], &[])?,
        };
        if value.layout().ndim() != 0 {
            return Err(Error::Argument {
                stage: STAGE,
                what: format!("value has to be a scalar, not of shape {:?}", value.shape()),
            });
        }
        let changes = select(self, STAGE, which, |_| Ok(true), |spec| padded(spec, lens))?;
        let in_dtype = |(at, change): (usize, &Option<TensorSpec>)| match change {
            Some(spec) => scalar(&value, spec).map_err(|error| self.misfit(at, error)),
            None => Ok(Vec::new()),
        };
        let values = changes.iter().enumerate().map(in_dtype).collect::<Result<_>>()?;
        let map = PadTo {
            lens: lens.to_vec(),
            value: packed(&value)?,
            which: which.map(<[bool]>::to_vec),
            values,
        };
        Ok(row_mapped(self, map, changes))
    }
}

/// The bytes of the value in a component's dtype.
fn scalar(value: &Tensor, spec: &TensorSpec) -> Result<Vec<u8>> {
    let mut bytes = vec![0; spec.dtype.size()];
    convert_into(
        &value.as_view(),
        &mut ViewMut::from_bytes(spec.dtype, &mut bytes, &[])?,
        Casting::Checked,
    )?;
    Ok(bytes)
}

/// The specification of a padded component.
fn padded(spec: &TensorSpec, lens: &[Option<usize>]) -> Result<TensorSpec, Obstacle> {
    let Some(dims) = spec.shape.dims() else {
        return Ok(TensorSpec::new(spec.dtype, Shape::new(lens.iter().copied())));
    };
    fits(lens, dims)?;
    Ok(TensorSpec::new(
        spec.dtype,
        Shape::new(lens.iter().zip(dims).map(|(len, dim)| len.or(*dim))),
    ))
}

/// Checks that known dimensions are not longer than those to pad to.
fn fits(lens: &[Option<usize>], dims: &[Option<usize>]) -> Result<(), Obstacle> {
    if dims.len() != lens.len() {
        return Err(Obstacle::optional(format!(
            "it has {} dimensions, the shape to pad to, {}, has {}.",
            dims.len(),
            words(lens),
            lens.len()
        )));
    }
    let long = |(len, dim): (&Option<usize>, &Option<usize>)| {
        len.zip(*dim).is_some_and(|(len, dim)| dim > len)
    };
    if lens.iter().zip(dims).any(long) {
        return Err(Obstacle::optional(format!(
            "it is larger than the shape to pad to, {}. Crop it first, with random_crop.",
            words(lens)
        )));
    }
    Ok(())
}

impl RowMap for PadTo {
    fn stage(&self) -> &'static str {
        STAGE
    }

    fn describe(&self) -> String {
        let value = match tensorferry_io::convert::value_range(&self.value.as_view()) {
            Ok(Some((value, _))) => value.to_string(),
            _ => format!("{:02x?}", self.value.as_view().as_bytes().unwrap_or_default()),
        };
        format!("{STAGE}({}, {value}{})", words(&self.lens), chosen(self.which.as_deref()))
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        input.pad_to(
            &self.lens,
            PadToOptions { value: Some(self.value.clone()), which: self.which.as_deref() },
        )
    }

    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims> {
        let misfit = |what| misfit(at, row, what);
        fits(&self.lens, &known(row)).map_err(misfit)?;
        Ok(self.lens.iter().zip(row).map(|(len, dim)| len.unwrap_or(*dim)).collect())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let (shape, value) = (block.shape, &self.values[at]);
        let target = self.shape(at, shape)?;
        if target.as_slice() != shape {
            fill(block.out, value, block.cancel)?;
        }
        for (_, row, out) in block.each() {
            place(row, shape, out, &target, value.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, context, elements, shapeless, small_numbers, tensor, values};
    use crate::spec::Component;
    use crate::testing::{assert_rebuilds, assert_resumes, counting};
    use tensorferry_core::DType;
    use tensorferry_core::convert::scalar::Value;

    fn value(value: i64) -> Tensor {
        Tensor::from_vec(vec![value], &[]).unwrap()
    }

    #[test]
    fn every_dtype_is_padded_at_its_ends() {
        let cases: [(&[usize], &[Option<usize>]); 7] = [
            (&[3], &[Some(5)]),
            (&[2, 3], &[Some(4), Some(5)]),
            (&[2, 3], &[None, Some(4)]),
            (&[2, 3], &[Some(2), Some(3)]),
            (&[2, 1, 3], &[Some(3), Some(2), None]),
            (&[0, 3], &[Some(2), Some(3)]),
            (&[], &[]),
        ];
        for dtype in DType::ALL {
            for (shape, lens) in cases {
                let input = Dataset::from_tensor_slices([small_numbers(
                    dtype,
                    &[&[40], shape].concat(),
                    1,
                )])
                .unwrap();
                let padded = input
                    .pad_to(lens, PadToOptions { value: Some(value(1)), ..PadToOptions::default() })
                    .unwrap();
                for (got, was) in elements(&padded).iter().zip(elements(&input)) {
                    let target: Vec<usize> =
                        lens.iter().zip(shape).map(|(len, dim)| len.unwrap_or(*dim)).collect();
                    assert_eq!((got[0].0, &got[0].1), (dtype, &target));
                    let one = values(&(
                        dtype,
                        vec![],
                        super::scalar(&value(1), &TensorSpec::new(dtype, Shape::fixed(&[])))
                            .unwrap(),
                    ));
                    let before = values(&was[0]);
                    for (place, got) in values(&got[0]).into_iter().enumerate() {
                        // The oracle: the index in the element for this place.
                        let mut rest = place;
                        let at: Vec<usize> =
                            target.iter().rev().map(|len| (rest % len, rest /= len).0).collect();
                        let inside = at.iter().rev().zip(shape).all(|(at, len)| at < len);
                        let flat =
                            at.iter().rev().zip(shape).fold(0, |flat, (at, len)| flat * len + at);
                        let expected: &Value = if inside { &before[flat] } else { &one[0] };
                        assert_eq!(&got, expected, "{dtype} {shape:?} {lens:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn elements_of_several_shapes_become_one_that_can_be_batched() {
        let element = |len: usize| Ok(vec![Tensor::from_vec(vec![7_i32; len], &[len])?.into()]);
        let ragged = [2, 0, 3].map(element).into_iter().collect::<Result<Vec<_>>>().unwrap();
        let spec = vec![Component::Tensor(TensorSpec::new(DType::Int32, Shape::new([None])))];
        let padded = Dataset::from_elements(ragged, spec)
            .unwrap()
            .pad_to(&[Some(3)], PadToOptions { value: Some(value(-1)), ..PadToOptions::default() })
            .unwrap();
        let batch = padded.batch(3).unwrap().get(0).unwrap();
        let batch = batch[0].tensor().unwrap();
        assert_eq!(batch.shape(), [3, 3]);
        assert_eq!(
            batch.view::<i32>().unwrap().as_slice(),
            Some(&[7, 7, -1, -1, -1, -1, 7, 7, 7][..])
        );
    }

    #[test]
    fn what_cannot_be_padded_is_refused_when_it_is_built_or_at_its_element() {
        let input =
            Dataset::from_tensor_slices([small_numbers(DType::UInt8, &[4, 2, 3], 1)]).unwrap();
        let error = |lens: &[Option<usize>], value: Tensor| {
            input
                .pad_to(lens, PadToOptions { value: Some(value), ..PadToOptions::default() })
                .err()
                .unwrap()
                .to_string()
        };
        assert!(error(&[Some(1), None], value(0)).starts_with(
            "pad_to: component 0 (uint8[2, 3]): it is larger than the shape to pad to, [1, None]."
        ));
        assert!(
            error(&[Some(3)], value(0))
                .contains("it has 2 dimensions, the shape to pad to, [3], has 1")
        );
        assert!(error(&[None, Some(4)], value(-1)).starts_with("int64 -> uint8"));
        assert!(
            error(&[None, Some(4)], tensor(DType::Complex64, &[], &[0; 8]))
                .contains("complex64 -> uint8")
        );
        assert!(
            error(&[None, Some(4)], small_numbers(DType::UInt8, &[1], 1))
                .contains("value has to be a scalar, not of shape [1]")
        );
        let late = shapeless(&input)
            .pad_to(
                &[Some(1), Some(3)],
                PadToOptions { value: Some(value(0)), ..PadToOptions::default() },
            )
            .unwrap();
        let failed = late.stage.get(3, &context(0)).err().unwrap().to_string();
        assert!(
            failed.starts_with("pad_to: element 3: component 0, of shape [2, 3]: it is larger"),
            "{failed}"
        );
        assert_eq!(all_ways(&late, 0).iter().filter(|result| result.is_err()).count(), 4);
    }

    #[test]
    fn a_plan_tells_shapes_and_values_apart() {
        let input =
            Dataset::from_tensor_slices([small_numbers(DType::Float32, &[4, 2], 1)]).unwrap();
        let half = Tensor::from_vec(vec![0.5_f64], &[]).unwrap();
        let padded = input
            .pad_to(&[Some(4)], PadToOptions { value: Some(half), which: Some(&[true]) })
            .unwrap();
        assert!(padded.to_string().ends_with(" | pad_to([4], 0.5, which=[0])"), "{padded}");
        assert!(!padded.depends_on_epoch());
        let dataset = counting(13)
            .batch(4)
            .unwrap()
            .pad_to(&[Some(4)], PadToOptions { value: Some(value(-1)), ..PadToOptions::default() })
            .unwrap();
        assert_resumes(&dataset);
        assert_rebuilds(&dataset);
    }
}
