//! Buffered shuffle, for inputs without random access or without end.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng::{Purpose, Random, Seed};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step, Value,
    step, value_of,
};
use tensorferry_core::Tensor;
use tensorferry_io::memory::room::{Room, collected, copied};

/// A bag from which random items are taken. The choice depends on the number of items taken before.
struct Bag<T> {
    items: Vec<T>,
    size: u64,
    random: Random,
    taken: u64,
}

impl<T> Bag<T> {
    fn new(size: u64, random: Random) -> Self {
        Self { items: Vec::new(), size, random, taken: 0 }
    }

    fn is_full(&self) -> bool {
        self.items.len() as u64 >= self.size
    }

    /// Slot of the next item to take.
    fn pick(&self) -> Option<usize> {
        let len = self.items.len();
        (len > 0).then(|| usize::try_from(self.random.below(self.taken, len as u64)).unwrap_or(0))
    }

    fn take(&mut self, slot: usize) -> T {
        self.taken = self.taken.wrapping_add(1);
        self.items.swap_remove(slot)
    }

    /// Undoes [`Bag::take`].
    fn put_back(&mut self, slot: usize, item: T) {
        self.taken = self.taken.wrapping_sub(1);
        let last = self.items.len();
        self.items.push(item);
        self.items.swap(slot, last);
    }

    fn restore(&mut self, taken: &State, items: Vec<T>) -> Result<()> {
        if items.len() as u64 > self.size {
            let what = format!(
                "a buffer of {} elements, not {}; the state is not of this plan",
                self.size,
                items.len()
            );
            return Err(Error::State { what });
        }
        self.taken = taken.int()?;
        self.items = items;
        Ok(())
    }
}

/// `shuffle` of an input without random access, or without end.
pub(crate) struct BufferShuffle {
    input: Dataset,
    size: u64,
    seed: Seed,
    reshuffle_each_iteration: bool,
}

impl BufferShuffle {
    pub(crate) fn over(
        input: &Dataset,
        size: u64,
        seed: Seed,
        reshuffle_each_iteration: bool,
    ) -> Dataset {
        Dataset::of(Self { input: input.clone(), size, seed, reshuffle_each_iteration })
    }
}

/// The description of a shuffle, with the arguments that differ from the defaults.
pub(crate) fn described(mut arguments: Vec<String>, seed: &Seed, reshuffles: bool) -> String {
    arguments.extend(seed.describe());
    if !reshuffles {
        arguments.push("reshuffle_each_iteration=False".into());
    }
    format!("shuffle({})", arguments.join(", "))
}

impl Stage for BufferShuffle {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        let size = vec![format!("buffer_size={}", self.size)];
        described(size, &self.seed, self.reshuffle_each_iteration)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let seed = self.seed.rebuilt(change);
        Ok(Self::over(&inputs[0], self.size, seed, self.reshuffle_each_iteration))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let depends_on_epoch = self.reshuffle_each_iteration || inputs.depends_on_epoch;
        Hints { depends_on_epoch, ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo::of_seed(&self.seed)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let round = if self.reshuffle_each_iteration { cx.epoch.0 } else { 0 };
        let random = Random::new(Purpose::Buffer, self.seed.value, round);
        if self.input.indexed {
            return Ok(Box::new(Positions::new(self.input.clone(), cx.clone(), self.size, random)));
        }
        let (input, spec) = (self.input.element_iter(cx)?, self.input.spec().to_vec());
        Ok(Box::new(Values::new(input, spec, cx.clone(), self.size, random)))
    }
}

/// The buffer of an indexed input: it holds indices, and an element is computed when it is handed
/// out.
struct Positions {
    input: Dataset,
    cx: Context,
    bag: Bag<u64>,
    next: u64,
    len: u64,
}

impl Positions {
    fn new(input: Dataset, cx: Context, size: u64, random: Random) -> Self {
        let len = match input.cardinality() {
            Cardinality::Finite(n) => n,
            _ => u64::MAX,
        };
        Self { input, cx, bag: Bag::new(size, random), next: 0, len }
    }
}

impl ElementIter for Positions {
    fn next(&mut self) -> Step {
        while !self.bag.is_full() && self.next < self.len {
            value_of!(step(self.cx.cancel.check()));
            value_of!(step(self.bag.items.make_room(1)));
            self.bag.items.push(self.next);
            self.next += 1;
        }
        let Some(slot) = self.bag.pick() else { return Ok(None) };
        let index = self.bag.take(slot);
        let get = || {
            self.cx.cancel.check()?;
            self.input.stage.get(index, &self.cx)
        };
        step(get()).inspect_err(|_| self.bag.put_back(slot, index))
    }

