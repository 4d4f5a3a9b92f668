//! [`Store`]: the connections of this process to one bucket, container or host.

use crate::error::{Error, Result};
use crate::storage::object_store::call::{Answer, Connector};
use crate::storage::object_store::credentials;
use crate::storage::object_store::latency::Latency;
use crate::storage::object_store::limiter::{Limiter, MOST};
use crate::storage::object_store::runtime::runtime;
use crate::storage::options::StorageOptions;
use crate::storage::url::{Scheme, Url};
use crate::sync::fork_safe::ForkSafe;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::{ClientConfigKey, ClientOptions, HeaderValue, ObjectStore, RetryConfig};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Default of the setting `deadline`.
const DEADLINE: Duration = Duration::from_secs(300);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Stores that a process keeps. A program that makes up options for each call begins anew.
const KEPT: usize = 64;

/// Settings that are this library's own.
const OURS: [&str; 2] = ["deadline", "max_requests"];

/// A store, and what is known of how it answers.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The same store, for uploads in parts. Web servers take none.
    pub(super) multipart: Option<Multipart>,
    pub(super) limiter: Limiter,
    pub(super) latency: Latency,
    /// How long a read may go on without receiving a byte, and a write without an answer.
    pub(super) deadline: Duration,
    /// Whether it ever answered.
    pub(super) answered: AtomicBool,
}

/// Uploads in parts.
#[derive(Clone)]
pub(super) struct Multipart(pub(super) Arc<dyn MultipartStore>);

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multipart")
    }
}

impl Store {
    /// Notes an answer, if there was one.
    pub(super) fn noted(&self, answer: Answer) {
        if answer.status.is_some() && !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }
}

/// A store by its root, settings, and the environment that is read for it.
type Key = (String, Arc<BTreeMap<String, String>>, u64);

static STORES: ForkSafe<Option<HashMap<Key, Arc<Store>>>> = ForkSafe::per_process(None);

/// The store of a URL, with connections of this process.
///
/// # Errors
/// [`Error::Argument`] for a setting that the store does not have, or a wrong value.
pub(super) fn store(url: &Url, options: &StorageOptions) -> Result<Arc<Store>> {
    let key = (url.root().to_owned(), Arc::clone(&options.settings), environment());
    if let Some(known) = STORES.lock().as_ref().and_then(|stores| stores.get(&key)) {
        return Ok(Arc::clone(known));
    }
    // The library of TLS is chosen with the runtime.
    runtime()?;
    let most = match options.get("max_requests") {
        None => MOST,
        Some(text) => text.parse().ok().filter(|most| *most > 0).ok_or_else(|| {
            wrong(url, &format!("max_requests {text:?} is not a number of requests, such as 64"))
        })?,
    };
    let deadline = match options.get("deadline") {
        None => DEADLINE,
        Some(text) => seconds(text).ok_or_else(|| {
            wrong(url, &format!("deadline {text:?} is not a time, such as \"30s\""))
        })?,
    };
    let (objects, multipart) = build(url, options)?;
    let made = Arc::new(Store {
        objects,
        multipart,
        limiter: Limiter::new(most),
        latency: Latency::default(),
        deadline,
        answered: AtomicBool::new(false),
    });
    let mut stores = STORES.lock();
    let stores = stores.get_or_insert_default();
    if stores.len() >= KEPT {
        stores.clear();
    }
    Ok(Arc::clone(stores.entry(key).or_insert(made)))
}

/// A number of seconds: `"30"`, `"30s"`, `"0.5 s"`.
fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.trim().trim_end_matches('s').trim_end().parse().ok()?;
    Duration::try_from_secs_f64(number).ok().filter(|time| !time.is_zero())
}

/// A hash of the variables that settings are read from, which a program may change.
fn environment() -> u64 {
    // Fixed keys: the same variables have the same hash in all calls.
    let mut all =
        std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().build_hasher();
    let mut found: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.as_encoded_bytes();
            [&b"AWS_"[..], b"GOOGLE_", b"AZURE_"].iter().any(|start| name.starts_with(start))
        })
        .collect();
    found.sort_unstable();
    for (name, value) in found {
        all.write(name.as_encoded_bytes());
        all.write_u8(0);
        all.write(value.as_encoded_bytes());
        all.write_u8(0);
    }
    all.finish()
}

fn wrong(url: &Url, what: &str) -> Error {
    Error::argument("open", format!("{}: storage_options: {what}.", url.name().display()))
}

