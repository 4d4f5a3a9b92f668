//! Tests of random chains of index arithmetic against plain lists, and helpers for these stages.

use crate::BatchOptions;
use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::shuffle::prng::mix;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Epoch, Stage};
use crate::testing::{assert_rebuilds, assert_resumes};
use crate::user_fn::function::Function;
use std::rc::Rc;
use tensorferry_core::{DType, Shape, TensorSpec};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled};

/// A dataset without random access, of unknown length.
struct Streamed(Dataset);

/// The same elements without random access.
pub(crate) fn streamed(input: &Dataset) -> Dataset {
    Dataset::of(Streamed(input.clone()))
}

impl Stage for Streamed {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.0), self.0.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        "streamed".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(streamed(&inputs[0]))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        self.0.element_iter(cx)
    }
}

pub(crate) fn context() -> Context {
    Context::new(Epoch(0), CancelToken::default())
}

/// The values of an element of int64 tensors, concatenated.
pub(crate) fn values(element: &Element) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    for value in element {
        all.extend(value.tensor()?.view::<i64>()?.iter());
    }
    Ok(all)
}

/// The values of each element.
pub(crate) fn rows(dataset: &Dataset) -> Result<Vec<Vec<i64>>> {
    dataset.iter().map(|element| values(&element?)).collect()
}

/// The values of all elements.
pub(crate) fn numbers(dataset: &Dataset) -> Result<Vec<i64>> {
    Ok(rows(dataset)?.concat())
}

/// `0..n` plus 1000 times a number that depends on the epoch, so that elements show their epoch.
struct Epochal(u64, Vec<Component>);

fn epochal(n: u64) -> Dataset {
    Dataset::of(Epochal(
        n,
        vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::fixed(&[])))],
    ))
}

fn epochal_value(index: u64, epoch: Epoch) -> i64 {
    (index + 1000 * (epoch.0 % 97)).cast_signed()
}

impl Stage for Epochal {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.1)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.0)
    }

    fn describe(&self) -> String {
        format!("epochal({})", self.0)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(epochal(self.0))
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        assert!(index < self.0, "element {index} of {} was asked for", self.0);
        let value = filled(DType::Int64, &[], |out| -> Result<()> {
            out.copy_from_slice(&epochal_value(index, cx.epoch).to_ne_bytes());
            Ok(())
        })?;
        Ok(vec![value.into()])
    }
}

/// Elements of scalars.
type List = Vec<Vec<i64>>;

/// A dataset, and the elements that it must have in every epoch.
#[derive(Clone)]
struct Case {
    dataset: Dataset,
    list: Rc<dyn Fn(Epoch) -> List>,
}

impl Case {
    fn new(n: u64) -> Self {
        let list = move |epoch| (0..n).map(|index| vec![epochal_value(index, epoch)]).collect();
        Self { dataset: epochal(n), list: Rc::new(list) }
    }

    /// A case for `dataset`, with this case's lists after `change`.
    fn then(&self, dataset: Dataset, change: impl Fn(List) -> List + 'static) -> Self {
        let list = Rc::clone(&self.list);
        Self { dataset, list: Rc::new(move |epoch| change(list(epoch))) }
    }

    /// A case for `dataset`, with the same lists.
    fn same(&self, dataset: Dataset) -> Self {
        Self { dataset, list: Rc::clone(&self.list) }
    }

    fn repeat(&self, count: Option<u64>) -> Self {
        let list = Rc::clone(&self.list);
        // The caller truncates an infinite one.
        let rounds = move |epoch: Epoch| match count {
            Some(1) => list(epoch),
            count => (0..count.unwrap_or(40)).flat_map(|round| list(epoch.child(round))).collect(),
        };
        Self { dataset: self.dataset.repeat(count), list: Rc::new(rounds) }
    }

    fn take(&self, count: usize) -> Self {
        self.then(self.dataset.take(Some(count as u64)), move |list| {
            list.into_iter().take(count).collect()
        })
    }

    fn skip(&self, count: usize) -> Self {
        self.then(self.dataset.skip(Some(count as u64)), move |list| {
            list.into_iter().skip(count).collect()
        })
    }

