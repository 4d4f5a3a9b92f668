//! [`Factor`]: what `scale` multiplies by or adds.
#![allow(
    clippy::cast_possible_truncation,
    reason = "factors become float32 by rounding; that they stay finite is checked"
)]

use crate::error::{Error, Result};
use crate::transforms::row_map::lookup::hash;
use std::fmt;
use tensorferry_core::convert::rows::Factors;
use tensorferry_core::{Casting, DType, Dims, Kind, Tensor, convert};

/// A number, or an array of numbers that broadcasts against the last dimensions of a component as
/// in NumPy: `[3]` for the channels of images of shape `[h, w, 3]`, `[3, 1, 1]` for `[3, h, w]`.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_dataset::{Dataset, Factor};
///
/// let pixels = Tensor::from_vec(vec![10_u8, 20, 30, 40], &[2, 2])?;
/// let mul = Factor::array(&Tensor::from_vec(vec![1.0_f32, 0.5], &[2])?)?;
/// let scaled = Dataset::from_tensor_slices([pixels])?.scale(mul, -1.0, None)?.get(1)?;
/// assert_eq!(scaled[0].tensor()?.view::<f32>()?.as_slice(), Some(&[29.0, 19.0][..]));
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Factor(Values);

#[derive(Clone, Debug)]
enum Values {
    Number(f64),
    Array { shape: Dims, values: Vec<f32> },
}

impl From<f64> for Factor {
    fn from(value: f64) -> Self {
        Self(Values::Number(value))
    }
}

impl Factor {
    /// The numbers of a tensor, each rounded to the nearest float32.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are complex; [`tensorferry_core::Error::Allocation`].
    pub fn array(values: &Tensor) -> Result<Self> {
        if values.dtype().kind() == Kind::Complex {
            let what = "mul and add have to be real numbers, not complex ones".into();
            return Err(Error::Argument { stage: "scale", what });
        }
        // Here, `Saturate` rounds to the nearest float for every dtype and never fails.
        if values.shape().is_empty() {
            let value = convert(&values.as_view(), DType::Float64, Casting::Saturate)?;
            return Ok(value.view::<f64>()?.get(&[]).unwrap_or_default().into());
        }
        let singles = convert(&values.as_view(), DType::Float32, Casting::Saturate)?;
        // A new tensor is packed.
        let packed = singles.view::<f32>()?.as_slice().unwrap_or_default().to_vec();
        Ok(Self(Values::Array { shape: values.shape().into(), values: packed }))
    }

    /// Whether all numbers are finite in float32.
    pub(crate) fn is_finite(&self) -> bool {
        match &self.0 {
            Values::Number(value) => (*value as f32).is_finite(),
            Values::Array { values, .. } => values.iter().all(|value| value.is_finite()),
        }
    }

    fn shape(&self) -> &[usize] {
        match &self.0 {
            Values::Number(_) => &[],
            Values::Array { shape, .. } => shape,
        }
    }

    /// Number of dimensions.
    pub(crate) fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// Why the array does not broadcast against a component, if that is known.
    pub(crate) fn obstacle(&self, dims: &[Option<usize>]) -> Option<String> {
        let shape = self.shape();
        let fits =
            |(len, dim): (&usize, &Option<usize>)| *len == 1 || dim.is_none_or(|dim| dim == *len);
        let broadcasts =
            shape.len() <= dims.len() && shape.iter().rev().zip(dims.iter().rev()).all(fits);
        (!broadcasts).then(|| {
            format!("factors of shape {shape:?} do not broadcast against its last dimensions.")
        })
    }

    /// The values for elements of shape `dims`, against which they broadcast.
    fn expand(&self, dims: &[usize]) -> Vec<f32> {
        match &self.0 {
            Values::Number(value) => vec![*value as f32; dims.iter().product()],
            Values::Array { shape, values } => {
                let mut lens = vec![1; dims.len().saturating_sub(shape.len())];
                lens.extend(&shape[shape.len().saturating_sub(dims.len())..]);
                let mut out = Vec::with_capacity(dims.iter().product());
                spread(values, &lens, dims, &mut out);
                out
            }
        }
    }
}

/// Appends values of shape `lens`, repeated along the dimensions of length 1 to the shape `dims`.
fn spread(values: &[f32], lens: &[usize], dims: &[usize], out: &mut Vec<f32>) {
    let (Some((&len, lens)), Some((&dim, dims))) = (lens.split_first(), dims.split_first()) else {
        return out.extend(values);
    };
    let step = values.len() / len.max(1);
    for at in 0..dim {
        let at = if len == 1 { 0 } else { at };
        spread(&values[at * step..(at + 1) * step], lens, dims, out);
    }
}

/// The factors of rows of shape `row`, against which both broadcast. `None` for rows without
/// elements.
pub(crate) fn factors(mul: &Factor, add: &Factor, row: &[usize]) -> Option<Factors> {
    let same = |shape: &[usize], at: usize| at >= shape.len() || shape[shape.len() - 1 - at] == 1;
    let constant = |at: &usize| same(mul.shape(), *at) && same(add.shape(), *at);
    let ndim = row.len();
    // Dimensions after and before those along which the factors differ.
    let inner = (0..ndim).take_while(constant).count();
    let outer = (inner..ndim).rev().take_while(constant).count();
    let run = row[ndim - inner..].iter().product();
    let ones = vec![1; inner];
    let dims = [&row[outer..ndim - inner], &ones].concat();
    Factors::new(&mul.expand(&dims), &add.expand(&dims), run)
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Values::Number(value) => write!(f, "{value:?}"),
            Values::Array { shape, values } => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                write!(f, "float32{shape:?} hash={:016x}", hash(&bytes))
            }
        }
    }
}