/// A setting's key in its store's terms.
fn key<K: FromStr>(url: &Url, name: &str, store: &str) -> Result<K> {
    name.to_ascii_lowercase().parse().map_err(|_| {
        let what = format!(
            "{store} has no setting {name:?}. Settings have the names of the crate object_store: \
            aws_endpoint, aws_region, azure_storage_account_name, google_service_account, \
            allow_http; and deadline and max_requests"
        );
        wrong(url, &what)
    })
}

/// Time-outs are by progress: a total would end slow but healthy transfers. Failed requests are
/// repeated by [`fetch`](super::fetch), which knows what was received already.
fn client() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT).with_user_agent(
        HeaderValue::from_static(concat!("tensorferry/", env!("CARGO_PKG_VERSION"))),
    )
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// A store, and the same store for uploads.
type Built = (Arc<dyn ObjectStore>, Option<Multipart>);

fn build(url: &Url, options: &StorageOptions) -> Result<Built> {
    let settings = || {
        options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !OURS.contains(name))
    };
    let root = format!("{}/", url.root());
    macro_rules! configured {
        ($builder:expr, $store:literal) => {{
            let mut builder = $builder;
            for (name, value) in settings() {
                builder = builder.with_config(key(url, name, $store)?, value);
            }
            builder
        }};
    }
    macro_rules! built {
        ($builder:expr) => {
            $builder.build().map(|store| {
                let store = Arc::new(store);
                (Arc::clone(&store) as Arc<dyn ObjectStore>, Some(Multipart(store)))
            })
        };
    }
    let made: object_store::Result<Built> = match url.scheme() {
        Scheme::S3 => {
            let profile = options.get("aws_profile").or_else(|| options.get("profile"));
            let profile = profile.map(str::to_owned);
            let mut builder = AmazonS3Builder::from_env()
                .with_client_options(client())
                .with_retry(retries())
                .with_http_connector(Connector)
                .with_url(&root);
            for (name, value) in settings().filter(|(name, _)| !name.ends_with("profile")) {
                let key: AmazonS3ConfigKey = key(url, name, "s3")?;
                builder = builder.with_config(key, value);
            }
            built!(credentials::of_profile(builder, profile))
        }
        Scheme::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env()
                .with_client_options(client())
                .with_retry(retries())
                .with_http_connector(Connector)
                .with_url(&root);
            built!(configured!(builder, "gs"))
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::from_env()
                .with_client_options(client())
                .with_retry(retries())
                .with_http_connector(Connector)
                .with_url(&root);
            built!(configured!(builder, "az"))
        }
        Scheme::Http => {
            let plain = url.root().starts_with("http:");
            let builder = HttpBuilder::new()
                // Writing http:// is consent.
                .with_client_options(client().with_allow_http(plain))
                .with_retry(retries())
                .with_http_connector(Connector)
                .with_url(url.root());
            let mut builder = builder;
            for (name, value) in settings() {
                let key: ClientConfigKey = key(url, name, "http")?;
                builder = builder.with_config(key, value);
            }
            builder.build().map(|store| (Arc::new(store) as Arc<dyn ObjectStore>, None))
        }
    };
    made.map_err(|error| wrong(url, &cause(&error)))
}

/// The innermost cause of an error of settings.
fn cause(error: &object_store::Error) -> String {
    let mut last = error as &dyn std::error::Error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
impl Store {
    /// A store in memory.
    pub(super) fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            multipart: None,
            limiter: Limiter::new(MOST),
            latency: Latency::default(),
            deadline: DEADLINE,
            answered: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::url::Place;

    fn url(text: &str) -> Url {
        match Place::of(text.as_ref()).unwrap() {
            Place::Remote(url) => url,
            Place::Local(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn a_setting_that_the_store_does_not_have_is_refused() {
        for place in ["s3://b/k", "gs://b/k", "az://b/k", "http://h/k"] {
            let options = StorageOptions::new([("aws_endpiont", "x")]);
            let error = store(&url(place), &options).unwrap_err();
            assert!(error.to_string().contains("aws_endpiont"), "{error}");
        }
        for (name, value) in [("deadline", "soon"), ("deadline", "0"), ("max_requests", "0")] {
            let options = StorageOptions::new([(name, value)]);
            assert_eq!(store(&url("s3://b/k"), &options).unwrap_err().code(), "argument");
        }
    }

    #[test]
    fn one_place_has_one_store() {
        let options = StorageOptions::new([("deadline", "7s"), ("aws_region", "eu-west-1")]);
        let one = store(&url("s3://b/k"), &options).unwrap();
        let other = store(&url("s3://b/another"), &options.clone()).unwrap();
        assert!(Arc::ptr_eq(&one, &other) && one.deadline == Duration::from_secs(7));
        let third = store(&url("s3://c/k"), &options).unwrap();
        assert!(!Arc::ptr_eq(&one, &third));
    }
}
