//! Advice of errors for users of Python.

use tensorferry::error::{Advice, ConversionAdvice, FileAdvice, FileHint, Hint};
use tensorferry::{Format, Misfits};

/// Advice in the syntax of Python.
#[derive(Clone, Copy, Debug)]
pub struct InPython;

impl ConversionAdvice for InPython {
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

impl FileAdvice for InPython {
    fn hint(&self, hint: FileHint) -> String {
        let formats = Format::ALL.map(Format::name);
        match hint {
            FileHint::Format => format!("Pass format=, one of {formats:?}."),
            FileHint::FormatOrRaw => {
                format!("Pass format=, one of {formats:?}, or open it with open_raw.")
            }
            FileHint::Raw => "Use open_raw, with its dtype.".into(),
            FileHint::Features => "Choose features with features=.".into(),
            FileHint::NoFeatures => "Leave out features=.".into(),
            FileHint::Map => "Open it with mode=\"map\".".into(),
            FileHint::Read => "Open it with mode=\"read\".".into(),
            FileHint::Replace => "To replace it, pass overwrite=True.".into(),
            _ => String::new(),
        }
    }
}

impl Advice for InPython {
    fn choose(&self, hint: Hint) -> String {
        match hint {
            Hint::LeaveOut => "To leave it out, pass which=.".into(),
            Hint::FlattenWindows => {
                "Flatten it first: flat_map(lambda window: window.batch(n)).".into()
            }
            Hint::CropTwice => "Crop them in two steps, with which=.".into(),
            _ => String::new(),
        }
    }
}
