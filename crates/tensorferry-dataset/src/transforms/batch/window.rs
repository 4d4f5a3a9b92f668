//! `window`: runs of elements, each as a dataset.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Epoch, Locate, Stage, Value,
    not_indexed,
};
use crate::transforms::batch::window_iter::{WindowIter, Windows};

/// How [`Dataset::window`] forms windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// Distance in elements between the starts of consecutive windows; the window size by default.
    pub shift: Option<u64>,
    /// Distance between consecutive elements of a window; 1 by default.
    pub stride: u64,
    /// Whether to drop windows that are not full.
    pub drop_remainder: bool,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self { shift: None, stride: 1, drop_remainder: false }
    }
}

struct Window {
    input: Dataset,
    shape: Windows,
    /// The input's components, each as a dataset.
    parts: Vec<Dataset>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Windows of elements, each with one dataset for every component. Windows start `shift`
    /// elements apart (by default `size`). Each has up to `size` elements, `stride` apart. The last
    /// windows may have fewer, or are dropped with `drop_remainder`.
    ///
    /// Over an indexed input, a window is a view that computes its elements on access. If the input
    /// has no random access or calls a sequential function, a window holds its elements.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset, Value, WindowOptions};
    ///
    /// let options = WindowOptions { shift: Some(2), ..WindowOptions::default() };
    /// // 012 234 456 6
    /// let windows = Dataset::range(0, 7, 1, DType::Int64)?.window(3, options)?;
    /// assert_eq!(windows.cardinality(), Cardinality::Finite(4));
    /// let Value::Dataset(last) = &windows.get(3)?[0] else { unreachable!() };
    /// assert_eq!(last.cardinality(), Cardinality::Finite(1));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `size`, `shift` or `stride` is 0.
    pub fn window(&self, size: u64, options: WindowOptions) -> Result<Self> {
        let WindowOptions { shift, stride, drop_remainder } = options;
        let shape = Windows { size, shift: shift.unwrap_or(size), stride, drop_remainder };
        for (name, value) in [("size", size), ("shift", shape.shift), ("stride", stride)] {
            if value == 0 {
                return Err(Error::Argument {
                    stage: "window",
                    what: format!("{name} has to be at least 1"),
                });
            }
        }
        let alone = self.spec().len() == 1;
        let part = |at| if alone { Ok(self.clone()) } else { self.components(&[at]) };
        let parts = (0..self.spec().len()).map(part).collect::<Result<_>>()?;
        let spec = self.spec().iter().map(|part| Component::Dataset(vec![part.clone()])).collect();
        Ok(Self::of(Window { input: self.clone(), shape, parts, spec }))
    }
}

impl Stage for Window {
    // Views of several components, or overlapping ones, would call a function several times per
    // element.
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            std::slice::from_ref(&self.input),
            &self.spec,
            self.input.is_indexed() && !self.input.hints.sequential,
        )
    }

    fn cardinality(&self) -> Cardinality {
        let Windows { shift, drop_remainder, .. } = self.shape;
        self.input.cardinality().map(|n| match n.checked_sub(self.shape.reach()) {
            _ if !drop_remainder => n.div_ceil(shift),
            None => 0,
            Some(rest) => (rest / shift).saturating_add(1),
        })
    }

    fn describe(&self) -> String {
        let Windows { size, shift, stride, drop_remainder } = self.shape;
        format!(
            "window({size}, {shift}, {stride}{})",
            if drop_remainder { ", drop_remainder" } else { "" }
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let Windows { size, shift, stride, drop_remainder } = self.shape;
        inputs[0].window(size, WindowOptions { shift: Some(shift), stride, drop_remainder })
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        if !self.elements().is_indexed() {
            return Err(not_indexed("window"));
        }
        let Windows { size, shift, stride, .. } = self.shape;
        let start = index.saturating_mul(shift);
        let len = self
            .input
            .cardinality()
            .finite()
            .map_or(size, |n| n.saturating_sub(start).div_ceil(stride).min(size));
        let view =
            |part: &Dataset| View { input: part.clone(), epoch: cx.epoch, start, len, stride };
        Ok(self.parts.iter().map(|part| Value::Dataset(Dataset::of(view(part)))).collect())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let spec = self.input.spec().to_vec();
        let iter = self.input.element_iter(cx)?;
        Ok(Box::new(WindowIter::new(iter, spec, self.shape, cx.cancel.clone())))
    }
}

