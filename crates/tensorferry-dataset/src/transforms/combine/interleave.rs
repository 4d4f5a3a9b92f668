//! `interleave`: takes elements of several datasets in turn.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::shuffle::prng::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step,
};
use crate::transforms::combine::inner::{Made, Outer};
use crate::user_fn::function::{Function, UserFn};

/// How [`Dataset::interleave`] takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterleaveOptions {
    /// Number of datasets that take turns; 1 by default.
    pub cycle_length: usize,
    /// Number of consecutive elements per turn; 1 by default.
    pub block_length: usize,
}

impl Default for InterleaveOptions {
    fn default() -> Self {
        Self { cycle_length: 1, block_length: 1 }
    }
}

/// `interleave`, or `flat_map` with a cycle length of 1.
pub(crate) struct Interleave {
    input: Dataset,
    name: &'static str,
    function: Function<Element, Dataset>,
    spec: Vec<Component>,
    cycle_length: usize,
    block_length: usize,
    seed: Seed,
}

impl Dataset {
    /// Takes `block_length` elements in turn from each of `cycle_length` datasets, which `function`
    /// makes from the input's elements. When a dataset has ended, the dataset of the next element
    /// replaces it at its next turn. The order is that of tf.data with `deterministic=True`.
    ///
    /// As for [`Dataset::flat_map`], a dataset that shuffles has another order for each input
    /// element, and `function` must return the same dataset for the same element. The state of an
    /// iteration contains `cycle_length` positions, and as many elements by value if the input is
    /// not indexed.
    ///
    /// # Errors
    /// [`Error::Argument`] if `cycle_length` or `block_length` is 0.
    pub fn interleave(
        &self,
        function: Function<Element, Dataset>,
        spec: Vec<Component>,
        options: InterleaveOptions,
    ) -> Result<Self> {
        let InterleaveOptions { cycle_length, block_length } = options;
        for (name, value) in [("cycle_length", cycle_length), ("block_length", block_length)] {
            if value == 0 {
                return Err(Error::Argument {
                    stage: "interleave",
                    what: format!("{name} has to be at least 1"),
                });
            }
        }
        Ok(Interleave::over(self, "interleave", function, spec, cycle_length, block_length))
    }
}

impl Interleave {
    pub(crate) fn over(
        input: &Dataset,
        name: &'static str,
        function: Function<Element, Dataset>,
        spec: Vec<Component>,
        cycle_length: usize,
        block_length: usize,
    ) -> Dataset {
        let (input, seed) = (input.clone(), Seed::new(None));
        Dataset::of(Self { input, name, function, spec, cycle_length, block_length, seed })
    }
}

impl Stage for Interleave {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        let Self { name, cycle_length, block_length, .. } = self;
        let (function, spec) = (self.function.name(), Component::list(&self.spec));
        if *name == "flat_map" {
            return format!("{name}({function}, {spec})");
        }
        format!(
            "{name}({function}, {spec}, cycle_length={cycle_length}, block_length={block_length})"
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let (function, spec) = (self.function.clone(), self.spec.clone());
        Ok(Dataset::of(Self {
            input: inputs[0].clone(),
            function,
            spec,
            seed: self.seed.rebuilt(change),
            ..*self
        }))
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.function]
    }

    // The datasets that `function` returns may shuffle.
    fn hints(&self, inputs: Hints) -> Hints {
        Hints { depends_on_epoch: true, ..inputs }
    }

    // No `identity`: the drawn seed only determines the seeds of the datasets that `function`
    // returns.
    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { seed: Some(&self.seed), ..CheckpointInfo::default() }
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(InterleaveIter {
            outer: Outer::new(
                &self.input,
                &self.function,
                &self.spec,
                self.seed.value,
                cx,
                self.name,
            )?,
            cycle_length: self.cycle_length,
            block_length: self.block_length,
            slots: Vec::new(),
            turn: 0,
            in_block: 0,
            ended: false,
        }))
    }
}

struct InterleaveIter {
    outer: Outer,
    cycle_length: usize,
    block_length: usize,
    /// The datasets that take turns. Grows when a slot is first filled.
    slots: Vec<Option<Made>>,
    /// Index of the slot whose turn it is.
    turn: usize,
    /// Number of elements taken in this turn.
    in_block: usize,
    /// Whether the input has ended.
    ended: bool,
}

impl InterleaveIter {
    fn advance(&mut self) {
        self.in_block = 0;
        self.turn += 1;
        // After the end of the input, slots that were never filled stay empty.
        if self.turn >= self.cycle_length || (self.ended && self.turn >= self.slots.len()) {
            self.turn = 0;
        }
    }

    /// Puts the dataset of the next element into the current slot.
    fn fill(&mut self) -> Step<()> {
        let Some(made) = self.outer.next()? else {
            self.ended = true;
            return Ok(None);
        };
        let placed = made.map(|made| {
            if self.turn >= self.slots.len() {
                self.slots.resize_with(self.turn + 1, || None);
            }
            self.slots[self.turn] = Some(made);
        });
        Ok(Some(placed))
    }
}

