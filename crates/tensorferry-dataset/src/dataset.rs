//! [`Dataset`]: a plan, from its sources to its last stage.

use crate::error::{Error, Result};
use crate::names::Names;
use crate::shuffle::random::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Stage};
use crate::stage::{Element, Epoch};
use crate::user_fn::captures::Capture;
use std::fmt;
use std::sync::Arc;
use tensorferry_io::cancel::Stop;

/// A plan: where elements come from and what becomes of them. Cloning shares it.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) stage: Arc<dyn Stage>,
    /// What the user calls the components.
    pub(crate) names: Names,
    /// Stages from the furthest source to this one.
    pub(crate) depth: usize,
    pub(crate) captures: crate::user_fn::captures::Captures,
    /// See [`Dataset::keeping`].
    pub(crate) kept: Option<Capture>,
}

impl Dataset {
    /// The components of each element.
    #[must_use]
    pub fn spec(&self) -> &[Component] {
        self.stage.spec()
    }

    /// How many elements there are.
    #[must_use]
    pub fn cardinality(&self) -> Cardinality {
        self.stage.cardinality()
    }

    /// Whether element `i` can be computed from `i` alone: then the state of an iteration is a
    /// position.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.stage.is_indexed()
    }

    /// Whether elements are computed in order, by one thread at a time, because a function of the
    /// user's is called for them.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        self.stage.is_sequential()
    }

    /// Whether another epoch gives other elements, or another order.
    #[must_use]
    pub fn depends_on_epoch(&self) -> bool {
        self.stage.depends_on_epoch()
    }

    /// Element `index` of the plan's first epoch.
    ///
    /// # Errors
    /// [`Error::Argument`] if the plan is not indexed or has no such element; what computing the
    /// element fails with.
    pub fn get(&self, index: u64) -> Result<Element> {
        self.get_in(index, Epoch(0))
    }

    /// Element `index` of an epoch.
    ///
    /// # Errors
    /// As [`Dataset::get`].
    pub fn get_in(&self, index: u64, epoch: Epoch) -> Result<Element> {
        let inside = match self.cardinality() {
            Cardinality::Finite(n) => index < n,
            _ => true,
        };
        if !self.is_indexed() || !inside {
            let what = format!(
                "element {index} of {:?}; indexed: {}",
                self.cardinality(),
                self.is_indexed()
            );
            return Err(Error::Argument { stage: "get", what });
        }
        self.stage.get(index, &Context::new(epoch, Stop::default()))
    }

    /// The plan in words, by which a saved state knows it: `from_tensor_slices(10 x (int32[])) |
    /// take(7)`.
    #[must_use]
    pub fn plan(&self) -> String {
        self.to_string()
    }

    /// The seeds that were drawn because the user gave none, inputs first.
    pub(crate) fn drawn_seeds(&self) -> Vec<u64> {
        self.draws().iter().map(|seed| seed.value).collect()
    }

    /// As [`Dataset::drawn_seeds`], with what tells one draw from another.
    pub(crate) fn draws(&self) -> Vec<Seed> {
        let inputs = self.stage.inputs();
        self.deep(|| {
            inputs.iter().flat_map(Self::draws).chain(self.stage.drawn_seed().cloned()).collect()
        })
    }

    /// The same plan with what `change` says changed. Stages before the first change are shared.
    pub(crate) fn rebuild(&self, change: &mut Change) -> Result<Self> {
        let seeds_alone = change.resharded.is_none();
        let before = self.stage.inputs();
        let inputs = self.deep(|| {
            before.iter().map(|input| input.rebuild(change)).collect::<Result<Vec<Self>>>()
        })?;
        let same = before.iter().zip(&inputs).all(|(before, now)| before.is(now));
        if seeds_alone && same && self.stage.drawn_seed().is_none() {
            return Ok(self.clone());
        }
        Ok(Self {
            names: self.names.clone(),
            kept: self.kept.clone(),
            ..self.stage.rebuild(inputs, change)?
        })
    }

    /// Whether this is the very same stage as another dataset's last.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stage, &other.stage)
    }
}

/// The plan, from source to last stage: `from_tensor_slices(10 x (int32[])) | take(7) | batch(3)`.
impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deep(|| self.write(f))
    }
}

impl Dataset {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = self.stage.inputs();
        // A stage that says nothing changes nothing about the elements.
        if let ([input], true) = (inputs.as_slice(), self.stage.describe().is_empty()) {
            return fmt::Display::fmt(input, f);
        }
        match inputs.as_slice() {
            [] => {}
            [input] => write!(f, "{input} | ")?,
            many => {
                f.write_str("[")?;
                for (at, input) in many.iter().enumerate() {
                    write!(f, "{}{input}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("] | ")?;
            }
        }
        f.write_str(&self.stage.describe())
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({self})")
    }
}
