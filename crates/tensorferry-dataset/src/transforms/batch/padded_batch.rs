//! `padded_batch`: pads elements of different shapes to one shape and stacks them.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage};
use crate::transforms::batch::gathered::{batches, batches_of_part, count, len_from};
use crate::transforms::batch::measured::{Measured, Part, consecutive, whole_rows};
use crate::transforms::batch::padding::{Pad, Padding, of_strings, pad_all, wrong};
use crate::transforms::batch::ragged_batch::gathered_rows;
use crate::transforms::batch::stacked::stacked;
use crate::transforms::batch::strings::StringPadding;
use crate::transforms::row_map::boxes::fill;
use std::ops::Range;
use std::sync::Arc;
use tensorferry_core::{Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::memory::room::collected;

/// How [`Dataset::padded_batch`] pads and stacks elements.
#[derive(Clone, Debug, Default)]
pub struct PaddedBatchOptions {
    /// The shape to pad each component to. An unknown dimension is padded to the longest in the
    /// batch. Default: the shapes of the input's specification.
    pub padded_shapes: Option<Vec<Shape>>,
    /// A scalar to pad each component with; `None` pads with 0 or false.
    pub padding_values: Option<Vec<Option<Tensor>>>,
    /// Whether to drop the last batch if it is not full.
    pub drop_remainder: bool,
    /// Components that hold strings. Shapes and values of these components are ignored.
    pub strings: Vec<StringPadding>,
}

pub(crate) struct PaddedBatch {
    input: Dataset,
    size: usize,
    options: PaddedBatchOptions,
    paddings: Arc<[Pad]>,
    /// Whether all elements are known to have the padded shape already.
    even: bool,
    /// The input, if rows can be gathered directly into the batch.
    measured: Option<Measured>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Stacks each `size` consecutive elements along a new first dimension. Their shapes may
    /// differ: each element is padded at the end of each dimension to `padded_shapes`, one for each
    /// component. An unknown dimension is padded to the longest in the batch. By default,
    /// `padded_shapes` are the shapes of the input's specification. `padding_values` are scalars;
    /// `None` stands for 0 or false.
    ///
    /// ```
    /// use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
    /// use tensorferry_dataset::{Component, Dataset, PaddedBatchOptions};
    ///
    /// let words = [vec![1_i32, 2, 3], vec![4]];
    /// let elements = words.map(|word| {
    ///     let len = word.len();
    ///     Ok(vec![Tensor::from_vec(word, &[len])?.into()])
    /// });
    /// let elements: Result<Vec<_>, tensorferry_core::Error> = elements.into_iter().collect();
    /// let spec = Component::Tensor(TensorSpec::new(DType::Int32, Shape::new([None])));
    /// let batch = Dataset::from_elements(elements?, vec![spec])?
    ///     .padded_batch(2, PaddedBatchOptions::default())?
    ///     .get(0)?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3, 4, 0, 0][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `size` is 0, an element holds datasets, a component has an unknown
    /// number of dimensions, or there is not one shape per component. Also if a shape has another
    /// number of dimensions than its component, or is smaller than a known dimension.
    /// [`Error::ElementMismatch`] if a padding value has another dtype than its component. Errors
    /// about one component are wrapped in [`Error::InComponent`].
    ///
    /// [`Error::Argument`]: crate::Error::Argument
    /// [`Error::ElementMismatch`]: crate::Error::ElementMismatch
    /// [`Error::InComponent`]: crate::Error::InComponent
    pub fn padded_batch(&self, size: usize, options: PaddedBatchOptions) -> Result<Self> {
        Ok(Self::of(PaddedBatch::new(self.clone(), size, options)?))
    }
}

impl PaddedBatch {
    pub(crate) fn new(input: Dataset, size: usize, options: PaddedBatchOptions) -> Result<Self> {
        if size == 0 {
            return Err(wrong("batch_size has to be at least 1".into()));
        }
        let parts = spec::tensors(input.spec(), "padded_batch")?;
        let lens = [
            options.padded_shapes.as_ref().map(Vec::len),
            options.padding_values.as_ref().map(Vec::len),
        ];
        if let Some(len) = lens.into_iter().flatten().find(|len| *len != parts.len()) {
            return Err(wrong(format!(
                "{len} padded shapes or values were given for elements of {} components",
                parts.len()
            )));
        }
        let padding = |(at, part): (usize, &&TensorSpec)| {
            let shape = options
                .padded_shapes
                .as_ref()
                .and_then(|shapes| shapes.get(at))
                .unwrap_or(&part.shape);
            let value = options
                .padding_values
                .as_ref()
                .and_then(|values| values.get(at))
                .and_then(Option::as_ref);
            if let Some(pad) = of_strings(&options.strings, at, &parts) {
                return pad.map_err(|error| input.explain(error));
            }
            Ok(Pad::Tensor(
                Padding::new(at, part, shape, value).map_err(|error| input.explain(error))?,
            ))
        };
        let paddings: Vec<Pad> = parts.iter().enumerate().map(padding).collect::<Result<_>>()?;
        let even = parts.iter().zip(&paddings).all(|(part, padding)| {
            let Pad::Tensor(padding) = padding else { return false };
            part.shape.as_fixed().is_some_and(|dims| {
                padding.shape.iter().zip(&dims).all(|(pad, dim)| pad.is_none_or(|pad| pad == *dim))
            })
        });
        let len = options.drop_remainder.then_some(size);
        let spec = parts.iter().zip(&paddings).flat_map(|(part, pad)| pad.spec(part, len));
        let spec = spec.collect();
        let measured = Measured::new(&input).filter(|measured| {
            measured.parts().iter().zip(&paddings).all(|(part, pad)| match pad {
                Pad::Tensor(padding) => padding.suits(part),
                Pad::String => part.is_measured,
                Pad::Strings(_) | Pad::Splits => false,
            })
        });
        Ok(Self { input, size, options, paddings: paddings.into(), even, measured, spec })
    }

    /// The batch of these elements of an indexed input. Their slots are `0..len`.
    pub(crate) fn of(&self, requests: &[RowRequest], cx: &Context) -> Result<Element> {
        if let Some(measured) = &self.measured
            && let Some(batch) = self.gathered(measured, requests, cx)?
        {
            return Ok(batch);
        }
        let element = |request: &RowRequest| {
            cx.cancel.check()?;
            self.input.stage.get(request.index, cx)
        };
        collected(requests.iter().map(element))
            .and_then(|elements| pad_all(&elements, &self.paddings, &cx.cancel))
    }

    /// The batch of elements whose lengths are known; `None` if one does not fit.
    fn gathered(
        &self,
        measured: &Measured,
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Option<Element>> {
        let mut all_fit = true;
        let padded = |at: usize, part: &Part| {
            let lengths = measured.lengths(at, requests, cx)?;
            let Pad::Tensor(padding) = &self.paddings[at] else {
                return gathered_rows(measured, (at, part), requests, lengths, cx);
            };
            let Some(longest) = padding.longest(&lengths) else {
                all_fit = false;
                return Ok(Vec::new());
            };
            let mut room = part.room(&[requests.len(), longest])?;
            let mut rows = whole_rows(requests, &lengths, |request, _| request.slot * longest)?;
            measured.gather(at, &mut rows, &mut room, cx)?;
            let slots = room.bytes().chunks_exact_mut((longest * part.bytes).max(1));
            for (slot, len) in slots.zip(&lengths) {
                fill(&mut slot[len * part.bytes..], &padding.value, &cx.cancel)?;
            }
            Ok(vec![room.freeze()?.into()])
        };
        let batch = measured.batch(requests, padded, cx)?;
        Ok(all_fit.then_some(batch))
    }

    pub(crate) fn spec(&self) -> &[Component] {
        &self.spec
    }

    /// The shapes and values of the padding, as in a description.
    pub(crate) fn padding(&self) -> String {
        let padding = |pad: &Pad| match pad {
            Pad::Tensor(padding) => {
                format!("{} with {}", Shape::new(padding.shape.iter().copied()), padding.name)
            }
            Pad::String => "string".into(),
            Pad::Strings(padding) => {
                format!("{} strings with {:02x?}", Shape::new([padding.len]), padding.value)
            }
            Pad::Splits => "splits".into(),
        };
        let paddings: Vec<String> = self.paddings.iter().map(padding).collect();
        format!("({})", paddings.join(", "))
    }
}

impl Stage for PaddedBatch {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        count(&self.input, self.size, self.options.drop_remainder)
    }

    fn describe(&self) -> String {
        let remainder = if self.options.drop_remainder { ", drop_remainder" } else { "" };
        format!("padded_batch({}, {}{remainder})", self.size, self.padding())
    }

    fn describe_any_size(&self) -> String {
        format!("padded_batch({})", self.padding())
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self::new(inputs[0].clone(), self.size, self.options.clone())?))
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_batches(self.size, self.options.drop_remainder)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let size = self.size;
        let start = index.saturating_mul(size as u64);
        let len = len_from(&self.input, start, size);
        let batch = if self.even {
            stacked(&self.input, start, len, "padded_batch", cx)
        } else {
            self.of(&consecutive(start, len)?, cx)
        };
        batch.map_err(|error| self.input.explain(error).at_element("padded_batch", index))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (paddings, cancel) = (Arc::clone(&self.paddings), cx.cancel.clone());
        let make = move |elements: &[Element]| pad_all(elements, &paddings, &cancel);
        let size = (self.size, self.options.drop_remainder);
        batches(&self.input, cx, "padded_batch", size, make)
    }

    fn part_iter(&self, part: Range<u64>, cx: &Context) -> Option<Result<Box<dyn ElementIter>>> {
        let (paddings, cancel) = (Arc::clone(&self.paddings), cx.cancel.clone());
        let make = move |elements: &[Element]| pad_all(elements, &paddings, &cancel);
        let size = (self.size, self.options.drop_remainder);
        Some(batches_of_part(&self.input, cx, "padded_batch", size, part, make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PaddedBatchOptions;
    use crate::error::Error;
    use crate::order_tests::streamed;
    use crate::testing::{assert_rebuilds, assert_rejects_damage, assert_resumes, range};
    use tensorferry_core::DType;

    /// Elements of shape `[n, 2]` for each length `n`, with values counting from 1.
    fn ragged(lens: &[usize]) -> Result<Dataset> {
        let element = |len: &usize| {
            let values: Vec<i64> = (1..=2 * (*len).cast_signed() as i64).collect();
            Ok(vec![Tensor::from_vec(values, &[*len, 2])?.into()])
        };
        let spec = Component::Tensor(TensorSpec::new(DType::Int64, Shape::new([None, Some(2)])));
        Dataset::from_elements(lens.iter().map(element).collect::<Result<_>>()?, vec![spec])
    }

    fn batches(dataset: &Dataset) -> Result<Vec<(Vec<usize>, Vec<i64>)>> {
        let batch = |element: Result<Element>| {
            let element = element?;
            let tensor = element[0].tensor()?;
            Ok((tensor.shape().to_vec(), tensor.view::<i64>()?.iter().collect()))
        };
        dataset.iter().map(batch).collect()
    }

    #[test]
    fn pads_to_the_longest_of_the_batch_or_to_the_shape_given() -> Result<()> {
        for input in [ragged(&[1, 2, 0])?, streamed(&ragged(&[1, 2, 0])?)] {
            let longest = input.padded_batch(2, PaddedBatchOptions::default())?;
            assert_eq!(
                batches(&longest)?,
                [(vec![2, 2, 2], vec![1, 2, 0, 0, 1, 2, 3, 4]), (vec![1, 0, 2], vec![])]
            );
            let seven = Some(vec![Some(Tensor::from_vec(vec![7_i64], &[])?)]);
            let given = input.padded_batch(
                2,
                PaddedBatchOptions {
                    padded_shapes: Some(vec![Shape::new([None, Some(3)])]),
                    padding_values: seven,
                    drop_remainder: true,
                    ..PaddedBatchOptions::default()
                },
            )?;
            assert_eq!(
                batches(&given)?,
                [(vec![2, 2, 3], vec![1, 2, 7, 7, 7, 7, 1, 2, 7, 3, 4, 7])]
            );
            assert_eq!(given.spec()[0].to_string(), "int64[2, ?, 3]");
            assert!(
                given.to_string().ends_with("padded_batch(2, ([?, 3] with 7), drop_remainder)"),
                "{given}"
            );
            for dataset in [longest, given] {
                assert_resumes(&dataset);
                assert_rejects_damage(&dataset);
                assert_rebuilds(&dataset);
            }
        }
        Ok(())
    }

    #[test]
    fn an_element_too_large_fails_its_batch_only() -> Result<()> {
        let padded = ragged(&[1, 1, 3, 1, 1])?.padded_batch(
            2,
            PaddedBatchOptions {
                padded_shapes: Some(vec![Shape::fixed(&[2, 2])]),
                ..PaddedBatchOptions::default()
            },
        )?;
        let all: Vec<_> = padded.iter().collect();
        assert!(all[0].is_ok() && all[2].is_ok());
        assert!(
            matches!(all[1], Err(Error::AtElement { stage: "padded_batch", index: 1, .. })),
            "{:?}",
            all[1]
        );
        Ok(())
    }

    #[test]
    fn what_cannot_be_padded_is_refused_when_it_is_asked_for() -> Result<()> {
        let input = ragged(&[1])?;
        let shape = |dims: &[Option<usize>]| Some(vec![Shape::new(dims.iter().copied())]);
        assert!(input.padded_batch(0, PaddedBatchOptions::default()).is_err());
        assert!(
            input
                .padded_batch(
                    2,
                    PaddedBatchOptions {
                        padded_shapes: shape(&[None]),
                        ..PaddedBatchOptions::default()
                    }
                )
                .is_err()
        );
        assert!(
            input
                .padded_batch(
                    2,
                    PaddedBatchOptions {
                        padded_shapes: shape(&[None, Some(1)]),
                        ..PaddedBatchOptions::default()
                    }
                )
                .is_err()
        );
        assert!(
            input
                .padded_batch(
                    2,
                    PaddedBatchOptions {
                        padded_shapes: Some(Vec::new()),
                        ..PaddedBatchOptions::default()
                    }
                )
                .is_err()
        );
        let float = Some(vec![Some(Tensor::from_vec(vec![0_f32], &[])?)]);
        let Err(Error::InComponent { source, .. }) = input.padded_batch(
            2,
            PaddedBatchOptions { padding_values: float, ..PaddedBatchOptions::default() },
        ) else {
            panic!("it names no component")
        };
        assert!(matches!(*source, Error::ElementMismatch { .. }), "{source}");
        let other = Dataset::from_tensors([Tensor::from_vec(vec![1_i64], &[1])?]);
        assert!(input.concatenate(&other)?.padded_batch(2, PaddedBatchOptions::default()).is_err());
        Ok(())
    }

    #[test]
    fn elements_of_one_shape_are_batched_as_batch_does() -> Result<()> {
        let padded = range(5).padded_batch(2, PaddedBatchOptions::default())?;
        assert_eq!(batches(&padded)?, batches(&range(5).batch(2)?)?);
        let wider =
            Dataset::from_tensor_slices([Tensor::from_vec(vec![1_i64, 2, 3, 4], &[2, 2])?])?;
        let wider = wider.padded_batch(
            2,
            PaddedBatchOptions {
                padded_shapes: Some(vec![Shape::fixed(&[3])]),
                ..PaddedBatchOptions::default()
            },
        )?;
        assert_eq!(batches(&wider)?, [(vec![2, 3], vec![1, 2, 0, 3, 4, 0])]);
        Ok(())
    }
}
