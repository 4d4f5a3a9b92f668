//! TensorFlow's status objects, and which of its codes each error of ours is.

use crate::api::{self, Api};
use std::ffi::{CStr, CString, c_int};
use tensorferry::Error;

/// `TF_Code` (`error_codes.proto`), those that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    DataLoss = 15,
}

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
        Self::new(code_of(&error), error.to_string())
    }
}

/// The class of `tf.errors` that an error becomes.
fn code_of(error: &Error) -> Code {
    match error {
        Error::AtElement { source, .. } => code_of(source),
        Error::InFile { .. } => match error.code() {
            "malformed" | "wrong_length" => Code::DataLoss,
            _ => Code::InvalidArgument,
        },
        Error::Malformed { .. } | Error::WrongLength { .. } => Code::DataLoss,
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        Error::Io { .. } => Code::DataLoss,
        Error::Allocation { .. } => Code::ResourceExhausted,
        Error::Stopped => Code::Cancelled,
        Error::Function { .. } => Code::Unknown,
        Error::IndexOutOfRange { .. } => Code::OutOfRange,
        Error::State { .. } | Error::SourceChanged { .. } => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    }
}

/// A `TF_Status` that is freed when dropped.
pub(crate) struct Status {
    api: &'static Api,
    raw: *mut api::Status,
}

impl Status {
    pub(crate) fn new(api: &'static Api) -> Self {
        // SAFETY: takes nothing, and returns a status of ours.
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
        unsafe { (self.api.set_status)(self.raw, failure.code as c_int, message.as_ptr()) };
    }

    pub(crate) fn raw(&self) -> *mut api::Status {
        self.raw
    }

    /// What a call that took this status said.
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
        Err(Failure::new(Code::Unknown, message))
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and nothing uses it any more.
        unsafe { (self.api.delete_status)(self.raw) };
    }
}
