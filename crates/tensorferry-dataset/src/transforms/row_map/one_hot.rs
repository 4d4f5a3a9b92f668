//! `one_hot`: converts class numbers to one-hot vectors.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::stage::Dataset;
use crate::transforms::row_map::boxes::fill;
use crate::transforms::row_map::positions::for_each_part;
use crate::transforms::row_map::row_map::{Block, Obstacle, RowMap, chosen, select};
use crate::transforms::row_map::stage::row_mapped;
use tensorferry_core::convert::rows::set_ones;
use tensorferry_core::{Casting, DType, Dims, Shape, TensorSpec, View, ViewMut, convert_into};

struct OneHot {
    depth: usize,
    dtype: DType,
    which: Option<Vec<bool>>,
    from: Vec<Option<DType>>,
    /// 1 in `dtype`.
    one: Vec<u8>,
}

impl Dataset {
    /// Converts integers of any shape to one-hot vectors along a new last dimension of length
    /// `depth`.
    ///
    /// ```
    /// use tensorferry_core::{DType, Tensor};
    /// use tensorferry_dataset::Dataset;
    ///
    /// let labels = Tensor::from_vec(vec![2_i64, 0], &[2])?;
    /// let dataset = Dataset::from_tensor_slices([labels])?.one_hot(3, DType::Float32, None)?;
    /// let element = dataset.get(0)?;
    /// let row = element[0].tensor()?.view::<f32>()?;
    /// assert_eq!(row.as_slice(), Some(&[0.0, 0.0, 1.0][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// Without `which`, all components change. An integer outside `0..depth` is an error when its
    /// element is computed. (`tf.one_hot` returns a vector of zeros.)
    ///
    /// # Errors
    /// [`crate::error::Error::Argument`] if a component to change does not hold integers, or if
    /// the length of `which` differs from the number of components.
    pub fn one_hot(&self, depth: usize, dtype: DType, which: Option<&[bool]>) -> Result<Self> {
        let changes = select(
            self,
            "one_hot",
            which,
            |_| Ok(true),
            |spec| {
                if !spec.dtype.is_integer() {
                    return Err(Obstacle::optional(
                        "class numbers have to be integers. Cast it first.",
                    ));
                }
                let dims = spec
                    .shape
                    .dims()
                    .map(|dims| Shape::new(dims.iter().copied().chain([Some(depth)])));
                Ok(TensorSpec::new(dtype, dims.unwrap_or_else(Shape::unknown)))
            },
        )?;
        let mut one = vec![0; dtype.size()];
        convert_into(
            &View::from_slice(&[true], &[])?,
            &mut ViewMut::from_bytes(dtype, &mut one, &[])?,
            Casting::Checked,
        )?;
        let from = self.spec().iter().map(|part| part.tensor().map(|spec| spec.dtype)).collect();
        Ok(row_mapped(
            self,
            OneHot { depth, dtype, which: which.map(<[bool]>::to_vec), from, one },
            changes,
        ))
    }
}

impl RowMap for OneHot {
    fn stage(&self) -> &'static str {
        "one_hot"
    }

    fn describe(&self) -> String {
        format!("one_hot({}, {}{})", self.depth, self.dtype, chosen(self.which.as_deref()))
    }

    fn rebuild(&self, input: &Dataset, _change: &mut Change) -> Result<Dataset> {
        input.one_hot(self.depth, self.dtype, self.which.as_deref())
    }

    fn keeps_length(&self, _at: usize, _ndim: usize) -> bool {
        true
    }

    fn shape(&self, _at: usize, row: &[usize]) -> Result<Dims> {
        Ok(row.iter().copied().chain([self.depth]).collect())
    }

    fn apply(&self, at: usize, block: Block<'_>) -> Result<()> {
        let Some(from) = self.from[at] else { return Ok(()) };
        fill(block.out, &[0], block.cancel)?;
        let row = self.depth * self.one.len();
        for_each_part(from, block.rows, self.depth, |first, positions| {
            let out = &mut block.out[first * row..(first + positions.len()) * row];
            set_ones(positions, self.depth, &self.one, out);
            Ok(())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers, values};
    use tensorferry_core::Tensor;
    use tensorferry_core::convert::scalar::{Value, convert_scalar};

    #[test]
    fn every_integer_dtype_becomes_ones_of_every_dtype() {
        for from in DType::ALL.into_iter().filter(|dtype| dtype.is_integer()) {
            let numbers =
                Dataset::from_tensor_slices([small_numbers(DType::UInt8, &[5, 3], 3)]).unwrap();
            let input = numbers.cast(&[Some(from)], Casting::Checked).unwrap();
            for to in DType::ALL {
                let hot = input.one_hot(100, to, None).unwrap();
                for (got, was) in elements(&hot).iter().zip(elements(&numbers)) {
                    assert_eq!((got[0].0, &got[0].1), (to, &vec![3, 100]));
                    for (row, class) in got[0].2.chunks(100 * to.size()).zip(&was[0].2) {
                        for (at, value) in row.chunks(to.size()).enumerate() {
                            let expected = convert_scalar(
                                Value::Bool(at == usize::from(*class)),
                                to,
                                Casting::Checked,
                            )
                            .unwrap();
                            assert_eq!(value, &expected[..to.size()]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_integer_outside_is_an_error_at_its_element() {
        for (bad, shown) in [(-1_i64, "-1"), (3, "3"), (i64::MIN, "-9223372036854775808")] {
            let input =
                Dataset::from_tensor_slices([Tensor::from_vec(vec![0, 2, bad, 1], &[4]).unwrap()])
                    .unwrap();
            let results = all_ways(&input.one_hot(3, DType::Float32, None).unwrap(), 0);
            assert_eq!(results[2], Err(format!("one_hot: element 2: {shown} is not in 0..3")));
            assert!([0, 1, 3].iter().all(|&at| results[at].is_ok()));
        }
        let huge =
            Dataset::from_tensor_slices([Tensor::from_vec(vec![u64::MAX], &[1]).unwrap()]).unwrap();
        let results = all_ways(&huge.one_hot(3, DType::Bool, None).unwrap(), 0);
        assert_eq!(
            results[0],
            Err("one_hot: element 0: 18446744073709551615 is not in 0..3".into())
        );
    }

    #[test]
    fn only_integers_have_a_place() {
        let input = Dataset::from_tensor_slices([
            small_numbers(DType::Float32, &[2], 1),
            small_numbers(DType::UInt8, &[2], 1),
        ])
        .unwrap();
        assert!(input.one_hot(3, DType::Float32, None).is_err());
        let hot = input.one_hot(100, DType::Bool, Some(&[false, true])).unwrap();
        assert_eq!(values(&elements(&hot)[0][0]).len(), 1);
        assert!(hot.to_string().ends_with(" | one_hot(100, bool, which=[1])"), "{hot}");
    }
}