    fn shard(&self, num: usize, index: usize) -> Result<Self> {
        let dataset = self.dataset.shard(num as u64, index as u64)?;
        Ok(self.then(dataset, move |list| list.into_iter().skip(index).step_by(num).collect()))
    }

    fn enumerate(&self, start: i64) -> Self {
        let number = |(number, row): (i64, Vec<i64>)| std::iter::once(number).chain(row).collect();
        self.then(self.dataset.enumerate(start), move |list| {
            (start..).zip(list).map(number).collect()
        })
    }

    fn zip(&self, other: &Self) -> Result<Self> {
        let dataset = Dataset::zip(vec![self.dataset.clone(), other.dataset.clone()])?;
        let (a, b) = (Rc::clone(&self.list), Rc::clone(&other.list));
        let list =
            move |epoch| a(epoch).into_iter().zip(b(epoch)).map(|(a, b)| [a, b].concat()).collect();
        Ok(Self { dataset, list: Rc::new(list) })
    }

    fn concatenate(&self, other: &Self) -> Result<Self> {
        let dataset = self.dataset.concatenate(&other.dataset)?;
        let (a, b) = (Rc::clone(&self.list), Rc::clone(&other.list));
        Ok(Self { dataset, list: Rc::new(move |epoch| [a(epoch), b(epoch)].concat()) })
    }

    fn components(&self, which: Vec<usize>) -> Result<Self> {
        let dataset = self.dataset.components(&which)?;
        Ok(self.then(dataset, move |list| {
            list.iter().map(|row| which.iter().map(|at| row[*at]).collect()).collect()
        }))
    }

    fn cache(&self) -> Self {
        let list = Rc::clone(&self.list);
        Self { dataset: self.dataset.cache(), list: Rc::new(move |_| list(Epoch(0))) }
    }

    fn map(&self, sequential: bool) -> Self {
        let make = if sequential { Function::sequential } else { Function::new };
        self.same(self.dataset.map(make("identity", Ok), self.dataset.spec().to_vec()))
    }

    /// Adds a random stage. `draw` returns a number below its argument.
    fn grow(&self, draw: &mut impl FnMut(usize) -> usize) -> Result<Self> {
        let width = self.dataset.spec().len();
        Ok(match draw(16) {
            0 => self.take(draw(12)),
            1 => self.skip(draw(4)),
            2 => {
                let num = 1 + draw(3);
                self.shard(num, draw(num))?
            }
            3 => self.repeat(Some(draw(4) as u64)),
            4 => self.repeat(None).take(draw(25)),
            5 => self.enumerate(i64::try_from(draw(9)).unwrap_or(0) - 4),
            6 => self.zip(&Self::new(draw(12) as u64))?,
            7 => self.zip(&self.skip(draw(3)))?,
            8 => self.concatenate(&self.skip(draw(3)))?,
            9 => self.components((0..1 + draw(3)).map(|_| draw(width)).collect())?,
            10 => self.cache(),
            11 => self.same(self.dataset.prefetch(Some(2))),
            12 => self.map(draw(3) == 0),
            13 => {
                let (size, drop) = (1 + draw(4), draw(2) == 0);
                let whole =
                    move |list: List| if drop { list.len() / size * size } else { list.len() };
                let dataset = self
                    .dataset
                    .batch_with(size, BatchOptions { drop_remainder: drop })?
                    .unbatch()?;
                self.then(dataset, move |list| {
                    list.iter().take(whole(list.clone())).cloned().collect()
                })
            }
            14 => {
                let sizes: Vec<usize> = (0..1 + draw(3)).map(|_| 1 + draw(3)).collect();
                self.same(
                    self.dataset
                        .batch(1 + draw(4))?
                        .rebatch(sizes, BatchOptions::default())?
                        .unbatch()?,
                )
            }
            _ => self.same(streamed(&self.dataset)),
        })
    }
}

fn in_epoch(epoch: Epoch) -> Context {
    Context::new(epoch, CancelToken::default())
}

fn check_stream(dataset: &Dataset, list: &List, epoch: Epoch) -> Result<()> {
    let mut stream = crate::testing::Pass(dataset.element_iter(&in_epoch(epoch))?);
    // One more than expected, in case it does not end.
    let all =
        std::iter::from_fn(|| stream.next()).take(list.len() + 1).map(|element| values(&element?));
    assert_eq!(all.collect::<Result<List>>()?, *list, "{dataset} in {epoch:?}");
    assert!(stream.next().is_none(), "{dataset}: an element after the end");
    Ok(())
}

