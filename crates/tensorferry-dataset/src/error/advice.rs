//! Ways out that are options of a method.

use tensorferry_core::InRust;

/// An option of a method of `Dataset` that avoids an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Leave the component out.
    LeaveOut,
    /// Make batches of the windows.
    FlattenWindows,
    /// Crop the components in two steps.
    CropTwice,
}

/// What to do about an error, in the syntax of the caller.
pub trait Advice: tensorferry_io::Advice {
    /// A sentence that names the option.
    fn choose(&self, hint: Hint) -> String;
}

impl Advice for InRust {
    fn choose(&self, hint: Hint) -> String {
        match hint {
            Hint::LeaveOut => "To leave a component out, pass which of them to change.".into(),
            Hint::FlattenWindows => {
                "Flatten it first: make a batch of each window in flat_map.".into()
            }
            Hint::CropTwice => "Crop them in two steps: pass which of them to crop.".into(),
        }
    }
}
