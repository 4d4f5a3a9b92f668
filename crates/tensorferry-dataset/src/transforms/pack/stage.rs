//! `pack`: rows of tokens, packed into windows of one length.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::gather::get_by_gather;
use crate::request::Columns;
use crate::shuffle::orders::Orders;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Epoch, Stage, not_indexed};
use crate::transforms::pack::fit_index::FitIndex;
use crate::transforms::pack::fragments::Fragment;
use crate::transforms::pack::pack_iter::{BestFitIter, ConcatIter};
use crate::transforms::pack::packing::{PackOptions, PackStrategy, Packing};
use crate::transforms::pack::row_feed::parts;
use crate::transforms::pack::window_index::WindowIndex;
use std::sync::Arc;
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Pack {
    packing: Arc<Packing>,
    /// Present if element `i` follows from `i` alone.
    index: Option<Index>,
}

enum Index {
    /// Where windows begin in each epoch.
    Concat {
        rows: u64,
        /// Number of tokens in every epoch.
        tokens: u64,
        epochs: Orders<u64, Arc<WindowIndex>>,
    },
    BestFit(FitIndex),
}

impl Dataset {
    /// Packs rows of tokens into windows of `length` tokens, for training language models. Elements
    /// have the components of the input, of shape `[length]`, and two more, int32 of the same
    /// shape: the segment of each token, which numbers the rows of the window from 1 on and is 0
    /// where the window is empty, and its position in the segment.
    ///
    /// If the lengths of rows are known and every epoch has the same rows, the result is indexed:
    /// windows can be shuffled. With [`PackStrategy::Concat`], epochs may differ in their order, up
    /// to 2^24 rows; with [`PackStrategy::BestFit`] they have one order, of up to 2^22 rows.
    /// Otherwise windows follow from the rows in order.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, PackOptions, Ragged};
    ///
    /// let values = Tensor::from_vec(vec![1_i32, 2, 3, 4, 5], &[5])?;
    /// let lengths = Tensor::from_vec(vec![2_i64, 3], &[2])?;
    /// let rows = Dataset::from_ragged([Ragged::from_row_lengths(values, &lengths)?])?;
    /// let window = rows.pack(4, PackOptions::default())?.get(0)?;
    /// let ints = |at: usize| Ok::<_, tensorferry_dataset::Error>(
    ///     window[at].tensor()?.view::<i32>()?.as_slice().map(<[i32]>::to_vec));
    /// assert_eq!(ints(0)?, Some(vec![1, 2, 3, 4]));
    /// assert_eq!(ints(1)?, Some(vec![1, 1, 2, 2]));
    /// assert_eq!(ints(2)?, Some(vec![0, 1, 0, 1]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if `length` is 0 or exceeds an `i32`, if a component is not a row
    /// of numbers, or if `eos` is given for several components; [`crate::Error::ElementMismatch`]
    /// if `eos` has another dtype. Components of different lengths are an error at their row.
    pub fn pack(&self, length: usize, options: PackOptions) -> Result<Self> {
        let packing = Packing::new(self, length, options)?;
        let index = Index::new(&packing)?;
        Ok(Self::of(Pack { packing: Arc::new(packing), index }))
    }
}

impl Index {
    fn new(packing: &Packing) -> Result<Option<Self>> {
        let Some(rows) = packing.indexed_rows() else { return Ok(None) };
        let cx = Context::new(Epoch(0), CancelToken::default());
        let first = packing.index(rows, &cx)?;
        if packing.options.strategy == PackStrategy::BestFit {
            // Of the first index, only the check that components agree is needed.
            let index = FitIndex::new(&packing.input, rows, packing.window, &cx);
            return Ok(Some(Self::BestFit(index.map_err(|error| packing.input.explain(error))?)));
        }
        let (tokens, epochs) = (first.tokens(), Orders::default());
        epochs.of(0, || Arc::new(first));
        Ok(Some(Self::Concat { rows, tokens, epochs }))
    }