/// Checks elements by index, gathered in random order with repetitions, and in batches.
fn check_indexed(
    dataset: &Dataset,
    list: &List,
    epoch: Epoch,
    draw: &mut impl FnMut(usize) -> usize,
) -> Result<()> {
    let cx = in_epoch(epoch);
    for (index, row) in (0_u64..).zip(list) {
        assert_eq!(
            values(&dataset.stage.get(index, &cx)?)?,
            *row,
            "{dataset}: element {index} in {epoch:?}"
        );
    }
    if list.is_empty() {
        return Ok(());
    }
    let wanted: Vec<usize> = (0..10).map(|_| draw(list.len())).collect();
    let width = dataset.spec().len();
    let mut memory = vec![vec![0_u8; 8 * wanted.len()]; width];
    let mut out: Vec<RowsOut<'_>> =
        memory.iter_mut().map(|bytes| RowsOut { bytes, row: 8 }).collect();
    let mut requests: Vec<RowRequest> = wanted
        .iter()
        .enumerate()
        .map(|(slot, &at)| RowRequest { index: at as u64, slot })
        .collect();
    dataset.stage.gather(crate::request::Columns::All, &mut requests, &mut out, &cx)?;
    for (component, bytes) in memory.iter().enumerate() {
        let gathered: Vec<i64> = bytes
            .chunks_exact(8)
            .map(|bytes| i64::from_ne_bytes(bytes.try_into().unwrap()))
            .collect();
        let expected: Vec<i64> = wanted.iter().map(|&at| list[at][component]).collect();
        assert_eq!(
            gathered, expected,
            "{dataset}: component {component} of {wanted:?} in {epoch:?}"
        );
    }
    let size = 1 + draw(5);
    let batches = dataset.batch(size)?;
    for (at, rows) in (0_u64..).zip(list.chunks(size)) {
        let expected: Vec<i64> =
            (0..width).flat_map(|component| rows.iter().map(move |row| row[component])).collect();
        assert_eq!(
            values(&batches.stage.get(at, &cx)?)?,
            expected,
            "{batches}: batch {at} in {epoch:?}"
        );
    }
    Ok(())
}

fn check_case(case: &Case, draw: &mut impl FnMut(usize) -> usize) -> Result<()> {
    let Case { dataset, list } = case;
    for epoch in [Epoch(0), Epoch(3)] {
        let list = list(epoch);
        match dataset.cardinality() {
            Cardinality::Finite(n) => assert_eq!(n, list.len() as u64, "{dataset}"),
            Cardinality::Unknown => assert!(!dataset.is_indexed(), "{dataset}"),
            Cardinality::Infinite => panic!("{dataset} ends"),
        }
        check_stream(dataset, &list, epoch)?;
        // The elements are the same without random access.
        check_stream(&streamed(dataset), &list, epoch)?;
        if dataset.is_indexed() {
            check_indexed(dataset, &list, epoch, draw)?;
        }
    }
    assert_resumes(dataset);
    assert_rebuilds(dataset);
    Ok(())
}

#[test]
fn random_chains_agree_with_lists_however_they_are_read_and_wherever_resumed() -> Result<()> {
    let (mut indexed, mut long) = (0, 0);
    for seed in 0..600 {
        let mut count = 0;
        let mut draw = move |below: usize| {
            count += 1;
            usize::try_from(mix(mix(seed) ^ count) % below.max(1) as u64).unwrap()
        };
        let mut case = Case::new(draw(14) as u64);
        for _ in 0..1 + draw(6) {
            let next = case.grow(&mut draw)?;
            // Truncate repeats of repeats, to keep the test fast.
            case = if (next.list)(Epoch(0)).len() > 60 { next.take(60) } else { next };
        }
        indexed += u32::from(case.dataset.is_indexed());
        long += u32::from((case.list)(Epoch(0)).len() > 3);
        check_case(&case, &mut draw)?;
    }
    assert!(
        indexed > 150 && indexed < 500 && long > 200,
        "the chains are of one sort only: {indexed} indexed, {long} long"
    );
    Ok(())
}
