//! For tests: computes the elements of a dataset in every way and checks that the results agree,
//! including errors.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Epoch, Stage, Value};
use tensorferry_core::convert::scalar;
use tensorferry_core::{Casting, DType, Kind, Shape, Tensor, TensorSpec};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

/// One component's value: dtype, shape, bytes.
pub(crate) type Plain = (DType, Vec<usize>, Vec<u8>);

/// The result of a computation, or the message of its error.
pub(crate) type Computed<T> = Result<T, String>;

/// The input without random access, or without its shapes.
struct Disguised {
    input: Dataset,
    spec: Vec<Component>,
    indexed: bool,
}

impl Stage for Disguised {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(&[], &self.spec, self.indexed)
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        "disguised".into()
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        unreachable!()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(index, cx)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        self.input.element_iter(cx)
    }
}

/// The same elements without random access.
pub(crate) fn streamed(input: &Dataset) -> Dataset {
    Dataset::of(Disguised { input: input.clone(), spec: input.spec().to_vec(), indexed: false })
}

/// The same elements with unknown shapes.
pub(crate) fn shapeless(input: &Dataset) -> Dataset {
    let hide = |part: &Component| {
        Component::Tensor(TensorSpec::new(part.tensor().unwrap().dtype, Shape::unknown()))
    };
    Dataset::of(Disguised {
        input: input.clone(),
        spec: input.spec().iter().map(hide).collect(),
        indexed: true,
    })
}

pub(crate) fn context(epoch: u64) -> Context {
    Context::new(Epoch(epoch), CancelToken::default())
}

fn plain(element: Result<Element>, spec: &[Component]) -> Computed<Vec<Plain>> {
    let check = |(value, part): (&Value, &Component)| {
        let tensor = value.tensor().unwrap();
        part.tensor().unwrap().check(tensor).unwrap();
        let packed = tensorferry_io::gather::rows_out::packed(tensor).unwrap();
        (packed.dtype(), packed.shape().to_vec(), packed.as_view().as_bytes().unwrap().to_vec())
    };
    let element = element.map_err(|error| error.to_string())?;
    Ok(element.iter().zip(spec).map(check).collect())
}

/// Gathers elements into slots, and checks that the other slots are not written.
fn gathered(dataset: &Dataset, wanted: &[(u64, usize)], cx: &Context) -> Computed<Vec<Vec<Plain>>> {
    let parts: Vec<(DType, _)> = dataset
        .spec()
        .iter()
        .map(|part| part.tensor().unwrap())
        .map(|s| (s.dtype, s.fixed().unwrap()))
        .collect();
    let slots = wanted.iter().map(|(_, slot)| slot + 1).max().unwrap_or(0);
    let mut memory: Vec<Vec<u8>> =
        parts.iter().map(|(_, (_, row))| vec![0xA5; slots * row]).collect();
    let mut out: Vec<RowsOut<'_>> = memory
        .iter_mut()
        .zip(&parts)
        .map(|(bytes, (_, (_, row)))| RowsOut { bytes, row: *row })
        .collect();
    let mut requests: Vec<RowRequest> =
        wanted.iter().map(|&(index, slot)| RowRequest { index, slot }).collect();
    dataset
        .stage
        .gather(crate::request::Columns::All, &mut requests, &mut out, cx)
        .map_err(|error| error.to_string())?;
    drop(out);
    for slot in (0..slots).filter(|slot| wanted.iter().all(|(_, taken)| taken != slot)) {
        let untouched = memory.iter().zip(&parts).all(|(bytes, (_, (_, row)))| {
            bytes[slot * row..(slot + 1) * row].iter().all(|byte| *byte == 0xA5)
        });
        assert!(untouched, "slot {slot} was not requested and was written");
    }
    let element = |&(_, slot): &(u64, usize)| {
        let value = |(bytes, (dtype, (shape, row))): (
            &Vec<u8>,
            &(DType, (tensorferry_core::Dims, usize)),
        )| {
            (*dtype, shape.to_vec(), bytes[slot * row..(slot + 1) * row].to_vec())
        };
        memory.iter().zip(&parts).map(value).collect()
    };
    Ok(wanted.iter().map(element).collect())
}