/// `len` elements of an indexed dataset in a fixed epoch.
struct View {
    input: Dataset,
    epoch: Epoch,
    start: u64,
    len: u64,
    stride: u64,
}

impl Locate for View {
    fn locate(&self, index: u64) -> u64 {
        self.start.saturating_add(index.saturating_mul(self.stride))
    }
}

impl Stage for View {
    fn elements(&self) -> Elements<'_> {
        Elements::Moved(&self.input, self)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        format!(
            "in_window({} x {} from {} in epoch {})",
            self.len, self.stride, self.start, self.epoch.0
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self { input: inputs[0].clone(), ..*self }))
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { is_window: true, ..CheckpointInfo::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::{numbers, streamed};
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, dying, fails_at, range,
    };
    use crate::user_fn::function::Function;
    use crate::{BatchOptions, WindowOptions};

    fn windows(dataset: &Dataset) -> Result<Vec<Vec<i64>>> {
        let window = |element: Result<Element>| match &element?[0] {
            Value::Dataset(window) => numbers(window),
            Value::Tensor(_) => panic!("a tensor"),
        };
        dataset.iter().map(window).collect()
    }

    #[test]
    fn windows_are_cut_as_tf_data_cuts_them() -> Result<()> {
        for input in [range(10), streamed(&range(10))] {
            let of = |size, shift, stride, drop| {
                windows(&input.window(size, WindowOptions { shift, stride, drop_remainder: drop })?)
            };
            assert_eq!(
                windows(
                    &input
                        .take(Some(7))
                        .window(3, WindowOptions { shift: Some(2), ..WindowOptions::default() })?
                )?,
                [vec![0, 1, 2], vec![2, 3, 4], vec![4, 5, 6], vec![6]]
            );
            assert_eq!(
                of(3, Some(2), 3, false)?,
                [vec![0, 3, 6], vec![2, 5, 8], vec![4, 7], vec![6, 9], vec![8]]
            );
            assert_eq!(of(3, Some(2), 3, true)?, [[0, 3, 6], [2, 5, 8]]);
            assert_eq!(of(2, Some(4), 1, false)?, [[0, 1], [4, 5], [8, 9]]);
            assert_eq!(of(4, None, 1, true)?, [[0, 1, 2, 3], [4, 5, 6, 7]]);
            assert_eq!(of(u64::MAX, Some(9), u64::MAX, false)?, [[0], [9]]);
        }
        assert!(range(3).window(0, WindowOptions::default()).is_err());
        assert!(
            range(3)
                .window(1, WindowOptions { shift: Some(0), ..WindowOptions::default() })
                .is_err()
        );
        assert!(
            range(3).window(1, WindowOptions { stride: 0, ..WindowOptions::default() }).is_err()
        );
        Ok(())
    }

    #[test]
    fn there_are_as_many_windows_as_cardinality_says() -> Result<()> {
        for (n, size, shift, stride) in (0..9).flat_map(|n| {
            (1..5).flat_map(move |s| (1..5).flat_map(move |t| (1..4).map(move |u| (n, s, t, u))))
        }) {
            for drop in [false, true] {
                let indexed = range(n).window(
                    size,
                    WindowOptions { shift: Some(shift), stride, drop_remainder: drop },
                )?;
                let held = streamed(&range(n)).window(
                    size,
                    WindowOptions { shift: Some(shift), stride, drop_remainder: drop },
                )?;
                let all = windows(&indexed)?;
                assert_eq!(
                    indexed.cardinality(),
                    Cardinality::Finite(all.len() as u64),
                    "{indexed}"
                );
                assert_eq!(windows(&held)?, all, "{indexed}");
            }
        }
        assert_eq!(
            range(3).repeat(None).window(2, WindowOptions::default())?.cardinality(),
            Cardinality::Infinite
        );
        Ok(())
    }

    #[test]
    fn every_component_has_a_window_of_its_own() -> Result<()> {
        let wide = range(5).enumerate(10);
        for input in [wide.clone(), streamed(&wide)] {
            let element = input.window(2, WindowOptions::default())?.iter().nth(1).unwrap()?;
            let [Value::Dataset(a), Value::Dataset(b)] = element.as_slice() else {
                panic!("{element:?}")
            };
            assert_eq!((numbers(a)?, numbers(b)?), (vec![12, 13], vec![2, 3]));
            assert_eq!(numbers(&a.batch_with(2, BatchOptions::DROP_REMAINDER)?)?, [12, 13]);
        }
        Ok(())
    }

    #[test]
    fn windows_resume_also_where_they_hold_elements() -> Result<()> {
        for input in [range(9), streamed(&range(9))] {
            for (size, shift) in [(3, 2), (2, 4), (3, 3)] {
                let windows = input.window(
                    size,
                    WindowOptions { shift: Some(shift), stride: 2, ..WindowOptions::default() },
                )?;
                assert_resumes(&windows);
                assert_rejects_damage(&windows);
                assert_rebuilds(&windows);
            }
        }
        Ok(())
    }

    #[test]
    fn a_failed_element_fails_the_windows_it_is_in_and_no_others() -> Result<()> {
        let failing = range(6).map(fails_at(2, Ok), range(1).spec().to_vec());
        let windows = streamed(&failing)
            .window(2, WindowOptions { shift: Some(1), ..WindowOptions::default() })?;
        let good: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
        assert_eq!(good, [true, false, false, true, true, true]);
        assert_resumes(&windows);
        Ok(())
    }

    #[test]
    fn an_error_in_no_window_is_told_by_none() -> Result<()> {
        for (size, shift, stride, drop, bad, expected) in [
            (2, 4, 1, false, 2, 3),
            (2, 4, 1, false, 7, 3),
            (2, 3, 2, false, 1, 4),
            (4, 4, 1, true, 9, 2),
            (1, 9, 1, false, 5, 2),
        ] {
            let failing = streamed(&range(10).map(fails_at(bad, Ok), range(1).spec().to_vec()));
            let windows = failing
                .window(size, WindowOptions { shift: Some(shift), stride, drop_remainder: drop })?;
            let all: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
            assert_eq!(all, vec![true; expected], "{windows} without {bad}");
            assert_resumes(&windows);
        }
        Ok(())
    }

    #[test]
    fn an_error_that_ends_a_stream_is_told_where_no_window_holds_it() -> Result<()> {
        for windows in [
            dying(2).window(1, WindowOptions { shift: Some(4), ..WindowOptions::default() })?,
            dying(2)
                .window(4, WindowOptions { drop_remainder: true, ..WindowOptions::default() })?,
        ] {
            let good: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
            assert_eq!(good.iter().filter(|good| !**good).count(), 1, "{windows}");
            assert!(!good[good.len() - 1], "{windows}");
            assert_resumes(&windows);
        }
        Ok(())
    }

    #[test]
    fn a_sequential_function_is_called_once_for_each_element() -> Result<()> {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU64, Ordering};
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let count = Function::sequential("count", move |element| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(element)
        });
        let mapped = range(6).map(count, range(1).spec().to_vec());
        assert_eq!(
            windows(&mapped.window(
                3,
                WindowOptions { shift: Some(1), drop_remainder: true, ..WindowOptions::default() }
            )?)?
            .len(),
            4
        );
        assert_eq!(calls.load(Ordering::Relaxed), 6);
        Ok(())
    }
}
