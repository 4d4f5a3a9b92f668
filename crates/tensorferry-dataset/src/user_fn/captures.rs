//! Captures: objects that the functions of a plan hold, for a garbage collector that looks for
//! cycles.
//!
//! A binding registers what each function holds
//! ([`Function::capturing`](crate::user_fn::function::Function::capturing)) and asks a plan for all
//! of it ([`Dataset::captures`]). Captures are collected when a stage is made, so the cost of
//! asking does not depend on the depth of the plan.

use crate::stage::{Dataset, Stage};
use crate::user_fn::function::{Capture, Captures};
use std::sync::Arc;

/// The captures of a stage and of its inputs.
pub(crate) fn of(stage: &dyn Stage) -> Captures {
    let inputs = stage.inputs().iter().filter_map(|input| input.captures.clone());
    let nested = stage.captures();
    let own = stage.functions().into_iter().filter_map(|function| function.capture());
    own.chain(nested).fold(inputs.fold(None, joined), |all, own| joined(all, [own].into()))
}

fn joined(some: Captures, more: Arc<[Capture]>) -> Captures {
    let Some(some) = some.filter(|some| !Arc::ptr_eq(some, &more)) else { return Some(more) };
    let mut all = some.to_vec();
    for capture in more.iter() {
        if !all.iter().any(|other| Arc::ptr_eq(other, capture)) {
            all.push(Arc::clone(capture));
        }
    }
    Some(all.into())
}

impl Dataset {
    /// The captures of this plan's functions, without duplicates. See
    /// [`Function::capturing`](crate::user_fn::function::Function::capturing).
    #[must_use]
    pub fn captures(&self) -> &[Capture] {
        self.captures.as_deref().unwrap_or_default()
    }

    /// The same plan, which keeps `kept` alive as long as the plan, a pass over it or a stage over
    /// it is in use.
    #[must_use]
    pub fn keeping(&self, kept: Capture) -> Self {
        Self { kept: Some(kept), ..self.clone() }
    }

    /// The same plan without the object from [`Dataset::keeping`].
    #[must_use]
    pub fn keeping_nothing(&self) -> Self {
        Self { kept: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Component;
    use crate::stage::Value;
    use crate::testing::{element_spec, even, range};

    #[test]
    fn a_plan_has_the_captures_of_all_its_functions_once() {
        let (one, other): (Capture, Capture) = (Arc::new(1), Arc::new(2));
        let evens = range(9).filter(even().capturing(Arc::clone(&one)));
        let both = evens.filter(even().capturing(Arc::clone(&other)));
        assert!(range(9).take(Some(3)).captures().is_empty());
        assert!(Arc::ptr_eq(&evens.take(Some(1)).captures()[0], &one));
        let zipped = Dataset::zip(vec![both.clone(), evens.clone(), both]).unwrap();
        assert_eq!(zipped.captures().len(), 2);
        let nested = Dataset::in_memory(
            vec![vec![Value::Dataset(evens)]],
            vec![Component::Dataset(element_spec())],
        );
        assert_eq!(nested.captures().len(), 1);
    }

    #[test]
    fn what_is_kept_lives_as_long_as_a_pass() {
        let kept: Capture = Arc::new(());
        let plan = range(9).filter(even()).keeping(Arc::clone(&kept));
        let pass = plan.prefetch(Some(1)).iter();
        drop(plan);
        assert!(Arc::strong_count(&kept) > 1);
        drop(pass);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
