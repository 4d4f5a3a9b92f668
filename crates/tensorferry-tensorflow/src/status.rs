//! TensorFlow's status objects, and the code of each error.

use crate::advice::InPython;
use crate::api::{self, Api};
use crate::code::{Code, classify};
use std::ffi::{CStr, CString};
use tensorferry::error::CoreError;
use tensorferry::{Error, ErrorKind};

/// Why an op fails.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = error.message(&InPython);
        let code = match code_of(&error, &mut message) {
            Code::OUT_OF_RANGE => Code::INVALID_ARGUMENT,
            code => code,
        };
        Self { code, message }
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        Error::from(error).into()
    }
}

/// The code of an error; of a user's function, adds to the message.
fn code_of(error: &Error, message: &mut String) -> Code {
    match (error.innermost(), error.kind()) {
        (Error::Function { source }, _) => {
            let (code, more) =
                classify().map_or((Code::UNKNOWN, String::new()), |classify| classify(&**source));
            message.push_str(&more);
            code
        }
        (Error::State { .. } | Error::Core(CoreError::SourceChanged { .. }), _) => {
            Code::FAILED_PRECONDITION
        }
        (_, ErrorKind::FileFormat) => Code::DATA_LOSS,
        (_, ErrorKind::Io) => match error.system().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::NotFound) => Code::NOT_FOUND,
            Some(std::io::ErrorKind::PermissionDenied) => Code::PERMISSION_DENIED,
            _ => Code::DATA_LOSS,
        },
        (_, ErrorKind::Allocation) => Code::RESOURCE_EXHAUSTED,
        (_, ErrorKind::Interrupted) => Code::CANCELLED,
        _ => Code::INVALID_ARGUMENT,
    }
}

/// A `TF_Status` that is freed when dropped.
pub(crate) struct Status {
    api: &'static Api,
    raw: *mut api::Status,
}

impl Status {
    pub(crate) fn new(api: &'static Api) -> Self {
        // SAFETY: takes nothing, and returns a status that this crate owns.
        let raw = unsafe { (api.new_status)() };
        Self { api, raw }
    }

    pub(crate) fn of(api: &'static Api, failure: &Failure) -> Self {
        let status = Self::new(api);
        status.set(failure);
        status
    }

    pub(crate) fn set(&self, failure: &Failure) {
        let message = CString::new(failure.message.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the status is live, and the message a C string, which TensorFlow copies.
        unsafe { (self.api.set_status)(self.raw, failure.code.0, message.as_ptr()) };
    }

    pub(crate) fn raw(&self) -> *mut api::Status {
        self.raw
    }

    /// The outcome of the call that this status was passed to.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // SAFETY: the status is live.
        let code = unsafe { (self.api.get_code)(self.raw) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the status is live, and keeps its message until it is next set.
        let message = unsafe { (self.api.message)(self.raw) };
        // SAFETY: a C string, as the header says, copied before the status changes.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
        Err(Failure::new(Code(code), message))
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and nothing uses it any more.
        unsafe { (self.api.delete_status)(self.raw) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tensorferry::dataset::failed;
    use tensorferry::error::IoError;

    fn class(error: Error) -> Code {
        Failure::from(error).code
    }

    fn io(kind: io::ErrorKind) -> Error {
        IoError::Io { action: "read", path: "a".into(), source: kind.into() }.into()
    }

    #[test]
    fn every_error_has_the_class_of_its_cause() {
        let cut = || CoreError::WrongLength { format: "npy", expected: 2, actual: 1 };
        assert_eq!(class(cut().into()), Code::DATA_LOSS);
        assert_eq!(class(Error::from(cut()).at_element("batch", 1)), Code::DATA_LOSS);
        let in_file = IoError::from(cut()).in_file("a".as_ref());
        assert_eq!(class(in_file.into()), Code::DATA_LOSS);
        let short = IoError::ShortRead { offset: 0, expected: 2, actual: 1 };
        assert_eq!(class(short.into()), Code::DATA_LOSS);
        assert_eq!(class(io(io::ErrorKind::NotFound)), Code::NOT_FOUND);
        assert_eq!(class(io(io::ErrorKind::PermissionDenied)), Code::PERMISSION_DENIED);
        assert_eq!(class(io(io::ErrorKind::Other)), Code::DATA_LOSS);
        assert_eq!(
            class(Error::Argument { stage: "take", what: "x".into() }),
            Code::INVALID_ARGUMENT
        );
        assert_eq!(class(Error::State { what: "x".into() }), Code::FAILED_PRECONDITION);
        assert_eq!(class(Error::Interrupted), Code::CANCELLED);
        assert_eq!(class(failed("x")), Code::UNKNOWN);
    }

    #[test]
    fn no_error_of_an_element_ends_the_dataset() {
        let outside = CoreError::IndexOutOfRange { index: 3, axis: 0, len: 2 };
        let outside = Error::from(outside).at_element("lookup", 1);
        assert_eq!(class(outside), Code::INVALID_ARGUMENT);
    }
}