    /// Number of windows in every epoch.
    fn windows(&self, packing: &Packing) -> u64 {
        let length = packing.window.length as u64;
        match self {
            Self::Concat { tokens, .. } if packing.options.drop_remainder => tokens / length,
            Self::Concat { tokens, .. } => tokens.div_ceil(length),
            Self::BestFit(index) => index.windows(),
        }
    }

    /// The fragments of the requested windows, in the order of the requests.
    fn fragments(
        &self,
        packing: &Packing,
        requests: &[RowRequest],
        cx: &Context,
    ) -> Result<Vec<Vec<Fragment>>> {
        let input = (&packing.input, packing.window);
        match self {
            Self::Concat { rows, epochs, .. } => {
                let epoch = if packing.input.depends_on_epoch() { cx.epoch.0 } else { 0 };
                let index = epochs.try_of(epoch, || packing.index(*rows, cx).map(Arc::new))?;
                index.fragments(requests, input, cx)
            }
            Self::BestFit(index) => {
                index.fragments(requests.iter().map(|request| request.index), input, cx)
            }
        }
    }
}

impl Stage for Pack {
    fn elements(&self) -> Elements<'_> {
        let inputs = std::slice::from_ref(&self.packing.input);
        Elements::computed(inputs, &self.packing.spec, self.index.is_some())
    }

    fn cardinality(&self) -> Cardinality {
        match (&self.index, self.packing.input.cardinality()) {
            (Some(index), _) => Cardinality::Finite(index.windows(&self.packing)),
            (None, Cardinality::Infinite) => Cardinality::Infinite,
            _ => Cardinality::Unknown,
        }
    }

    fn describe(&self) -> String {
        let Packing { window, options, eos, .. } = &*self.packing;
        let mut arguments = vec![window.length.to_string()];
        if options.strategy == PackStrategy::BestFit {
            arguments.push("best_fit".into());
        }
        arguments.extend(eos.as_ref().map(|eos| format!("eos={eos:02x?}")));
        if options.drop_remainder {
            arguments.push("drop_remainder".into());
        }
        format!("pack({})", arguments.join(", "))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].pack(self.packing.window.length, self.packing.options.clone())
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        get_by_gather(&self.packing.spec, index, |requests, out| {
            self.gather(Columns::All, requests, out, cx)
        })
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let Some(index) = &self.index else { return Err(not_indexed("pack")) };
        let input = &self.packing.input;
        let fragments = index.fragments(&self.packing, requests, cx)?;
        let firsts = requests.iter().map(|request| request.slot * self.packing.window.length);
        let windows: Vec<(usize, &[Fragment])> =
            firsts.zip(fragments.iter().map(Vec::as_slice)).collect();
        self.packing.write(columns, &windows, out, |at, rows| {
            input.stage.gather_parts(at, &mut parts(&windows), rows, cx)
        })
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let packing = Arc::clone(&self.packing);
        Ok(match self.packing.options.strategy {
            PackStrategy::Concat => Box::new(ConcatIter::new(packing, cx)?),
            PackStrategy::BestFit => Box::new(BestFitIter::new(packing, cx)?),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::streamed;
    use crate::execute::options::Options;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, range, rest, stream,
    };
    use crate::{BatchOptions, Ragged, ShuffleOptions};
    use tensorferry_core::{DType, Tensor};

    /// Rows of these lengths, of the tokens 1, 2, 3 ...
    fn rows(lens: &[usize]) -> Dataset {
        let count: usize = lens.iter().sum();
        let values = Tensor::from_vec((1_u16..).take(count).collect(), &[count]).unwrap();
        let lens: Vec<i64> = lens.iter().map(|len| i64::try_from(*len).unwrap()).collect();
        let lens = Tensor::from_vec(lens.clone(), &[lens.len()]).unwrap();
        Dataset::from_ragged([Ragged::from_row_lengths(values, &lens).unwrap()]).unwrap()
    }

    fn options(strategy: PackStrategy, eos: bool) -> PackOptions {
        let eos = eos.then(|| Tensor::from_vec(vec![0xFFFF_u16], &[]).unwrap());
        PackOptions { strategy, eos, drop_remainder: false }
    }

    /// Tokens, segments and positions of each window.
    fn windows(dataset: &Dataset) -> Vec<[Vec<i64>; 3]> {
        let window = |element: Result<Element>| {
            let element = element.unwrap();
            [0, 1, 2].map(|at| {
                let tensor = element[at].tensor().unwrap().clone();
                let wide = tensorferry_io::convert::convert(
                    &tensor.as_view(),
                    DType::Int64,
                    tensorferry_core::Casting::Checked,
                );
                wide.unwrap().view::<i64>().unwrap().iter().collect()
            })
        };
        dataset.iter().map(window).collect()
    }

    /// The rows of a dataset.
    fn tokens(dataset: &Dataset) -> Vec<Vec<i64>> {
        let row = |element: Result<Element>| {
            let row = element.unwrap()[0].tensor().unwrap().clone();
            row.view::<u16>().unwrap().iter().map(i64::from).collect()
        };
        dataset.iter().map(row).collect()
    }

    /// Windows of rows, one token after the other.
    fn plainly(rows: &[Vec<i64>], length: usize, eos: bool) -> Vec<[Vec<i64>; 3]> {
        let mut windows: Vec<[Vec<i64>; 3]> = Vec::new();
        for row in rows {
            let (mut position, mut begun) = (0, false);
            for token in row.iter().copied().chain(eos.then_some(0xFFFF)) {
                if windows.last().is_none_or(|window| window[0].len() == length) {
                    windows.push(Default::default());
                    (position, begun) = (0, false);
                }
                let [tokens, segments, positions] = windows.last_mut().unwrap();
                let last = segments.last().copied().unwrap_or(0);
                segments.push(if begun { last } else { last + 1 });
                tokens.push(token);
                positions.push(position);
                (position, begun) = (position + 1, true);
            }
        }
        if let Some([tokens, segments, positions]) = windows.last_mut() {
            tokens.resize(length, if eos { 0xFFFF } else { 0 });
            segments.resize(length, 0);
            positions.resize(length, 0);
        }
        windows
    }

    const LENS: [usize; 14] = [3, 0, 1, 17, 2, 2, 0, 0, 5, 1, 8, 9, 4, 31];

    #[test]
    fn concatenated_windows_are_those_of_one_token_after_the_other() {
        for length in [1, 4, 8, 100] {
            for eos in [false, true] {
                let pack =
                    |rows: &Dataset| rows.pack(length, options(PackStrategy::Concat, eos)).unwrap();
                let indexed = rows(&LENS);
                let shuffled = indexed.shuffle(ShuffleOptions::seeded(5)).unwrap();
                let repeated = indexed.repeat(Some(3)).skip(Some(2));
                let rounds = shuffled.concatenate(&indexed).unwrap().repeat(Some(2));
                for rows in [indexed, shuffled, repeated, rounds] {
                    let expected = plainly(&tokens(&rows), length, eos);
                    let (packed, streamed) = (pack(&rows), pack(&streamed(&rows)));
                    assert!(packed.is_indexed() && !streamed.is_indexed(), "{rows}");
                    assert_eq!(windows(&packed), expected, "{packed}");
                    assert_eq!(windows(&streamed), expected, "{streamed}");
                    if let Some(count) = packed.cardinality().finite() {
                        assert_eq!(count, expected.len() as u64);
                    }
                }
            }
        }
        assert_eq!(windows(&rows(&[]).pack(3, PackOptions::default()).unwrap()).len(), 0);
        let many = rows(&vec![3; 1000]);
        let packed = many.pack(7, PackOptions::default()).unwrap();
        assert_eq!(windows(&packed), plainly(&tokens(&many), 7, false));
    }

    #[test]
    fn each_epoch_packs_its_own_order() {
        let shuffled = rows(&LENS).shuffle(ShuffleOptions::seeded(5)).unwrap();
        let packed = shuffled.pack(5, options(PackStrategy::Concat, true)).unwrap();
        let part = shuffled.take(Some(9)).pack(5, options(PackStrategy::Concat, true)).unwrap();
        assert!(packed.is_indexed() && !part.is_indexed());
        for epoch in [Epoch(0), Epoch(3), Epoch(1), Epoch(0)] {
            let iter = |dataset: &Dataset| dataset.iter_with(epoch, &Options::default());
            let rows: Vec<Vec<i64>> = iter(&shuffled)
                .map(|row| {
                    row.unwrap()[0]
                        .tensor()
                        .unwrap()
                        .view::<u16>()
                        .unwrap()
                        .iter()
                        .map(i64::from)
                        .collect()
                })
                .collect();
            for (packed, rows) in [(&packed, &rows[..]), (&part, &rows[..9])] {
                let expected = plainly(rows, 5, true);
                let found: Vec<Vec<i64>> = iter(packed)
                    .map(|window| {
                        window.unwrap()[0]
                            .tensor()
                            .unwrap()
                            .view::<u16>()
                            .unwrap()
                            .iter()
                            .map(i64::from)
                            .collect()
                    })
                    .collect();
                assert_eq!(
                    found,
                    expected.into_iter().map(|window| window[0].clone()).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn windows_can_be_shuffled_and_batched() {
        let packed = rows(&LENS).pack(4, options(PackStrategy::Concat, true)).unwrap();
        let expected = windows(&packed);
        let mut shuffled = windows(&packed.shuffle(ShuffleOptions::seeded(2)).unwrap());
        assert_ne!(shuffled, expected);
        shuffled.sort();
        let mut sorted = expected.clone();
        sorted.sort();
        assert_eq!(shuffled, sorted);
        let batches = packed.batch(5).unwrap();
        let joined: Vec<i64> =
            windows(&batches).into_iter().flat_map(|batch| batch[1].clone()).collect();
        assert_eq!(
            joined,
            expected.iter().flat_map(|window| window[1].clone()).collect::<Vec<_>>()
        );
        let full = PackOptions { drop_remainder: true, ..options(PackStrategy::Concat, false) };
        let (full, all) = (rows(&LENS).pack(4, full).unwrap(), rows(&LENS));
        assert_eq!(windows(&full).len(), LENS.iter().sum::<usize>() / 4);
        assert_eq!(full.cardinality().finite(), Some(LENS.iter().sum::<usize>() as u64 / 4));
        let streamed = streamed(&all).pack(4, full_options()).unwrap();
        assert_eq!(windows(&streamed), windows(&full));
    }

    fn full_options() -> PackOptions {
        PackOptions { drop_remainder: true, ..options(PackStrategy::Concat, false) }
    }

    #[test]
    fn windows_of_best_fit_have_random_access() {
        let lens: Vec<usize> = (0..2000).map(|at| at * 37 % 61).collect();
        for (length, eos) in [(7, false), (61, true), (100, false)] {
            let pack = |rows: &Dataset| rows.pack(length, options(PackStrategy::BestFit, eos));
            let rows = rows(&lens);
            let (packed, plain) = (pack(&rows).unwrap(), pack(&streamed(&rows)).unwrap());
            assert!(packed.is_indexed() && !plain.is_indexed());
            let expected = windows(&plain);
            assert_eq!(packed.cardinality().finite(), Some(expected.len() as u64));
            assert_eq!(windows(&packed), expected);
            let order = Tensor::from_vec(vec![9_i64, 3, 3, 0, 40], &[5]).unwrap();
            let picked = windows(&packed.select(&order.try_into().unwrap()).unwrap());
            assert_eq!(picked, [9, 3, 3, 0, 40].map(|at| expected[at].clone()));
            // Epochs of another order have windows of their own.
            let reshuffled = pack(&rows.shuffle(ShuffleOptions::default()).unwrap()).unwrap();
            assert!(!reshuffled.is_indexed());
        }
    }

    #[test]
    fn rows_that_fit_are_not_cut() {
        for eos in [false, true] {
            let pack = |rows: &Dataset| rows.pack(10, options(PackStrategy::BestFit, eos)).unwrap();
            let measured = windows(&pack(&rows(&LENS)));
            assert_eq!(measured, windows(&pack(&streamed(&rows(&LENS)))));
            let mut seen: Vec<i64> = measured.iter().flat_map(|window| window[0].clone()).collect();
            seen.retain(|token| *token != 0 && *token != 0xFFFF);
            seen.sort_unstable();
            assert_eq!(
                seen,
                (1..=i64::try_from(LENS.iter().sum::<usize>()).unwrap()).collect::<Vec<_>>()
            );
            let segments: i64 =
                measured.iter().map(|window| window[1].iter().max().copied().unwrap()).sum();
            let parts: usize = LENS.iter().map(|len| (len + usize::from(eos)).div_ceil(10)).sum();
            assert_eq!(segments, i64::try_from(parts).unwrap());
        }
    }

    #[test]
    fn every_state_resumes_and_damage_is_refused() {
        for strategy in [PackStrategy::Concat, PackStrategy::BestFit] {
            let shuffled = rows(&LENS).shuffle(ShuffleOptions::seeded(5)).unwrap();
            for rows in [rows(&LENS), shuffled, streamed(&rows(&LENS))] {
                let packed = rows.pack(6, options(strategy, true)).unwrap();
                assert_resumes(&packed);
                assert_rejects_damage(&packed);
            }
            assert_rebuilds(&rows(&LENS).pack(6, options(strategy, true)).unwrap());
        }
    }

    #[test]
    fn components_are_packed_side_by_side() {
        let (first, second) = (
            rows(&LENS),
            rows(&LENS).cast(&[Some(DType::Int64)], tensorferry_core::Casting::Checked).unwrap(),
        );
        let both = Dataset::zip(vec![first.clone(), second]).unwrap();
        for rows in [both.clone(), streamed(&both)] {
            let packed = rows.pack(6, PackOptions::default()).unwrap();
            let alone = first.pack(6, PackOptions::default()).unwrap();
            for (both, one) in packed.iter().zip(&alone) {
                let (both, one) = (both.unwrap(), one.unwrap());
                let bytes = |value: &crate::Value| {
                    value.tensor().unwrap().as_view().as_bytes().unwrap().to_vec()
                };
                assert_eq!(bytes(&both[0]), bytes(&one[0]));
                assert_eq!(bytes(&both[2]), bytes(&one[1]));
                assert_eq!(both[1].tensor().unwrap().dtype(), DType::Int64);
            }
        }
        let mut other = LENS;
        other[3] += 1;
        other[4] -= 1;
        let unequal = Dataset::zip(vec![rows(&LENS), rows(&other)]).unwrap();
        let error = unequal.pack(6, PackOptions::default()).unwrap_err().to_string();
        assert!(error.contains("pack: element 3"), "{error}");
        let iterated = streamed(&unequal).pack(6, PackOptions::default()).unwrap();
        let errors: Vec<String> =
            iterated.iter().filter_map(|window| window.err().map(|e| e.to_string())).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        let best = options(PackStrategy::BestFit, false);
        let error = unequal.pack(6, best.clone()).unwrap_err().to_string();
        assert!(error.contains("pack: element 3"), "{error}");
        let reshuffled = unequal.shuffle(ShuffleOptions::default()).unwrap();
        for rows in [streamed(&unequal), reshuffled] {
            let all = rest(&mut stream(&rows.pack(6, best.clone()).unwrap()));
            assert_eq!(all.iter().filter(|text| text.contains("element")).count(), 2, "{all:?}");
        }
    }

    #[test]
    fn refused_when_it_is_built() {
        let said = |result: Result<Dataset>| result.unwrap_err().to_string();
        assert!(said(rows(&[1]).pack(0, PackOptions::default())).contains("length=0"));
        assert!(said(range(3).pack(2, PackOptions::default())).contains("one dimension"));
        let wide = PackOptions {
            eos: Some(Tensor::from_vec(vec![1_i64], &[]).unwrap()),
            ..PackOptions::default()
        };
        assert!(said(rows(&[1]).pack(2, wide)).contains("eos is int64"));
        let best = PackOptions { drop_remainder: true, ..options(PackStrategy::BestFit, false) };
        assert!(said(rows(&[1]).pack(2, best)).contains("drop_remainder"));
        let ragged = rows(&[1]).ragged_batch(1, BatchOptions::default()).unwrap();
        assert!(ragged.pack(2, options(PackStrategy::Concat, true)).is_err());
    }
}
