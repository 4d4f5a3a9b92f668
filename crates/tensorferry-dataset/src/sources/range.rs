//! `range`: evenly spaced numbers.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::gather::MADE_ROWS;
use crate::request::Columns;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Stage};
use tensorferry_core::{Casting, DType, Kind, Shape, Tensor, TensorSpec, View, ViewMut};
use tensorferry_io::convert::convert_into;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled};

struct Range {
    start: i64,
    stop: i64,
    step: i64,
    dtype: DType,
    len: u64,
    spec: Vec<Component>,
}

impl Dataset {
    /// The scalars `start`, `start + step`, ... below `stop` (above it, if `step` is negative).
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, Result};
    ///
    /// let values = Dataset::range(5, 0, -2, DType::Int64)?
    ///     .iter()
    ///     .map(|element| Ok(element?[0].tensor()?.view::<i64>()?.get(&[])))
    ///     .collect::<Result<Vec<_>>>()?;
    /// assert_eq!(values, [Some(5), Some(3), Some(1)]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `step` is 0, `dtype` is bool or complex, or `dtype` cannot represent
    /// one of the values exactly.
    pub fn range(start: i64, stop: i64, step: i64, dtype: DType) -> Result<Self> {
        let wrong = |what: String| Error::Argument { stage: "range", what };
        if step == 0 {
            return Err(wrong("step has to be other than 0".into()));
        }
        let (distance, stride) = (i128::from(stop) - i128::from(start), i128::from(step));
        let distance = if step > 0 { distance } else { -distance };
        let len = u64::try_from(distance.max(0).unsigned_abs().div_ceil(stride.unsigned_abs()))
            .unwrap_or(u64::MAX);
        let (least, greatest) = match (dtype.kind(), dtype.exact_integers()) {
            (Kind::Bool | Kind::Complex, _) => {
                return Err(wrong(format!(
                    "{dtype} values cannot be counted. Map integers to \
                    them."
                )));
            }
            (_, Some(exact)) => (-i128::from(exact), i128::from(exact)),
            (..) => dtype.integer_range().unwrap_or((0, 0)),
        };
        let range = Range {
            start,
            stop,
            step,
            dtype,
            len,
            spec: vec![Component::Tensor(TensorSpec::new(dtype, Shape::fixed(&[])))],
        };
        if let Some(last) = len.checked_sub(1) {
            let ends = [range.value(0), range.value(last)].map(i128::from);
            if let Some(value) = ends.iter().find(|value| !(least..=greatest).contains(*value)) {
                let what = format!(
                    "{value} does not fit: {dtype} counts exactly from {least} to {greatest}. Use \
                    a wider dtype."
                );
                return Err(wrong(what));
            }
        }
        Ok(Self::of(range))
    }
}

impl Range {
    /// The value at an index below `len`. It lies between `start` and `stop`, so wrapping
    /// arithmetic is exact.
    fn value(&self, index: u64) -> i64 {
        self.start.wrapping_add(self.step.wrapping_mul(index.cast_signed()))
    }

    fn write(
        &self,
        requests: impl IntoIterator<Item = RowRequest>,
        rows: &mut RowsOut<'_>,
    ) -> Result<()> {
        for request in requests {
            write_number(self.dtype, self.value(request.index), rows.slot(request.slot))?;
        }
        Ok(())
    }
}

/// Writes an integer that `dtype` represents exactly.
fn write_number(dtype: DType, value: i64, out: &mut [u8]) -> Result<()> {
    match dtype {
        DType::Int64 => out.copy_from_slice(&value.to_ne_bytes()),
        // Two's complement: the low bytes are the narrower integer.
        _ if dtype.is_integer() && cfg!(target_endian = "little") => {
            out.copy_from_slice(&value.to_le_bytes()[..out.len()])
        }
        _ => convert_number(dtype, value, out)?,
    }
    Ok(())
}

fn convert_number(dtype: DType, value: i64, out: &mut [u8]) -> Result<()> {
    let mut target = ViewMut::from_bytes(dtype, out, &[])?;
    Ok(convert_into(&View::from_slice(&[value], &[])?, &mut target, Casting::Checked)?)
}

impl Stage for Range {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        format!("range({}, {}, {}, {})", self.start, self.stop, self.step, self.dtype)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Dataset::range(self.start, self.stop, self.step, self.dtype)
    }

    fn get(&self, index: u64, _cx: &Context) -> Result<Element> {
        let value =
            filled(self.dtype, &[], |out| write_number(self.dtype, self.value(index), out))?;
        Ok(vec![value.into()])
    }

    // Computes the rows instead of sharing them, so that a zip with shareable arrays shares those.
    fn slice(&self, start: u64, len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        if len > MADE_ROWS {
            return None;
        }
        let values = filled(self.dtype, &[len], |bytes| {
            let requests = (0..len).map(|slot| RowRequest { index: start + slot as u64, slot });
            self.write(requests, &mut RowsOut { bytes, row: self.dtype.size() })
        });
        values.ok().map(|values| vec![values])
    }

    fn gather(
        &self,
        _columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        _cx: &Context,
    ) -> Result<()> {
        out.iter_mut().try_for_each(|rows| self.write(requests.iter().copied(), rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::numbers;

    #[test]
    fn range_counts_up_and_down_and_may_be_empty() -> Result<()> {
        let range = |start, stop, step| numbers(&Dataset::range(start, stop, step, DType::Int64)?);
        assert_eq!(range(0, 5, 2)?, [0, 2, 4]);
        assert_eq!(range(5, 0, -2)?, [5, 3, 1]);
        assert_eq!(range(5, 0, 1)?, [0; 0]);
        assert_eq!(range(i64::MAX - 1, i64::MAX, 5)?, [i64::MAX - 1]);
        assert_eq!(
            Dataset::range(i64::MIN, i64::MAX, 1, DType::Int64)?.cardinality(),
            Cardinality::Finite(u64::MAX)
        );
        Ok(())
    }

    #[test]
    fn range_refuses_a_step_of_0_and_values_that_the_dtype_does_not_hold() {
        assert!(Dataset::range(0, 5, 0, DType::Int64).is_err());
        assert!(Dataset::range(126, 128, 1, DType::Int8).is_ok());
        assert!(Dataset::range(126, 129, 1, DType::Int8).unwrap_err().to_string().contains("128"));
        assert!(Dataset::range(-1, 3, 1, DType::UInt8).is_err());
        assert!(Dataset::range(0, (1 << 24) + 2, 1, DType::Float32).is_err());
        assert!(Dataset::range(0, 2, 1, DType::Bool).is_err());
    }

    #[test]
    fn range_writes_every_dtype_as_conversion_would() -> Result<()> {
        for dtype in DType::ALL
            .into_iter()
            .filter(|dtype| !matches!(dtype.kind(), Kind::Bool | Kind::Complex))
        {
            let least = if dtype.kind() == Kind::Unsigned { 0 } else { -100 };
            let batch = Dataset::range(least, 100, 7, dtype)?.batch(100)?.get(0)?;
            let expected = Dataset::range(least, 100, 7, DType::Int64)?.batch(100)?.get(0)?;
            let expected = tensorferry_io::convert::convert(
                &expected[0].tensor()?.as_view(),
                dtype,
                tensorferry_core::Casting::Checked,
            )?;
            assert_eq!(
                batch[0].tensor()?.as_view().as_bytes(),
                expected.as_view().as_bytes(),
                "{dtype}"
            );
        }
        Ok(())
    }
}