    fn save(&self) -> Result<State> {
        let held = Tensor::from_vec(copied(&self.bag.items)?, &[self.bag.items.len()])?;
        Ok(State::List(vec![
            State::Int(self.bag.taken),
            State::Int(self.next),
            State::Tensors(vec![held]),
        ]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let damaged =
            |_| Error::State { what: "the positions in a shuffle's buffer are damaged".into() };
        let parts = state.list(3)?;
        let next = parts[1].int()?;
        let [held] = parts[2].tensors()? else { return Err(damaged(())) };
        let held: Vec<u64> =
            collected(held.view::<u64>().map_err(|_| damaged(()))?.iter().map(Ok::<_, Error>))?;
        if next > self.len || held.iter().any(|&index| index >= next) {
            return Err(damaged(()));
        }
        self.bag.restore(&parts[0], held)?;
        self.next = next;
        Ok(())
    }
}

/// The buffer of an input without random access: it holds elements.
struct Values {
    input: Box<dyn ElementIter>,
    spec: Vec<Component>,
    cx: Context,
    bag: Bag<Element>,
    ended: bool,
}

impl Values {
    fn new(
        input: Box<dyn ElementIter>,
        spec: Vec<Component>,
        cx: Context,
        size: u64,
        random: Random,
    ) -> Self {
        Self { input, spec, cx, bag: Bag::new(size, random), ended: false }
    }
}

impl ElementIter for Values {
    fn next(&mut self) -> Step {
        while !self.ended && !self.bag.is_full() {
            value_of!(step(self.cx.cancel.check()));
            value_of!(step(self.bag.items.make_room(1)));
            match self.input.next()? {
                Some(Ok(element)) => self.bag.items.push(element),
                // Hand out the error at once: the buffer holds elements only.
                Some(Err(error)) => return Ok(Some(Err(error))),
                None => self.ended = true,
            }
        }
        Ok(self.bag.pick().map(|slot| Ok(self.bag.take(slot))))
    }

    fn save(&self) -> Result<State> {
        let tensors = |element: &Element| {
            let tensors: Result<Vec<Tensor>> =
                element.iter().map(|value| value.tensor().cloned()).collect();
            let what = "a shuffle's buffer holds datasets (windows), which cannot be saved. \
                Shuffle before window.";
            tensors.map(State::Tensors).map_err(|_| Error::State { what: what.into() })
        };
        let held = collected(self.bag.items.iter().map(tensors))?;
        let parts = vec![
            State::Int(self.bag.taken),
            State::Int(u64::from(self.ended)),
            State::List(held),
            self.input.save()?,
        ];
        Ok(State::List(parts))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(4)?;
        let element = |held: &State| -> Result<Element> {
            Ok(held.tensors_as(&self.spec)?.into_iter().map(Value::from).collect())
        };
        let held: Vec<Element> = collected(parts[2].parts()?.iter().map(element))?;
        let ended = parts[1].int()? != 0;
        self.bag.restore(&parts[0], held)?;
        self.ended = ended;
        self.input.restore(&parts[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShuffleOptions;
    use crate::testing::{
        assert_rejects_damage, assert_resumes, counting, even, fails_at, first, range, stream,
        values,
    };

    fn buffered(input: &Dataset, size: u64) -> Dataset {
        input
            .shuffle(ShuffleOptions {
                buffer_size: Some(size),
                seed: Some(7),
                ..ShuffleOptions::default()
            })
            .unwrap()
    }

    #[test]
    fn every_element_is_met_once_and_none_before_the_buffer_reaches_it() {
        for size in [1, 2, 10, 1000, u64::MAX] {
            let order = values(&buffered(&counting(100), size));
            for (at, &value) in (0_u64..).zip(&order) {
                assert!(
                    u64::try_from(value).unwrap() < size.saturating_add(at),
                    "{value} at {at} with a buffer of {size}"
                );
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<_>>());
            assert_eq!(order == sorted, size == 1);
        }
    }

    #[test]
    fn an_endless_input_is_shuffled_by_its_positions_as_a_stream_is() {
        let endless = buffered(&range(50).repeat(None), 20).take(Some(200));
        let streamed = buffered(&counting(50).repeat(None), 20).take(Some(200));
        assert_eq!(values(&endless), values(&streamed));
    }

    #[test]
    fn orders_through_a_buffer_are_those_of_every_version() {
        assert_eq!(values(&buffered(&counting(10), 4)), [1, 0, 5, 4, 6, 3, 8, 2, 9, 7]);
    }

    #[test]
    fn a_buffer_that_holds_everything_gives_every_order_as_often() {
        let mut counts = [0_u32; 6];
        for seed in 0..6000 {
            let order = values(
                &counting(3)
                    .shuffle(ShuffleOptions {
                        buffer_size: Some(3),
                        seed: Some(seed),
                        ..ShuffleOptions::default()
                    })
                    .unwrap(),
            );
            let place = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
                .iter()
                .position(|o| o[..] == order);
            counts[place.unwrap()] += 1;
        }
        // 1,000 are expected, with a standard deviation of 29.
        assert!(counts.iter().all(|count| (870..1130).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_iteration_resumes_anywhere_with_what_its_buffer_held() {
        for input in [
            counting(12),
            range(12).filter(even()),
            range(5).repeat(None).take(Some(9)).filter(even()),
        ] {
            assert_resumes(&buffered(&input, 4));
        }
        let endless = buffered(&range(5).repeat(None), 4);
        let mut interrupted = stream(&endless);
        (0..7).for_each(|_| drop(interrupted.next()));
        let mut resumed = stream(&endless);
        resumed.restore(&interrupted.save().unwrap()).unwrap();
        for _ in 0..20 {
            assert_eq!(
                first(&resumed.next().unwrap().unwrap()),
                first(&interrupted.next().unwrap().unwrap())
            );
        }
        assert_rejects_damage(&buffered(&counting(12), 4));
    }

    #[test]
    fn an_error_comes_at_once_and_the_rest_after_it() {
        let failing = counting(9).filter(fails_at(4, |_| Ok(true)));
        let results: Vec<_> = buffered(&failing, 3).iter().collect();
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        assert_eq!(results.len(), 9);
        assert_resumes(&buffered(&failing, 3));
    }
}
