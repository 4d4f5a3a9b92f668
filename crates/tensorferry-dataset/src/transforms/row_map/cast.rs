//! `cast`: converts components to other dtypes.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::stage::Dataset;
use crate::transforms::row_map::row_map::{Block, RowMap, select};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{ByteOrder, Casting, DType, Dims, TensorSpec, View, ViewMut, convert_into};

struct Cast {
    dtypes: Vec<Option<DType>>,
    casting: Casting,
    from: Vec<Option<DType>>,
}

impl Dataset {
    /// Converts each component to the dtype at its index in `dtypes`; `None` keeps it as is.
    /// `casting` sets how values are treated that the dtype cannot represent.
    ///
    /// ```
    /// use tensorferry_core::{Casting, DType, Tensor};
    /// use tensorferry_dataset::Dataset;
    ///
    /// let images = Tensor::from_vec(vec![0_u8, 128, 255, 3], &[2, 2])?;
    /// let labels = Tensor::from_vec(vec![7_i64, 2], &[2])?;
    /// let dataset = Dataset::from_tensor_slices([images, labels])?;
    /// let dataset = dataset.cast(&[Some(DType::Float32), None], Casting::Checked)?.batch(2)?;
    /// let batch = dataset.iter().next().unwrap()?;
    /// let images = batch[0].tensor()?.view::<f32>()?;
    /// assert_eq!(images.as_slice(), Some(&[0.0, 128.0, 255.0, 3.0][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the number of dtypes differs from that of the components, or if one
    /// is given for a component that is a dataset; [`tensorferry_core::Error::CastNotDefined`]. A
    /// value that does not fit is [`tensorferry_core::Error::ValuesDoNotFit`] when its element is
    /// computed.
    pub fn cast(&self, dtypes: &[Option<DType>], casting: Casting) -> Result<Self> {
        if dtypes.len() != self.spec().len() {
            let what = format!("{} dtypes for {} components", dtypes.len(), self.spec().len());
            return Err(Error::Argument { stage: "cast", what });
        }
        let which: Vec<bool> = dtypes.iter().map(Option::is_some).collect();
        let mut changes =
            select(self, "cast", Some(&which), |_| Ok(true), |spec| Ok(spec.clone()))?;
        let mut from = vec![None; dtypes.len()];
        for (at, ((change, dtype), from)) in
            changes.iter_mut().zip(dtypes).zip(&mut from).enumerate()
        {
            let (Some(spec), Some(to)) = (change.as_mut(), *dtype) else { continue };
            if !casting.is_defined(spec.dtype, to) {
                return Err(self.misfit(
                    at,
                    Error::Core(CoreError::CastNotDefined { from: spec.dtype, to, casting }),
                ));
            }
            *from = Some(spec.dtype);
            *change = (spec.dtype != to).then(|| TensorSpec::new(to, spec.shape.clone()));
        }
        Ok(row_mapped(self, Cast { dtypes: dtypes.to_vec(), casting, from }, changes))
    }
}

impl RowMap for Cast {
    fn stage(&self) -> &'static str {
        "cast"
    }

    fn describe(&self) -> String {
        let names: Vec<&str> =
            self.dtypes.iter().map(|dtype| dtype.map_or("_", DType::name)).collect();
        format!("cast({}, {})", names.join(", "), self.casting)
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        input.cast(&self.dtypes, self.casting)
    }

    fn keeps_length(&self, _at: usize, _ndim: usize) -> bool {
        true
    }

    fn shape(&self, _at: usize, row: &[usize]) -> Result<Dims> {
        Ok(row.into())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let (Some(from), Some(to)) = (self.from[at], self.dtypes[at]) else { return Ok(()) };
        // A single row keeps its shape, so that an error can report the value's index.
        let flat = [block.rows.len() / from.size()];
        let shape = if block.indices.len() == 1 { block.shape } else { &flat };
        let rows = View::from_bytes(from, ByteOrder::Native, block.rows, shape)?;
        Ok(convert_into(&rows, &mut ViewMut::from_bytes(to, block.out, shape)?, self.casting)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers, values};
    use tensorferry_core::Tensor;
    use tensorferry_core::convert::scalar;

    #[test]
    fn every_pair_of_dtypes_is_converted_as_one_value_after_the_other_would_be() {
        for from in DType::ALL {
            for to in DType::ALL {
                for casting in Casting::ALL {
                    let input =
                        Dataset::from_tensor_slices([small_numbers(from, &[7, 2, 3], 3)]).unwrap();
                    let Ok(cast) = input.cast(&[Some(to)], casting) else {
                        assert!(!casting.is_defined(from, to));
                        continue;
                    };
                    for (got, was) in all_ways(&cast, 0).iter().zip(elements(&input)) {
                        let expected: Option<Vec<u8>> = values(&was[0])
                            .into_iter()
                            .map(|value| {
                                Some(
                                    scalar::convert_scalar(value, to, casting)?[..to.size()]
                                        .to_vec(),
                                )
                            })
                            .collect::<Option<Vec<_>>>()
                            .map(|parts| parts.concat());
                        match expected {
                            Some(bytes) => {
                                assert_eq!(got.as_ref().unwrap()[0], (to, vec![2, 3], bytes))
                            }
                            None => assert!(
                                got.as_ref()
                                    .is_err_and(|error| error.contains("not fit (first: ["))
                            ),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn refused_when_it_is_built() {
        let input =
            Dataset::from_tensor_slices([small_numbers(DType::Complex64, &[2], 1)]).unwrap();
        let undefined = input.cast(&[Some(DType::Float32)], Casting::Checked).err().unwrap();
        assert_eq!(undefined.code(), "cast_not_defined");
        let uneven = input.cast(&[], Casting::Checked).err().unwrap();
        assert_eq!(uneven.to_string(), "cast: 0 dtypes for 1 components");
    }

    #[test]
    fn the_description_says_what_changes_the_result() {
        let input =
            Dataset::from_tensor_slices([Tensor::from_vec(vec![1_u8], &[1]).unwrap()]).unwrap();
        let cast = input.cast(&[Some(DType::Int32)], Casting::Saturate).unwrap();
        assert_eq!(cast.to_string(), "from_tensor_slices(1 x (uint8[])) | cast(int32, saturate)");
    }
}
