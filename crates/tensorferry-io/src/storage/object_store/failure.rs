//! What the failures of a store mean: final, or worth another try.

use crate::error::Error;
use crate::storage::object_store::call::Answer;
use crate::storage::url::Url;
use object_store::Error as StoreError;
use object_store::client::HttpErrorKind;
use std::io;
use std::io::ErrorKind;
use std::time::Duration;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another try cannot help.
    Final(io::Error),
    /// There were no credentials. Another try may help if there were some before.
    Credentials(io::Error),
    /// The object is no longer the one that was opened.
    Changed,
    /// Another try may help.
    Again(Again),
}

/// A failure after which another try may help.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) why: String,
    pub(super) kind: Kind,
    /// The wait that the store asked for.
    pub(super) after: Option<Duration>,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The network or the store failed.
    Failed,
    /// The store asked for fewer requests.
    SlowDown,
    /// There was no connection.
    Unreachable,
    /// The answer was not one to this request: another range, or the whole object.
    Odd,
}

impl Again {
    pub(super) fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self { why: why.into(), kind, after: None }
    }
}

impl From<Again> for Failure {
    fn from(again: Again) -> Self {
        Self::Again(again)
    }
}

/// Sorts the error of a call by the store's last answer.
pub(super) fn sort(error: StoreError, mut answer: Answer) -> Failure {
    if let (Some(200..300), Some(status)) = (answer.status, status_within(&error.to_string())) {
        answer.status = Some(status);
    }
    let again = |kind| {
        let why = said(&error, answer);
        Failure::Again(Again { why, kind, after: answer.retry_after })
    };
    if answer.of_credentials {
        // The store was not even asked.
        return Failure::Credentials(no_credentials(&said(&error, answer)));
    }
    if matches!(error, StoreError::AlreadyExists { .. } | StoreError::NotFound { .. }) {
        return Failure::Final(to_io(error, answer));
    }
    match (answer.status, answer.failed) {
        (Some(412 | 416), _) => Failure::Changed,
        // A header of the request that the store does not know.
        (Some(501), _) => Failure::Final(to_io(error, answer)),
        (Some(429 | 503), _) => again(Kind::SlowDown),
        (Some(408 | 425 | 500..), _) => again(Kind::Failed),
        (Some(200..300), _) => again(Kind::Odd),
        (None, Some(HttpErrorKind::Connect)) => again(Kind::Unreachable),
        (None, Some(_)) => again(Kind::Failed),
        _ => Failure::Final(to_io(error, answer)),
    }
}

/// What went wrong, briefly: an error's own text repeats the URL and the answer, which may be long.
pub(super) fn said(error: &StoreError, answer: Answer) -> String {
    let cause = innermost(error);
    match answer.status {
        Some(200..300) | None => cause,
        Some(status) => match code(&error.to_string()) {
            Some(code) => format!("the store answered {status} ({code})"),
            None => format!("the store answered {status}"),
        },
    }
}

fn innermost(error: &StoreError) -> String {
    let mut last = error as &dyn std::error::Error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// The status of a request within another one, which itself succeeded: objects of Azure are removed
/// by such requests. `object_store` reports it as text.
fn status_within(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("Bulk delete request failed")?;
    let (_, code) = rest.rsplit_once("(code: ")?;
    code.split(')').next()?.parse().ok()
}

/// The code in an answer of S3 or Azure: `<Code>SlowDown</Code>`.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() < 80).then_some(code)
}

/// An error of a store as one of the system, whose kind tells what is missing and what forbidden.
pub(super) fn to_io(error: StoreError, answer: Answer) -> io::Error {
    let said = said(&error, answer);
    let (kind, text) = match (&error, answer.status) {
        (StoreError::NotFound { .. }, _) | (_, Some(404)) => {
            (ErrorKind::NotFound, "no such object, bucket or container".to_owned())
        }
        (StoreError::AlreadyExists { .. }, _) => {
            (ErrorKind::AlreadyExists, "the object already exists".to_owned())
        }
        (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _)
        | (_, Some(401 | 403)) => (
            ErrorKind::PermissionDenied,
            format!("access was refused: {said}. Look at the credentials and what they may do."),
        ),
        (StoreError::InvalidPath { .. }, _) => (ErrorKind::InvalidInput, said),
        (StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }, _)
        | (_, Some(501)) => (ErrorKind::Unsupported, said),
        _ => (ErrorKind::Other, said),
    };
    io::Error::new(kind, text)
}

/// The error of a request that could not be signed.
fn no_credentials(said: &str) -> io::Error {
    let text = format!(
        "no credentials were found: {said}. Set them in the environment or the storage options; \
        for public data of S3, aws_skip_signature=true."
    );
    io::Error::new(ErrorKind::PermissionDenied, text)
}

/// The error of an operation on an object.
pub(super) fn refused(action: &'static str, url: &Url, source: io::Error) -> Error {
    Error::Io { action, path: url.name(), source }
}

/// Whether an error is that of an object which does not exist.
pub(super) fn is_missing(error: &Error) -> bool {
    error.system().is_some_and(|source| source.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_answer_is_shown_without_its_body() {
        let body = "x: <?xml?><Error><Code>NoSuchKey</Code><Message>long</Message></Error>";
        assert_eq!(code(body), Some("NoSuchKey"));
        assert_eq!(code("none"), None);
    }

    #[test]
    fn the_status_of_a_removal_within_a_request_counts() {
        let failed = |code| {
            let text = format!("Bulk delete request failed for key a (code: b): no (code: {code})");
            let error = StoreError::Generic { store: "Azure", source: text.into() };
            sort(error, Answer { status: Some(202), ..Answer::default() })
        };
        match failed(404) {
            Failure::Final(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            _ => panic!("it is tried again"),
        }
        assert!(matches!(failed(503), Failure::Again(Again { kind: Kind::SlowDown, .. })));
    }

    #[test]
    fn statuses_are_final_or_worth_another_try() {
        let sorted = |status, failed| {
            let error = StoreError::Generic { store: "test", source: "text".into() };
            match sort(error, Answer { status, failed, ..Answer::default() }) {
                Failure::Final(_) => "final",
                Failure::Credentials(_) => "credentials",
                Failure::Changed => "changed",
                Failure::Again(again) => match again.kind {
                    Kind::Failed => "failed",
                    Kind::SlowDown => "slow down",
                    Kind::Unreachable => "unreachable",
                    Kind::Odd => "odd",
                },
            }
        };
        let of = |status| sorted(Some(status), None);
        assert_eq!(
            [200, 206, 301, 400, 404, 403].map(of),
            ["odd", "odd", "final", "final", "final", "final"]
        );
        assert_eq!(
            [412, 416, 429, 503, 500, 408].map(of),
            ["changed", "changed", "slow down", "slow down", "failed", "failed"]
        );
        assert_eq!(sorted(None, Some(HttpErrorKind::Connect)), "unreachable");
        assert_eq!(sorted(None, Some(HttpErrorKind::Interrupted)), "failed");
        assert_eq!(sorted(None, None), "final");
    }
}
