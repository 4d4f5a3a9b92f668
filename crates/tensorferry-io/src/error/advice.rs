//! Ways out that are options of a function.

use tensorferry_core::InRust;

/// An option of [`open_with`](crate::open_with) or [`save`](crate::save()) that avoids an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Name the format.
    Format,
    /// Name the format, or open the file as raw elements.
    FormatOrRaw,
    /// Open the file as raw elements.
    Raw,
    /// Choose other features, or give their shapes.
    Features,
    /// Choose no features.
    NoFeatures,
    /// Open the file memory-mapped.
    Map,
    /// Open the file to read it, not memory-mapped.
    Read,
    /// Replace what exists.
    Replace,
}

/// What to do about an error, in the syntax of the caller.
pub trait Advice: tensorferry_core::Advice {
    /// A sentence that names the option.
    fn hint(&self, hint: Hint) -> String;
}

impl Advice for InRust {
    fn hint(&self, hint: Hint) -> String {
        match hint {
            Hint::Format => "Pass one of Format::ALL.".into(),
            Hint::FormatOrRaw => {
                "Set OpenOptions::format to one of Format::ALL, or open it with open_raw.".into()
            }
            Hint::Raw => "Use open_raw, with its dtype.".into(),
            Hint::Features => "Choose features with OpenOptions::features.".into(),
            Hint::NoFeatures => "Leave OpenOptions::features empty.".into(),
            Hint::Map => "Open it with Mode::Map.".into(),
            Hint::Read => "Open it with Mode::Read.".into(),
            Hint::Replace => "To replace it, set WriteOptions::replace to Some(true).".into(),
        }
    }
}
