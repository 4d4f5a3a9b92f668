//! [`Pad`]: how one component of elements is padded to one shape.

use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::{Element, Value};
use crate::transforms::batch::measured::Part;
use crate::transforms::batch::ragged_batch::joined_rows;
use crate::transforms::batch::strings;
use crate::transforms::batch::strings::StringPadding;
use crate::transforms::row_map::boxes::{fill, place};
use tensorferry_core::{DType, Dims, Shape, Tensor, TensorSpec};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::rows_out::{filled, packed};

/// The padding of one component.
pub(super) struct Padding {
    /// Padded dimensions; `None` for the longest in the batch.
    pub(super) shape: Vec<Option<usize>>,
    /// Bytes of the padding value; `name` is its text in descriptions.
    pub(super) value: Vec<u8>,
    pub(super) name: String,
}

/// What becomes of one component.
pub(super) enum Pad {
    Tensor(Padding),
    /// A string: the bytes of all, and their row splits.
    String,
    /// The bytes of several strings, and of their splits.
    Strings(StringPadding),
    /// The splits of the strings before.
    Splits,
}

pub(super) fn wrong(what: String) -> Error {
    Error::Argument { stage: "padded_batch", what }
}

/// What becomes of component `at` if it holds strings.
pub(super) fn of_strings(
    strings: &[StringPadding],
    at: usize,
    parts: &[&TensorSpec],
) -> Option<Result<Pad>> {
    let padding = strings.iter().find(|padding| {
        padding.component == at || (padding.several && padding.component + 1 == at)
    })?;
    if padding.component < at {
        return Some(Ok(Pad::Splits));
    }
    let are_bytes = parts[at].dtype == DType::UInt8;
    let splits = parts.get(at + 1);
    let have_splits = splits.is_some_and(|part| {
        part.dtype == DType::Int64 && part.shape.dims().is_some_and(|dims| dims.len() == 1)
    });
    Some(if !are_bytes || (padding.several && !have_splits) {
        Err(wrong("holds no strings".into()).in_component(at))
    } else if padding.several {
        Ok(Pad::Strings(padding.clone()))
    } else {
        Ok(Pad::String)
    })
}

impl Pad {
    /// The components of a batch, whose length may be known.
    pub(super) fn spec(&self, part: &TensorSpec, len: Option<usize>) -> Vec<Component> {
        let tensor = |dtype, shape| Component::Tensor(TensorSpec::new(dtype, shape));
        let splits = |shape: Shape| {
            vec![tensor(part.dtype, Shape::new([None])), tensor(DType::Int64, shape)]
        };
        match self {
            Self::Tensor(padding) => {
                let shape = Shape::new(padding.shape.iter().copied()).batched(len);
                vec![tensor(part.dtype, shape)]
            }
            Self::String => splits(Shape::new([len.map(|len| len + 1)])),
            Self::Strings(padding) => {
                splits(Shape::new([padding.len.map(|strings| strings + 1)]).batched(len))
            }
            Self::Splits => Vec::new(),
        }
    }
}

impl Padding {
    pub(super) fn new(
        at: usize,
        part: &TensorSpec,
        shape: &Shape,
        value: Option<&Tensor>,
    ) -> Result<Self> {
        let Some(dims) = shape.dims() else {
            let what = "its number of dimensions is unknown. Give a padded shape.";
            return Err(wrong(what.into()).in_component(at));
        };
        let known = part.shape.dims().map_or_else(|| vec![None; dims.len()], <[_]>::to_vec);
        let small = |(pad, known): (&Option<usize>, &Option<usize>)| {
            pad.zip(*known).is_some_and(|(pad, known)| pad < known)
        };
        if dims.len() != known.len() || dims.iter().zip(&known).any(small) {
            let what = format!("the padded shape {shape} has no room for shape {}", part.shape);
            return Err(wrong(what).in_component(at));
        }
        let (value, name) = match value {
            None => (vec![0; part.dtype.size()], "0".into()),
            Some(value) => {
                if value.dtype() != part.dtype
                    || value.layout().len() != 1
                    || value.layout().ndim() != 0
                {
                    let given = format!("{}{:?}", value.dtype(), value.shape());
                    let what = format!(
                        "the padding value is {given}, where it has to be {}[]",
                        part.dtype
                    );
                    return Err(Error::ElementMismatch { what }.in_component(at));
                }
                let value = packed(value)?;
                let view = value.as_view();
                let bytes = view.as_bytes().unwrap_or_default().to_vec();
                // The value for the description. Complex numbers have no range, so their bytes
                // identify them.
                let name = match tensorferry_io::convert::value_range(&view) {
                    Ok(Some((value, _))) => value.to_string(),
                    _ => format!("{bytes:02x?}"),
                };
                (bytes, name)
            }
        };
        Ok(Self { shape: dims.to_vec(), value, name })
    }

