//! `token_windows`: windows of a long array of tokens, and the same windows shifted, for training
//! language models.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::gather::get_by_gather;
use crate::request::Columns;
use crate::sources::values::{Place, Values};
use crate::sources::window_starts::WindowStarts;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Hints, Stage};
use tensorferry_core::Error as CoreError;
use tensorferry_core::{
    ByteOrder, Casting, DType, Index, Shape, Tensor, TensorSpec, View, ViewMut, convert_into,
};
use tensorferry_io::array::tensor_rows::plain_rows;
use tensorferry_io::gather::copy::prefetch;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled};

/// How [`Dataset::token_windows`] forms windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenWindowsOptions {
    /// Distance in tokens between the starts of consecutive windows; the window length by default.
    pub stride: Option<usize>,
    /// Tokens by which the second component is shifted; 1 by default.
    pub shift: usize,
    /// The dtype of both components; int64 by default.
    pub dtype: DType,
}

impl Default for TokenWindowsOptions {
    fn default() -> Self {
        Self { stride: None, shift: 1, dtype: DType::Int64 }
    }
}

pub(crate) struct TokenWindows {
    tokens: Values,
    pub(crate) length: usize,
    pub(crate) starts: WindowStarts,
    pub(crate) shift: usize,
    dtype: DType,
    spec: Vec<Component>,
}

impl Dataset {
    /// Elements `(x, y)` from a flat array of tokens. In element `i`, `x` has the `length` tokens
    /// starting at `i * stride`, and `y` those starting at `i * stride + shift`. Both have shape
    /// `[length]` and are converted to `dtype`. The dataset has as many elements as fit. By
    /// default, `stride` is `length`, so windows do not overlap. A `stride` of 1 and a shuffle give
    /// windows at random positions.
    ///
    /// ```
    /// use tensorferry_core::{DType, Tensor};
    /// use tensorferry_dataset::{Dataset, TokenWindowsOptions};
    ///
    /// let tokens = Tensor::from_vec(vec![10_u16, 11, 12, 13, 14, 15, 16, 17], &[8])?;
    /// let windows = Dataset::token_windows(tokens, 3, TokenWindowsOptions::default())?;
    /// let element = windows.get(1)?;
    /// assert_eq!(element[0].tensor()?.view::<i64>()?.as_slice(), Some(&[13, 14, 15][..]));
    /// assert_eq!(element[1].tensor()?.view::<i64>()?.as_slice(), Some(&[14, 15, 16][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// For an opened array, a batch reads only the tokens of its windows and keeps none. If `dtype`
    /// cannot represent a token, computing its element is an error.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tokens are not one-dimensional or fewer than a window needs, or
    /// if `length` or `stride` is 0; [`tensorferry_core::Error::CastNotDefined`].
    pub fn token_windows(
        tokens: impl Into<Values>,
        length: usize,
        options: TokenWindowsOptions,
    ) -> Result<Self> {
        Self::windows_of(tokens.into(), None, length, options)
    }

    /// As [`Dataset::token_windows`], with windows that never cross a boundary, such as the end of
    /// a document. `boundaries` are the offsets at which documents begin or end, in ascending
    /// order; the start and the end of the tokens may be among them. A document of fewer tokens
    /// than a window and its shift need has no window.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, TokenWindowsOptions};
    ///
    /// let tokens = Tensor::from_vec((0_u16..10).collect(), &[10])?;
    /// let boundaries = Tensor::from_vec(vec![5_i64], &[1])?;
    /// let options = TokenWindowsOptions::default();
    /// let windows = Dataset::token_windows_within(tokens, &boundaries, 4, options)?;
    /// let second = windows.get(1)?;
    /// assert_eq!(second[0].tensor()?.view::<i64>()?.as_slice(), Some(&[5, 6, 7, 8][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::token_windows`], except that there may be no window; [`Error::Argument`] if
    /// the boundaries do not ascend from 0 to the number of tokens.
    pub fn token_windows_within(
        tokens: impl Into<Values>,
        boundaries: &Tensor,
        length: usize,
        options: TokenWindowsOptions,
    ) -> Result<Self> {
        Self::windows_of(tokens.into(), Some(boundaries), length, options)
    }