impl ElementIter for InterleaveIter {
    fn next(&mut self) -> Step {
        loop {
            if let Some(Some(made)) = self.slots.get_mut(self.turn) {
                if let Some(next) = self.outer.next_of(made)? {
                    self.in_block += 1;
                    if self.in_block >= self.block_length {
                        self.advance();
                    }
                    return Ok(Some(next));
                }
                self.slots[self.turn] = None;
                self.advance();
            } else if !self.ended {
                if let Some(Err(error)) = self.fill()? {
                    return Ok(Some(Err(error)));
                }
            } else if self.slots.iter().any(Option::is_some) {
                self.advance();
            } else {
                return Ok(None);
            }
        }
    }

    fn save(&self) -> Result<State> {
        let slots: Result<Vec<State>> = self
            .slots
            .iter()
            .map(|slot| slot.as_ref().map_or(Ok(State::Nothing), Made::save))
            .collect();
        Ok(State::List(vec![
            State::Int(self.turn as u64),
            State::Int(self.in_block as u64),
            State::Int(u64::from(self.ended)),
            State::List(slots?),
            self.outer.save()?,
        ]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(5)?;
        let below = |at: usize, limit: usize, name: &str| {
            let value = usize::try_from(parts[at].int()?).ok().filter(|value| *value < limit);
            value.ok_or_else(|| Error::State {
                what: format!(
                    "the {name} of an interleave is beyond its end; the state is damaged"
                ),
            })
        };
        self.turn = below(0, self.cycle_length, "turn")?;
        self.in_block = below(1, self.block_length, "block")?;
        self.ended = parts[2].int()? != 0;
        let slots = parts[3].parts()?;
        if slots.len() > self.cycle_length {
            return Err(Error::State {
                what: format!("{} datasets in a cycle of {}", slots.len(), self.cycle_length),
            });
        }
        let remake = |slot: &State| match slot {
            State::Nothing => Ok(None),
            made => self.outer.remake(made).map(Some),
        };
        self.slots = slots.iter().map(remake).collect::<Result<_>>()?;
        self.outer.restore(&parts[4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterleaveOptions;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, element_spec, even,
        fails_at, first, ints, range, values,
    };

    fn repeated(times: usize) -> Function<Element, Dataset> {
        Function::new("repeated", move |element: Element| Ok(ints(&vec![first(&element); times])))
    }

    #[test]
    fn takes_blocks_of_each_in_turn() {
        let dataset = ints(&[1, 2, 3])
            .interleave(
                repeated(4),
                element_spec(),
                InterleaveOptions { cycle_length: 2, block_length: 2 },
            )
            .unwrap();
        assert_eq!(values(&dataset), [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 3, 3]);
        assert_eq!(dataset.cardinality(), Cardinality::Unknown);
        assert_rebuilds(&dataset);
    }

    /// Results of TensorFlow 2.21's `tf.data.Dataset.interleave`, with and without
    /// `num_parallel_calls`: the lengths, where dataset `i` is `range(10 * i, 10 * i + lens[i])`;
    /// `cycle_length`; `block_length`; the elements.
    const TF_DATA: &[(&[i64], usize, usize, &[i64])] = &[
        (&[4, 1, 5, 4], 5, 1, &[0, 10, 20, 30, 1, 21, 31, 2, 22, 32, 3, 23, 33, 24]),
        (&[5, 0, 4, 0, 0, 0, 1], 4, 2, &[0, 1, 20, 21, 2, 3, 22, 23, 4, 60]),
        (&[3, 0, 3, 0, 0, 4], 2, 4, &[0, 1, 2, 20, 21, 22, 50, 51, 52, 53]),
        (&[0, 5, 5, 2], 2, 1, &[10, 20, 11, 21, 12, 22, 13, 23, 14, 24, 30, 31]),
        (&[3, 4, 4], 2, 2, &[0, 1, 10, 11, 2, 12, 13, 20, 21, 22, 23]),
        (&[5, 3, 3, 0], 5, 3, &[0, 1, 2, 10, 11, 12, 20, 21, 22, 3, 4]),
        (&[4, 1, 0, 2, 2, 4, 0], 1, 3, &[0, 1, 2, 3, 10, 30, 31, 40, 41, 50, 51, 52, 53]),
        (&[2, 3, 5, 0, 2], 1, 2, &[0, 1, 10, 11, 12, 20, 21, 22, 23, 24, 40, 41]),
        (&[3, 1, 5, 2, 0], 5, 3, &[0, 1, 2, 10, 20, 21, 22, 30, 31, 23, 24]),
        (&[2, 0, 4, 0], 1, 4, &[0, 1, 20, 21, 22, 23]),
        (&[2, 4, 2, 0], 1, 1, &[0, 1, 10, 11, 12, 13, 20, 21]),
        (&[1, 5, 0, 0, 4, 3, 0], 4, 1, &[0, 10, 11, 40, 50, 12, 41, 51, 13, 42, 52, 14, 43]),
        (&[1, 0, 2, 3, 5, 0], 5, 4, &[0, 20, 21, 30, 31, 32, 40, 41, 42, 43, 44]),
        (&[4, 4, 1, 2, 1, 1, 2], 4, 2, &[0, 1, 10, 11, 20, 30, 31, 2, 3, 12, 13, 40, 50, 60, 61]),
        (&[5, 1, 0, 0, 2, 1, 3], 5, 3, &[0, 1, 2, 10, 40, 41, 3, 4, 50, 60, 61, 62]),
        (&[1, 3, 4, 4], 3, 4, &[0, 10, 11, 12, 20, 21, 22, 23, 30, 31, 32, 33]),
        (&[5, 4, 4, 1], 3, 2, &[0, 1, 10, 11, 20, 21, 2, 3, 12, 13, 22, 23, 4, 30]),
        (&[4, 1, 2, 1, 5], 5, 3, &[0, 1, 2, 10, 20, 21, 30, 40, 41, 42, 3, 43, 44]),
        (&[1, 4, 1, 4, 5], 4, 3, &[0, 10, 11, 12, 20, 30, 31, 32, 40, 41, 42, 13, 33, 43, 44]),
        (&[5, 5], 4, 3, &[0, 1, 2, 10, 11, 12, 3, 4, 13, 14]),
        (&[3, 0, 3, 0, 0], 3, 4, &[0, 1, 2, 20, 21, 22]),
        (&[4, 0, 4, 4], 4, 2, &[0, 1, 20, 21, 30, 31, 2, 3, 22, 23, 32, 33]),
        (
            &[1, 3, 3, 5, 5, 4],
            3,
            1,
            &[0, 10, 20, 11, 21, 30, 12, 22, 31, 32, 40, 50, 33, 41, 51, 34, 42, 52, 43, 53, 44],
        ),
    ];

    #[test]
    fn the_order_is_that_of_tf_data() {
        for (lens, cycle_length, block_length, expected) in TF_DATA {
            let own = lens.to_vec();
            let open = Function::new("open", move |element: Element| {
                let at = first(&element);
                Ok(ints(
                    &(0..own[usize::try_from(at).unwrap()])
                        .map(|value| 10 * at + value)
                        .collect::<Vec<_>>(),
                ))
            });
            let indices = range(lens.len().try_into().unwrap());
            let dataset = indices
                .interleave(
                    open,
                    element_spec(),
                    InterleaveOptions { cycle_length: *cycle_length, block_length: *block_length },
                )
                .unwrap();
            assert_eq!(&values(&dataset), expected, "{lens:?}, {cycle_length}, {block_length}");
            assert_resumes(&dataset);
        }
    }

    #[test]
    fn a_cycle_longer_than_the_input_costs_nothing() {
        let dataset = ints(&[1, 2])
            .interleave(
                repeated(2),
                element_spec(),
                InterleaveOptions { cycle_length: usize::MAX, block_length: 1 },
            )
            .unwrap();
        assert_eq!(values(&dataset), [1, 2, 1, 2]);
    }

    #[test]
    fn a_failing_function_costs_the_dataset_of_its_element() {
        let function = fails_at(2, |element| Ok(ints(&[first(&element); 2])));
        let dataset = ints(&[1, 2, 3])
            .interleave(
                function,
                element_spec(),
                InterleaveOptions { cycle_length: 2, block_length: 1 },
            )
            .unwrap();
        let all: Vec<_> = dataset
            .iter()
            .map(|element| element.map(|element| first(&element)).map_err(|e| e.to_string()))
            .collect();
        assert_eq!(
            all,
            [Ok(1), Err("interleave: element 1: 2 is refused".into()), Ok(3), Ok(1), Ok(3)]
        );
        assert_resumes(&dataset);
    }

    #[test]
    fn resumes_at_every_element_of_indexed_and_other_inputs() {
        for input in [range(5), counting(5), counting(9).filter(even())] {
            let dataset = input
                .interleave(
                    repeated(3),
                    element_spec(),
                    InterleaveOptions { cycle_length: 3, block_length: 2 },
                )
                .unwrap();
            assert_resumes(&dataset);
            assert_rejects_damage(&dataset);
        }
    }

    #[test]
    fn lengths_of_zero_are_refused() {
        for (cycle, block) in [(0, 1), (1, 0)] {
            let refused = range(2).interleave(
                repeated(1),
                element_spec(),
                InterleaveOptions { cycle_length: cycle, block_length: block },
            );
            assert!(matches!(refused, Err(Error::Argument { stage: "interleave", .. })));
        }
    }
}
