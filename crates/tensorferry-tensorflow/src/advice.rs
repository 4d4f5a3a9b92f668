//! Advice of errors for users of Python.

use tensorferry::{Advice, Misfits};

/// Advice in the syntax of Python.
#[derive(Clone, Copy, Debug)]
pub struct InPython;

impl Advice for InPython {
    fn misfits(&self, misfits: &Misfits) -> String {
        let castings = misfits.possible_castings().iter();
        let castings: Vec<String> =
            castings.map(|casting| format!("casting=\"{casting}\"")).collect();
        format!("Keep dtype=\"{}\", or pass {}.", misfits.from, castings.join(" or "))
    }

    fn wrapped_float(&self) -> String {
        "Pass casting=\"checked\" or casting=\"saturate\".".into()
    }
}