/// The elements of an epoch of a map over an indexed input of known shapes. Checks that they are
/// the same by index, in order, gathered in several orders, and over an input without random access
/// or without shapes.
pub(crate) fn all_ways(dataset: &Dataset, epoch: u64) -> Vec<Computed<Vec<Plain>>> {
    let (cx, len) = (context(epoch), dataset.cardinality().finite().unwrap());
    let by_index: Vec<_> =
        (0..len).map(|index| plain(dataset.stage.get(index, &cx), dataset.spec())).collect();
    let agree = |dataset: &Dataset| {
        let mut stream = crate::testing::Pass(dataset.element_iter(&cx).unwrap());
        let in_order: Vec<_> = std::iter::from_fn(|| stream.next())
            .map(|element| plain(element, dataset.spec()))
            .collect();
        assert_eq!(in_order, by_index);
    };
    agree(dataset);
    for input in dataset.stage.inputs() {
        agree(&dataset.stage.rebuild(vec![streamed(input)], &mut Change::default()).unwrap());
        agree(&dataset.stage.rebuild(vec![shapeless(input)], &mut Change::default()).unwrap());
    }
    if dataset.spec().iter().all(|part| part.tensor().is_some_and(|spec| spec.fixed().is_some())) {
        let count = usize::try_from(len).unwrap();
        let forwards: Vec<(u64, usize)> = (0..len).zip(0..).collect();
        let backwards: Vec<(u64, usize)> = (0..len).rev().zip(0..).collect();
        let scattered: Vec<(u64, usize)> = (0..len)
            .map(|index| (index, (count - usize::try_from(index).unwrap()) * 3 / 2))
            .collect();
        let in_runs: Vec<(u64, usize)> = (0..len)
            .zip((0..).filter(|slot| slot % 4 != 3))
            .map(|(index, slot)| (index, slot + 2))
            .collect();
        let again: Vec<(u64, usize)> = (0..len).chain(0..len).zip(1..).collect();
        for order in [forwards, backwards, scattered, in_runs, again] {
            let expected: Computed<Vec<_>> = order
                .iter()
                .map(|(index, _)| by_index[usize::try_from(*index).unwrap()].clone())
                .collect();
            assert_eq!(
                gathered(dataset, &order, &cx),
                expected,
                "the first error in the order of the requests, or every row"
            );
        }
    }
    by_index
}

/// Pseudo-random numbers that are the same in every run.
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |at: u64| {
        crate::shuffle::prng::mix(at ^ crate::shuffle::prng::mix(seed.wrapping_add(1)))
    })
}

/// A tensor of small numbers that every dtype holds: 0 and 1 for `bool`, from -3 for signed dtypes.
pub(crate) fn small_numbers(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let value = |bits: u64| match dtype.kind() {
        Kind::Bool => i128::from(bits % 2),
        Kind::Unsigned => i128::from(bits % 100),
        _ => i128::from(bits % 100) - 3,
    };
    let bytes: Vec<u8> = noise(seed)
        .take(count)
        .flat_map(|bits| {
            let bytes =
                scalar::convert_scalar(scalar::Value::Int(value(bits)), dtype, Casting::Checked)
                    .unwrap();
            bytes[..dtype.size()].to_vec()
        })
        .collect();
    tensor(dtype, shape, &bytes)
}

/// A tensor of these bytes.
pub(crate) fn tensor(dtype: DType, shape: &[usize], bytes: &[u8]) -> Tensor {
    tensorferry_io::gather::rows_out::filled(dtype, shape, |out| -> Result<()> {
        out.copy_from_slice(bytes);
        Ok(())
    })
    .unwrap()
}

/// The values of a component.
pub(crate) fn values(plain: &Plain) -> Vec<scalar::Value> {
    plain
        .2
        .chunks_exact(plain.0.size())
        .map(|bytes| scalar::read(plain.0, tensorferry_core::ByteOrder::Native, bytes))
        .collect()
}

/// The elements of the first epoch. Panics if one is an error.
pub(crate) fn elements(dataset: &Dataset) -> Vec<Vec<Plain>> {
    all_ways(dataset, 0).into_iter().collect::<Computed<_>>().unwrap()
}

/// A map of the input that fails at some elements.
pub(crate) fn failing(input: &Dataset, at: &'static [u64]) -> Dataset {
    struct Failing(Dataset, &'static [u64]);
    impl Stage for Failing {
        fn elements(&self) -> Elements<'_> {
            Elements::Indexed(std::slice::from_ref(&self.0), self.0.spec())
        }

        fn cardinality(&self) -> Cardinality {
            self.0.cardinality()
        }

        fn describe(&self) -> String {
            "failing".into()
        }

        fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
            Ok(failing(&inputs[0], self.1))
        }

        fn get(&self, index: u64, cx: &Context) -> Result<Element> {
            if self.1.contains(&index) {
                return Err(crate::user_fn::function::failed("no").at_element("failing", index));
            }
            self.0.stage.get(index, cx)
        }
    }
    Dataset::of(Failing(input.clone(), at))
}
