//! One call to a store: its requests are counted, and the status of the last answer is kept.
//!
//! # Rationale
//! `object_store` reports the status of an answer as text only. So its HTTP client is wrapped, and
//! a value that belongs to the task ([`CALL`]) carries the status back. The same value carries the
//! query of a presigned URL there, for which `object_store` has no place.

use crate::storage::counts::{COUNTERS, add};
use http::Method;
use http::header::{HeaderValue, IF_NONE_MATCH};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, Result};
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

tokio::task_local! {
    static CALL: Call;
    static CREATE_ONLY: ();
}

#[derive(Default)]
struct Call {
    query: Option<Arc<str>>,
    answer: Cell<Answer>,
}

/// The last answer of a store in a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    /// Its status, if there was an answer.
    pub(super) status: Option<u16>,
    /// The wait that it asked for.
    pub(super) retry_after: Option<Duration>,
    /// The kind of failure, if there was no answer.
    pub(super) failed: Option<HttpErrorKind>,
    /// Whether it was asked for credentials: the store did not answer.
    pub(super) of_credentials: bool,
}

/// Runs a call to a store, and returns its result and the last answer.
pub(super) async fn call<T>(
    query: Option<&Arc<str>>,
    work: impl Future<Output = Result<T>>,
) -> (Result<T>, Answer) {
    let call = Call { query: query.cloned(), answer: Cell::default() };
    CALL.scope(call, async {
        let done = work.await;
        (done, CALL.with(|call| call.answer.get()))
    })
    .await
}

/// Runs a call that finishes an upload, if there is no object of its name. `object_store` has this
/// condition for objects of one part only. The header need not be signed.
pub(super) async fn create_only<T>(work: impl Future<Output = T>) -> T {
    CREATE_ONLY.scope((), work).await
}

/// The HTTP client of `object_store`, with counts.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(Counted(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Counted(HttpClient);

#[async_trait::async_trait]
impl HttpService for Counted {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Ok(Some(query)) = CALL.try_with(|call| call.query.clone()) {
            let uri = with_query(request.uri(), &query);
            *request.uri_mut() = uri.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        }
        if finishes(&request) && CREATE_ONLY.try_with(|()| ()).is_ok() {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        add(&COUNTERS.requests, 1);
        let of_credentials = request.uri().host().is_some_and(gives_credentials);
        let done = self.0.execute(request).await;
        let answer = match &done {
            Ok(response) => Answer {
                status: Some(response.status().as_u16()),
                retry_after: retry_after(response),
                failed: None,
                of_credentials,
            },
            Err(error) => {
                Answer { failed: Some(error.kind()), of_credentials, ..Answer::default() }
            }
        };
        // Requests for credentials can be outside of a call.
        let _kept = CALL.try_with(|call| call.answer.set(answer));
        done
    }
}

/// Whether a host gives credentials: the metadata of a machine or container, or a service for
/// tokens.
fn gives_credentials(host: &str) -> bool {
    const HOSTS: [&str; 5] = [
        "metadata.google.internal",
        "metadata",
        "oauth2.googleapis.com",
        "login.microsoftonline.com",
        "[fd00:ec2::254]",
    ];
    host.starts_with("169.254.") || host.starts_with("sts.") || HOSTS.contains(&host)
}

/// Whether a request finishes an upload of S3. Others in the same call are for credentials.
fn finishes(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::POST && query.split('&').any(|pair| pair.starts_with("uploadId="))
}

fn with_query(uri: &http::Uri, query: &str) -> Result<http::Uri, http::Error> {
    let mut parts = uri.clone().into_parts();
    let path = format!("{}?{query}", uri.path());
    parts.path_and_query = Some(path.try_into()?);
    Ok(http::Uri::from_parts(parts)?)
}

/// The wait that a `Retry-After` of seconds asks for.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_put_back() {
        let uri = "http://h:80/a%20b".parse().unwrap();
        assert_eq!(with_query(&uri, "x=1&y=%2F").unwrap(), "http://h:80/a%20b?x=1&y=%2F");
    }
}