    fn windows_of(
        tokens: Values,
        boundaries: Option<&Tensor>,
        length: usize,
        options: TokenWindowsOptions,
    ) -> Result<Self> {
        let TokenWindowsOptions { stride, shift, dtype } = options;
        let stride = stride.unwrap_or(length);
        let wrong = |what: String| Error::Argument { stage: "token_windows", what };
        let &[len] = tokens.shape() else {
            return Err(wrong(format!(
                "the tokens have to be in one dimension, not of shape {:?}. Flatten them.",
                tokens.shape()
            )));
        };
        if length == 0 || stride == 0 {
            return Err(wrong(format!(
                "length={length} and stride={stride} have to be at least 1"
            )));
        }
        let span = length.saturating_add(shift);
        let starts = match boundaries {
            Some(boundaries) => WindowStarts::between(boundaries, len, span, stride)?,
            None => WindowStarts::everywhere(len, span, stride),
        };
        if starts.count == 0 && boundaries.is_none() {
            let what = format!(
                "{len} tokens are fewer than a window's length of {length} and its shift of {shift}"
            );
            return Err(wrong(what));
        }
        if !Casting::Checked.is_defined(tokens.dtype(), dtype) {
            return Err(Error::Core(CoreError::CastNotDefined {
                from: tokens.dtype(),
                to: dtype,
                casting: Casting::Checked,
            }));
        }
        let spec = vec![Component::Tensor(TensorSpec::new(dtype, Shape::fixed(&[length]))); 2];
        Ok(Self::of(TokenWindows { tokens, length, starts, shift, dtype, spec }))
    }
}

/// Windows to prefetch into the cache ahead: windows at random positions wait for memory.
const AHEAD: usize = 2;

impl TokenWindows {
    /// Prefetches the tokens of an existing element into the cache.
    fn prefetch(&self, bytes: &[u8], index: u64) {
        let start = usize::try_from(self.starts.get(index)).unwrap_or(usize::MAX);
        let size = self.tokens.dtype().size();
        if let Some(rest) = bytes.get(start.saturating_mul(size)..) {
            prefetch(&rest[..rest.len().min(self.length * size)]);
        }
    }

    /// Writes `x` (component 0) or `y` (1) of an existing element.
    fn write(
        &self,
        all: &View<'_>,
        plain: Option<&[u8]>,
        component: usize,
        index: u64,
        out: &mut [u8],
    ) -> Result<()> {
        // Inside the array, so the arithmetic does not overflow.
        let start =
            usize::try_from(self.starts.get(index)).unwrap_or(usize::MAX) + component * self.shift;
        let (from, shape) = (all.dtype(), [self.length]);
        let window = match plain {
            Some(bytes) => {
                let bytes = &bytes[start * from.size()..(start + self.length) * from.size()];
                View::from_bytes(from, ByteOrder::Native, bytes, &shape)?
            }
            None => all.index(&[Index::Slice { start, step: 1, len: self.length }])?,
        };
        self.convert(&window, index, out)
    }
}

impl TokenWindows {
    /// Writes the tokens of a window of element `index`, converted to `dtype`.
    pub(crate) fn convert(&self, window: &View<'_>, index: u64, out: &mut [u8]) -> Result<()> {
        let written = convert_into(
            window,
            &mut ViewMut::from_bytes(self.dtype, out, &[self.length])?,
            Casting::Checked,
        );
        written.map_err(|error| Error::from(error).at_element("token_windows", index))
    }
}