    /// Whether a component needs no padding except in a measured first dimension.
    pub(super) fn suits(&self, part: &Part) -> bool {
        let outer = usize::from(part.is_measured);
        self.shape.len() == part.inner.len() + outer
            && self.shape[outer..]
                .iter()
                .zip(&part.inner)
                .all(|(pad, dim)| pad.is_none_or(|pad| pad == *dim))
    }

    /// The length to pad elements of these lengths to; `None` if it is too short for one.
    pub(super) fn longest(&self, lens: &[usize]) -> Option<usize> {
        let longest = lens.iter().copied().max().unwrap_or(0);
        match self.shape.first() {
            Some(Some(fixed)) if longest > *fixed => None,
            Some(Some(fixed)) => Some(*fixed),
            _ => Some(longest),
        }
    }

    /// Pads and stacks one component of the elements.
    fn stack(&self, at: usize, elements: &[Element], cancel: &CancelToken) -> Result<Value> {
        let tensors: Vec<&Tensor> =
            elements.iter().map(|element| element[at].tensor()).collect::<Result<_>>()?;
        let target = self.target(at, &tensors)?;
        let Some(first) = tensors.first() else { return Err(wrong("no elements to stack".into())) };
        let dtype = first.dtype();
        let shape: Dims = std::iter::once(tensors.len()).chain(target.iter().copied()).collect();
        let row = target.iter().fold(dtype.size(), |bytes, dim| bytes.saturating_mul(*dim));
        let padded = filled(dtype, &shape, |out| -> Result<()> {
            if tensors.iter().any(|tensor| tensor.shape() != target.as_slice()) {
                fill(out, &self.value, cancel)?;
            }
            for (slot, tensor) in tensors.iter().enumerate() {
                let tensor = packed(tensor)?;
                let view = tensor.as_view();
                let bytes = view.as_bytes().unwrap_or_default(); // packed, so `Some`
                place(
                    bytes,
                    tensor.shape(),
                    &mut out[slot * row..(slot + 1) * row],
                    &target,
                    dtype.size(),
                );
            }
            Ok(())
        });
        Ok(padded?.into())
    }

    /// The shape to pad all tensors to.
    fn target(&self, at: usize, tensors: &[&Tensor]) -> Result<Dims> {
        let misfit = |tensor: &Tensor| {
            let padded = Shape::new(self.shape.iter().copied());
            let what = format!("it does not fit into the padded shape {padded}");
            Error::ElementMismatch { what }
                .about_component(at, format!(", of shape {:?}: ", tensor.shape()))
        };
        let mut target: Dims = self.shape.iter().map(|dim| dim.unwrap_or(0)).collect();
        for tensor in tensors {
            if tensor.shape().len() != target.len() {
                return Err(misfit(tensor));
            }
            for ((longest, fixed), len) in target.iter_mut().zip(&self.shape).zip(tensor.shape()) {
                match fixed {
                    Some(fixed) if len > fixed => return Err(misfit(tensor)),
                    Some(_) => {}
                    None => *longest = (*longest).max(*len),
                }
            }
        }
        Ok(target)
    }
}

/// Pads and stacks elements.
pub(super) fn pad_all(
    elements: &[Element],
    paddings: &[Pad],
    cancel: &CancelToken,
) -> Result<Element> {
    let mut batch = Element::new();
    for (at, pad) in paddings.iter().enumerate() {
        match pad {
            Pad::Tensor(padding) => batch.push(padding.stack(at, elements, cancel)?),
            Pad::String => batch.extend(joined_rows(elements, at, "padded_batch")?),
            Pad::Strings(padding) => batch.extend(strings::padded(elements, padding)?),
            Pad::Splits => {}
        }
    }
    Ok(batch)
}