impl Stage for TokenWindows {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.starts.count)
    }

    fn describe(&self) -> String {
        let (len, from) = (self.tokens.shape()[0], self.tokens.dtype());
        let Self { length, starts, shift, dtype, .. } = self;
        let (stride, boundaries) = (starts.stride, starts.describe());
        format!(
            "token_windows({len} x {from}, length={length}, stride={stride}, shift={shift}, \
            {dtype}{boundaries})"
        )
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let Self { length, shift, dtype, .. } = *self;
        let options = TokenWindowsOptions { stride: Some(self.starts.stride), shift, dtype };
        Dataset::windows_of(self.tokens.clone(), self.starts.boundaries(), length, options)
    }

    fn hints(&self, inputs: Hints) -> Hints {
        self.tokens.hints(inputs)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let Place::Memory(tokens) = &self.tokens.place else {
            return get_by_gather(&self.spec, index, |requests, out| {
                self.gather(Columns::All, requests, out, cx)
            });
        };
        let all = tokens.tensor.as_view();
        let plain = plain_rows(&all);
        let part = |component| {
            Ok(filled(self.dtype, &[self.length], |out| {
                self.write(&all, plain, component, index, out)
            })?
            .into())
        };
        (0..2).map(part).collect()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let tokens = match &self.tokens.place {
            Place::Memory(tokens) => tokens,
            Place::Opened(array) => return self.gather_opened(array, columns, requests, out, cx),
        };
        let all = tokens.tensor.as_view();
        let plain = plain_rows(&all);
        let components = columns.indices(out.len());
        for (at, request) in requests.iter().enumerate() {
            cx.cancel.check()?;
            if let (Some(later), Some(bytes)) = (requests.get(at + AHEAD), plain) {
                self.prefetch(bytes, later.index);
            }
            for (component, rows) in components.clone().zip(out.iter_mut()) {
                self.write(&all, plain, component, request.index, rows.slot(request.slot))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers, values};
    fn windows(len: u16, length: usize, stride: Option<usize>, shift: usize) -> Result<Dataset> {
        Dataset::token_windows(
            Tensor::from_vec((0..len).collect(), &[len.into()])?,
            length,
            TokenWindowsOptions { stride, shift, ..TokenWindowsOptions::default() },
        )
    }

    fn numbers(plain: &[u8]) -> Vec<i64> {
        plain.as_chunks().0.iter().map(|bytes| i64::from_ne_bytes(*bytes)).collect()
    }

    #[test]
    fn every_window_that_fits_is_an_element_and_no_other() {
        for (len, length, stride, shift) in [
            (10, 3, None, 1),
            (10, 3, Some(1), 1),
            (10, 3, Some(1), 0),
            (7, 3, Some(2), 4),
            (4, 3, None, 1),
            (100, 1, Some(7), 9),
            (3000, 1024, Some(5), 1),
        ] {
            let (step, end) = (stride.unwrap_or(length), usize::from(len));
            let starts =
                (0..).map(|at| at * step).take_while(|start| start + length + shift <= end);
            let run = |start: usize| {
                (start..start + length)
                    .map(|token| i64::try_from(token).unwrap())
                    .collect::<Vec<_>>()
            };
            let expected: Vec<_> = starts.map(|start| [run(start), run(start + shift)]).collect();
            let found = elements(&windows(len, length, stride, shift).unwrap());
            let found: Vec<_> = found
                .iter()
                .map(|element| [numbers(&element[0].2), numbers(&element[1].2)])
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_dtype_widens_to_int64_from_any_strides() {
        for dtype in
            DType::ALL.into_iter().filter(|dtype| Casting::Checked.is_defined(*dtype, DType::Int64))
        {
            let table = small_numbers(dtype, &[20, 3], 5);
            let column = table
                .index(&[Index::Slice { start: 19, step: -1, len: 20 }, Index::At(1)])
                .unwrap();
            let packed = tensorferry_io::gather::rows_out::packed(&column).unwrap();
            let read = |tokens: Tensor| {
                elements(
                    &Dataset::token_windows(
                        tokens,
                        4,
                        TokenWindowsOptions {
                            stride: Some(3),
                            shift: 2,
                            ..TokenWindowsOptions::default()
                        },
                    )
                    .unwrap(),
                )
            };
            assert_eq!(read(column), read(packed));
        }
    }

    #[test]
    fn a_token_that_does_not_fit_is_an_error_at_each_of_its_elements() {
        let tokens = Tensor::from_vec(vec![1_i64, 2, 3, 300, 5, 6, 7, 8], &[8]).unwrap();
        let results = all_ways(
            &Dataset::token_windows(
                tokens,
                2,
                TokenWindowsOptions {
                    stride: Some(1),
                    dtype: DType::UInt8,
                    ..TokenWindowsOptions::default()
                },
            )
            .unwrap(),
            0,
        );
        let failed: Vec<usize> = (0..results.len()).filter(|&at| results[at].is_err()).collect();
        assert_eq!(failed, [1, 2, 3]);
        assert!(
            results[2]
                .as_ref()
                .is_err_and(|error| error.starts_with("token_windows: element 2: int64 -> uint8"))
        );
    }

    #[test]
    fn one_component_is_gathered_alone() {
        let windows = windows(50, 5, Some(2), 3).unwrap();
        let mut bytes = vec![0; 80];
        let mut requests = [RowRequest { index: 4, slot: 1 }, RowRequest { index: 0, slot: 0 }];
        let cx = crate::all_ways::context(0);
        windows
            .stage
            .gather(
                Columns::Some(&[1]),
                &mut requests,
                &mut [RowsOut { bytes: &mut bytes, row: 40 }],
                &cx,
            )
            .unwrap();
        assert_eq!(numbers(&bytes), [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn windows_stay_between_boundaries_in_memory_and_in_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.npy");
        let tokens = Tensor::from_vec((0_u16..200).collect(), &[200]).unwrap();
        tensorferry_io::format::npy::save_npy(&path, &tokens.as_view()).unwrap();
        let boundaries = Tensor::from_vec(vec![0_i32, 7, 7, 60, 61, 150, 200], &[7]).unwrap();
        let of = |tokens: Values| {
            let options = TokenWindowsOptions { stride: Some(3), ..TokenWindowsOptions::default() };
            Dataset::token_windows_within(tokens, &boundaries, 5, options).unwrap()
        };
        let mode = tensorferry_io::storage::mode::Mode::Read;
        let opened = tensorferry_io::open::open_with(&[path], &mode.into()).unwrap();
        let windows = of(tokens.into());
        let found = elements(&windows);
        for element in &found {
            let (x, y) = (numbers(&element[0].2), numbers(&element[1].2));
            let ends = boundaries.view::<i32>().unwrap();
            assert!(ends.iter().all(|end| i64::from(end) <= x[0] || i64::from(end) > y[4]));
        }
        assert_eq!(found.len(), 1 + 16 + 28 + 15);
        assert_eq!(elements(&of(opened.array().unwrap().into())), found);
        crate::testing::assert_resumes(&windows);
        crate::testing::assert_rebuilds(&windows);
    }

    #[test]
    fn refused_when_it_is_built() {
        assert_eq!(
            windows(3, 3, None, 1).err().unwrap().to_string(),
            "token_windows: 3 tokens are fewer than a window's length of 3 and its shift of 1"
        );
        assert!(windows(9, 0, None, 1).is_err());
        assert!(windows(9, 2, Some(0), 1).is_err());
        assert!(windows(9, usize::MAX, Some(1), 1).is_err());
        assert!(
            Dataset::token_windows(
                small_numbers(DType::UInt8, &[4, 4], 1),
                2,
                TokenWindowsOptions::default()
            )
            .is_err()
        );
        assert!(
            Dataset::token_windows(
                small_numbers(DType::Complex64, &[4], 1),
                2,
                TokenWindowsOptions::default()
            )
            .is_err()
        );
        assert_eq!(values(&elements(&windows(9, 1, Some(9), 8).unwrap())[0][1]).len(), 1);
    }

    #[test]
    fn the_description_says_what_changes_the_result() {
        assert_eq!(
            windows(9, 2, None, 1).unwrap().to_string(),
            "token_windows(9 x uint16, length=2, stride=2, shift=1, int64)"
        );
    }
}
